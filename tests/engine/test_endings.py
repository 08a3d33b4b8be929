"""An answer ends on the same token whatever drafts for it, and its counts add up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.engine.answers import Answer, ask, request
from tests.engine.models import save_pair

from specdec.drafting.base import Draft
from specdec.events import Chat, Source
from specdec.loading import Pair, load_pair
from specdec.options import DraftChoice, Drafting, LoadOptions, Sampling
from specdec.sampling import Sampler
from specdec.session import ChatSession
from specdec.text import REPLACEMENT
from specdec.verification import Rule

QUESTION = "the quick brown fox jumps"
CHOICES: dict[str, tuple[DraftChoice, ...]] = {"sibling": ("model", "ngram", "auto"), "int4": ("model", "auto"), "oracle": ("ngram",)}


class Oracle:
    """In the n-gram drafter's place: drafts what will come, but every `wrong`-th token of a draft is another."""

    name = "ngram"
    source: Source = "ngram"
    priors: tuple[float, ...] = (0.5,)

    def __init__(self, truth: Sequence[int], wrong: int = 99) -> None:
        self._truth = truth
        self._wrong = wrong
        self._answered = 0
        self.drafts: list[list[int]] = []

    def begin(self, tokens: Sequence[int]) -> None:
        self._answered = 0

    def confidence_bucket(self) -> int:
        return 0

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        coming = [*self._truth[self._answered :], *[5] * k][:k]
        self.drafts.append([token if (index + 1) % self._wrong else (token + 1) % 300 for index, token in enumerate(coming)])
        return Draft(self.drafts[-1])

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        self._answered += len(tokens)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_pair(tmp_path_factory.mktemp("models"), seed=4)


@pytest.fixture(scope="module")
def pairs(models: tuple[Path, Path]) -> dict[str, Pair]:
    target, sibling = map(str, models)
    loaded = {draft: load_pair(LoadOptions(target=target, draft=draft, exact="on", threads=1)) for draft in ("int4", sibling)}
    return {"int4": loaded["int4"], "sibling": loaded[sibling], "oracle": loaded[sibling]}


@pytest.fixture(params=["sibling", "int4", "oracle"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0.0, 0.9])
def sampling(request: pytest.FixtureRequest) -> Sampling:
    return Sampling(temperature=request.param, seed=3, repetition_penalty=1.2)


