"""A session answers every conversation as a fresh one would, whatever is in its cache and however the last answer ended."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from tests.engine.answers import SAMPLING, ask, request, same_as_fresh
from tests.engine.models import TEMPLATE, save_model, save_pair, save_tokenizer

from specdec.errors import ContextFullError, UsageError
from specdec.events import Count, Counted, Round, Started
from specdec.exactness import PADDED, Exactness
from specdec.loading import Pair, load_pair
from specdec.options import DraftChoice, LoadOptions, Sampling
from specdec.session import ChatSession
from specdec.target import TILE

SWITCH = "{% if enable_thinking is defined and not enable_thinking %}the cat{% endif %}"
LONG = "the quick brown fox jumps over the lazy dog " * 42


@pytest.fixture(scope="module")
def sibling(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    target, draft = save_pair(tmp_path_factory.mktemp("models"))
    return load_pair(LoadOptions(target=str(target), draft=str(draft), exact="on", threads=1))


@pytest.fixture(params=["as measured", "recomputed", "padded"])
def pair(request: pytest.FixtureRequest, sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The pair as loaded; made to believe that prefill rounds differently; and with every round and chunk padded."""
    if request.param == "recomputed":
        monkeypatch.setattr(sibling, "exactness", replace(sibling.exactness, prefill_matches=False))
    if request.param == "padded":
        monkeypatch.setattr(sibling, "exactness", Exactness(PADDED, True, False, ""))
        monkeypatch.setattr(sibling.target, "execution", PADDED)
    return sibling


def after(calls: int) -> Callable[[], bool]:
    """A `stopped` that says yes from that call on."""
    counter = count()
    return lambda: next(counter) >= calls


def reusable(pair: Pair, rows: int) -> int:
    """Of so many rows, those behind which a prefill can begin as in a fresh session."""
    return rows - rows % TILE if pair.exactness.execution.padded_prefill else rows


def test_a_second_turn_reuses_all_that_is_known(sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sibling, "exactness", replace(sibling.exactness, prefill_matches=True))
    session = ChatSession(sibling)
    first = ask(session, request("the cat"))
    known = [*sibling.codec.render(request("the cat").messages), *first.tokens[:-1]]
    prompt = sibling.codec.render(request("the cat", first.text, "why?").messages)
    shared = next(index for index, (a, b) in enumerate(zip([*known, -1], prompt, strict=False)) if a != b)
    second = ask(session, request("the cat", first.text, "why?"))
    assert second.started.reused_tokens == shared >= first.started.prompt_tokens
    assert second.started.prompt_tokens == len(prompt) == second.done.statistics.prompt_tokens
    assert second.done.statistics.reused_tokens == shared


def test_what_was_decoded_is_read_again_where_prefill_rounds_otherwise(sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sibling, "exactness", replace(sibling.exactness, prefill_matches=False))
    session = ChatSession(sibling)
    first = ask(session, request("the cat"))
    second = ask(session, request("the cat", first.text, "why?"))
    assert second.started.reused_tokens == first.started.prompt_tokens - 1


def test_a_row_of_a_padded_prefill_keeps_its_place_in_its_chunk(sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sibling, "exactness", Exactness(PADDED, True, False, ""))
    monkeypatch.setattr(sibling.target, "execution", PADDED)
    layer = sibling.target.decoder.weights.layers[0]
    product = layer.qkv

    def rounding_by_place(x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(len(x))[:, None] if len(x) == TILE else 0
        return product(x) * (1 + places * 2.0**-18)

    monkeypatch.setattr(layer, "qkv", rounding_by_place)
    session = ChatSession(sibling)
    first = ask(session, request(LONG))
    again = same_as_fresh(session, request(LONG, first.text, "why?"))
    assert again.started.reused_tokens == reusable(sibling, first.started.prompt_tokens - 1) > 0


def test_a_regenerated_answer_reads_nothing_again(pair: Pair) -> None:
    session = ChatSession(pair)
    first = ask(session, request(LONG))
    again = same_as_fresh(session, request(LONG))
    assert again.tokens == first.tokens
    assert again.started.reused_tokens == reusable(pair, again.started.prompt_tokens - 1)
    assert again.progress == []
    assert len(first.progress) == first.started.prompt_tokens // TILE
    assert all(0 < event.done < event.total == first.started.prompt_tokens for event in first.progress)


@pytest.mark.parametrize("draft", ["auto", "off", "ngram", "model"])
def test_edits_forks_and_continuations_are_answered_as_in_a_fresh_session(pair: Pair, draft: DraftChoice) -> None:
    session = ChatSession(pair)
    first = same_as_fresh(session, request(LONG, draft=draft, max_tokens=40))
    follow_up = (LONG, first.text, "and the cat?")
    for contents in (follow_up, (LONG[:-30] + "mat",), (LONG, "it rained", "why?"), (LONG, first.text[:20]), ("cat",)):
        ask(session, request(LONG, draft=draft, max_tokens=40))
        same_as_fresh(session, request(*contents, draft=draft))


def test_a_stopped_answer_ends_within_a_round_and_the_next_is_right(pair: Pair) -> None:
    session = ChatSession(pair)
    whole = ask(session, request("the cat", draft_tokens=4))
    before = len(ask(session, request("the cat", draft_tokens=4), after(2)).rounds)
    stopped = ask(session, request("the cat", draft_tokens=4), after(5))
    assert stopped.finish == "stopped"
    assert len(stopped.rounds) == before + 3
    assert stopped.tokens == whole.tokens[: len(stopped.tokens)]
    assert stopped.done.statistics.answer_tokens == len(stopped.tokens)
    same_as_fresh(session, request("the cat", stopped.text, "why?"))


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_stopping_while_the_prompt_is_read_or_just_after(pair: Pair, calls: int) -> None:
    session = ChatSession(pair)
    stopped = ask(session, request(LONG), after(calls))
    assert stopped.finish == "stopped"
    assert stopped.tokens == []
    assert stopped.done.statistics.tokens_per_second == 0
    again = same_as_fresh(session, request(LONG))
    assert again.started.reused_tokens == reusable(pair, min((calls + 1) * TILE, again.started.prompt_tokens - 1))


@pytest.mark.parametrize("events", [0, 1, 3, 6])
def test_an_abandoned_answer_leaves_the_session_right(pair: Pair, events: int) -> None:
    session = ChatSession(pair)
    abandoned = session.chat(request(LONG, draft_tokens=4))
    for _ in range(events):
        next(abandoned)
    assert isinstance(abandoned, Generator)
    abandoned.close()
    same_as_fresh(session, request(LONG + "mat"))


def test_an_abandoned_answer_that_is_collected_late_leaves_the_session_right(sibling: Pair) -> None:
    session = ChatSession(sibling)
    abandoned = session.chat(request("the cat", draft="off"))
    while not isinstance(next(abandoned), Round):
        pass
    ask(session, request("a dog sat on the mat"))
    del abandoned
    gc.collect()
    same_as_fresh(session, request("the cat sat"))


def test_an_answer_that_fails_in_mid_round_leaves_the_session_right(sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ChatSession(sibling)
    step, calls = sibling.target.step, count()

    def failing(tokens: list[int], start: int) -> torch.Tensor:
        logits = step(tokens, start)
        if next(calls) == 3:
            raise RuntimeError("out of memory")
        return logits

    monkeypatch.setattr(sibling.target, "step", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        ask(session, request("the cat", draft="model", draft_tokens=4))
    same_as_fresh(session, request("the cat", draft="model", draft_tokens=4))


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts(sibling: Pair) -> None:
    session = ChatSession(sibling)
    first = ask(session, request("the cat"))
    length = len(sibling.codec.render(request(LONG * 2).messages))
    with pytest.raises(ContextFullError, match=rf"{length} tokens.*640"):
        ask(session, request(LONG * 2))
    assert ask(session, request("the cat")).started.reused_tokens == first.started.prompt_tokens - 1


def test_the_thinking_switch_reaches_the_prompt_and_ready_tells_of_it(sibling: Pair, tmp_path: Path) -> None:
    save_model(tmp_path)
    save_tokenizer(tmp_path, TEMPLATE + SWITCH)
    pair = load_pair(LoadOptions(target=str(tmp_path), exact="on", threads=1))
    assert (pair.ready.thinking, sibling.ready.thinking) == (True, False)
    session = ChatSession(pair)
    default, on, off = (same_as_fresh(session, request("the cat", thinking=thinking)) for thinking in (None, True, False))
    assert default.tokens == on.tokens
    assert off.tokens != on.tokens
    assert off.started.prompt_tokens == on.started.prompt_tokens + len(pair.codec.encode("the cat", special=False))
    begun = ask(session, request("the cat", off.text[:5], thinking=False)).started
    assert begun.prompt_tokens == len(pair.codec.render(request("the cat", off.text[:5]).messages))


def test_a_count_is_that_of_the_prompt_and_disturbs_nothing(sibling: Pair) -> None:
    session = ChatSession(sibling)
    first = ask(session, request("the cat"))
    for contents in (("the cat",), ("the cat", first.text, "why?"), ("the cat", first.text[:4]), (LONG * 2,)):
        messages = request(*contents).messages
        length = len(sibling.codec.render(messages))
        assert session.count(Count(id=3, messages=messages)) == Counted(id=3, tokens=length, context=640)
    assert length > 640
    assert same_as_fresh(session, request("the cat")).started.prompt_tokens == first.started.prompt_tokens


def test_asking_for_a_draft_model_that_is_not_there_is_a_usage_error(sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sibling, "drafter", None)
    with pytest.raises(UsageError, match="without a draft model"):
        ask(ChatSession(sibling), request("the cat", draft="model"))
    assert ask(ChatSession(sibling), request("the cat", draft="auto")).tokens


def test_a_drawn_seed_is_reported_and_repeats_the_answer(sibling: Pair) -> None:
    unseeded = [ask(ChatSession(sibling), request("the cat", sampling=Sampling(temperature=1.0))) for _ in range(2)]
    seeds = {answer.started.sampling.seed for answer in unseeded}
    assert len(seeds) == 2
    assert None not in seeds
    for answer in unseeded:
        again = ask(ChatSession(sibling), request("the cat", sampling=answer.started.sampling, draft="off"))
        assert (again.text, again.started.sampling) == (answer.text, answer.started.sampling)


def test_started_reports_what_the_generation_config_adds(sibling: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sibling.codec, "generation_config", {"do_sample": True, "temperature": 0.6, "top_k": 5, "top_p": 0.9})
    events = ChatSession(sibling).chat(request("the cat", sampling=Sampling(top_p=0.5, seed=1)))
    started = next(event for event in events if isinstance(event, Started))
    assert started.sampling == Sampling(temperature=0.6, top_k=5, top_p=0.5, min_p=0, repetition_penalty=1, seed=1)
    monkeypatch.setattr(sibling.codec, "generation_config", {})
    assert ask(ChatSession(sibling), request("the cat", sampling=Sampling())).started.sampling.temperature == 0
    assert SAMPLING.seed == ask(ChatSession(sibling), request("the cat")).started.sampling.seed