@pytest.fixture
def pair(kind: str, pairs: dict[str, Pair], sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A pair that never ends an answer by itself."""
    pair = pairs[kind]
    monkeypatch.setattr(pair.codec, "eos", frozenset())
    if kind == "oracle":
        plain = ask(ChatSession(pair), request(QUESTION, draft="off", sampling=sampling, max_tokens=60))
        monkeypatch.setattr(pair, "ngram", Oracle(plain.tokens, wrong=7))
    return pair


def with_drafts(pair: Pair, kind: str, chat: Chat) -> Answer:
    """The answer without drafting, after checking that those of the drafters equal it and add up."""
    session = ChatSession(pair)
    plain = ask(session, chat.model_copy(update={"drafting": Drafting(draft="off")}))
    adds_up(plain)
    for draft in CHOICES[kind]:
        for length in (None, 4, 15):
            answer = ask(session, chat.model_copy(update={"drafting": Drafting(draft=draft, draft_tokens=length)}))
            assert (answer.text, answer.tokens, answer.finish) == (plain.text, plain.tokens, plain.finish)
            adds_up(answer)
    return plain


def adds_up(answer: Answer) -> None:
    statistics = answer.done.statistics
    assert statistics.answer_tokens == len(answer.tokens)
    assert statistics.rounds == len(answer.rounds) == answer.rounds[-1].index + 1
    assert statistics.tokens_per_round == len(answer.tokens) / statistics.rounds
    assert 0 < statistics.prefill_ms <= statistics.first_token_ms
    assert statistics.draft_ms + statistics.verify_ms <= statistics.decode_ms
    assert {round_.drafter for round_ in answer.rounds} - {"off"} == set(statistics.drafters)
    for round_ in answer.rounds:
        assert 0 <= round_.accepted <= round_.tested <= round_.drafted
        assert (round_.drafted == 0) == (round_.drafter == "off")
        kept = sum(len(run.tokens) for run in round_.runs if run.source in ("draft", "ngram"))
        assert kept == round_.accepted or (answer.finish == "stop_string" and round_ is answer.rounds[-1])
    for name, counted in statistics.drafters.items():
        rounds = [round_ for round_ in answer.rounds if round_.drafter == name]
        assert (counted.rounds, counted.drafted) == (len(rounds), sum(round_.drafted for round_ in rounds))
        assert counted.tested == sum(round_.tested for round_ in rounds) == sum(counted.tested_by_position)
        assert counted.accepted == sum(round_.accepted for round_ in rounds) == sum(counted.accepted_by_position)
        assert all(a <= t for a, t in zip(counted.accepted_by_position, counted.tested_by_position, strict=True))


@pytest.mark.parametrize("most", [1, 17])
def test_at_max_tokens(pair: Pair, kind: str, sampling: Sampling, most: int) -> None:
    answer = with_drafts(pair, kind, request(QUESTION, sampling=sampling, max_tokens=most))
    assert (answer.finish, len(answer.tokens)) == ("max_tokens", most)


@pytest.mark.parametrize("at", [0, 4, 29])
def test_at_an_end_of_sequence_token(pair: Pair, kind: str, sampling: Sampling, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = request(QUESTION, sampling=sampling, max_tokens=40)
    whole = ask(ChatSession(pair), chat).tokens
    eos = frozenset({whole[at], 319})
    monkeypatch.setattr(pair.codec, "eos", eos)
    answer = with_drafts(pair, kind, chat)
    assert answer.finish == "eos"
    assert answer.tokens == whole[: next(index for index, token in enumerate(whole) if token in eos) + 1]


@pytest.mark.parametrize("at", [1, -1])
def test_at_a_stop_string(pair: Pair, kind: str, sampling: Sampling, at: int) -> None:
    chat = request(QUESTION, sampling=sampling, max_tokens=40)
    text = ask(ChatSession(pair), chat).text
    stop = [text[i : i + 2] for i in range(len(text) - 1) if REPLACEMENT not in text[i : i + 2]][at]
    answer = with_drafts(pair, kind, chat.model_copy(update={"stop": ("never there", stop)}))
    assert (answer.finish, answer.text) == ("stop_string", text.split(stop)[0])
    assert stop in pair.codec.decode(answer.tokens)
    assert stop not in pair.codec.decode(answer.tokens[:-1])


@pytest.mark.parametrize("room", [1, 11])
def test_at_the_context_end(pair: Pair, kind: str, sampling: Sampling, room: int) -> None:
    chat = request("%" * (pair.target.context - room - 3), sampling=sampling, max_tokens=None)
    answer = with_drafts(pair, kind, chat)
    assert answer.started.prompt_tokens == pair.target.context - room
    assert (answer.finish, len(answer.tokens)) == ("context", room)


def test_a_held_back_beginning_of_a_stop_string_is_shown_in_the_end(pair: Pair, kind: str, sampling: Sampling) -> None:
    chat = request(QUESTION, sampling=sampling, max_tokens=20)
    text = ask(ChatSession(pair), chat).text
    assert with_drafts(pair, kind, chat.model_copy(update={"stop": (text[-1] + "never there",)})).text == text


@pytest.mark.parametrize("kind", ["oracle"])
def test_runs_say_where_each_token_came_from_and_what_was_rejected(pair: Pair, sampling: Sampling) -> None:
    assert isinstance(pair.ngram, Oracle)
    chat: dict[str, Any] = {"sampling": sampling, "max_tokens": 24, "draft": "ngram"}
    right = ask(ChatSession(pair), request(QUESTION, draft_tokens=5, **chat))
    assert [run.source for run in right.runs] == ["ngram", "bonus"] * 4
    assert all(round_.rejected == "" for round_ in right.rounds)
    pair.ngram.drafts.clear()
    wrong = ask(ChatSession(pair), request(QUESTION, draft_tokens=9, **chat))
    assert [run.source for run in wrong.runs][:4] == ["ngram", "corrected"] * 2
    assert [(round_.drafted, round_.tested, round_.accepted) for round_ in wrong.rounds][:2] == [(9, 7, 6)] * 2
    for round_, draft in zip(wrong.rounds, pair.ngram.drafts, strict=True):
        assert round_.rejected == pair.codec.decode(draft[round_.accepted :])
    plain = ask(ChatSession(pair), request(QUESTION, sampling=sampling, draft="off"))
    assert {run.source for run in plain.runs} == {"target"}
