"""Benchmarks of the demo pair: every method in turn, the same text from each, and what cannot run is left out and said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.engine.models import save_model
from transformers import StaticCache

from specdec.benchmark import runner
from specdec.benchmark.answering import Question, pair_answerer
from specdec.benchmark.plan import BenchPlan, BenchPrompt, Method
from specdec.benchmark.reference import Reference, _configuration
from specdec.errors import ContextFullError, HubError, MemoryShortError, UsageError
from specdec.events import BenchDone, BenchStarted, Measured
from specdec.loading import Pair, load_pair, unheard, with_draft
from specdec.memory import Memory
from specdec.options import Drafting, LoadOptions, Message, Sampling
from specdec.sampling import Sampler, SamplingPlan

Result = tuple[BenchStarted, list[Measured], BenchDone]
TARGET, SIBLING = "builtin:demo/target", "builtin:demo/sibling"
LOAD = LoadOptions(target=TARGET, draft="nobody/asks-for-this", exact="on", threads=1, context=256)


def method(name: str, drafting: str, draft: str | None = None, **more: object) -> Method:
    kind, *length = drafting.split()
    fields = {"drafting": {"draft": kind, "draft_tokens": int(length[0]) if length else None}, "draft": draft}
    return Method.model_validate({"name": name} | fields | more)


def prompt(name: str, content: str) -> BenchPrompt:
    return BenchPrompt(id=name, category="story", messages=(Message(role="user", content=content),))


PROMPTS = (prompt("cat", "Tell me a story about a cat."), prompt("boat", "Where did the boat go?"))
OURS = (
    method("plain", "off"),
    method("ngram", "ngram"),
    method("sibling", "model", SIBLING),
    method("sibling-4", "model 4", SIBLING),
    method("int4", "model", "int4"),
    method("auto", "auto", SIBLING),
)
THEIRS = (
    method("transformers", "off", engine="transformers"),
    method("transformers-ngram", "ngram", engine="transformers"),
    method("transformers-sibling", "model", SIBLING, engine="transformers"),
    method("transformers-sibling-4", "model 4", SIBLING, engine="transformers"),
    method("transformers-static", "off", engine="transformers", static_cache=True),
)


def plan(methods: Sequence[Method], **more: object) -> BenchPlan:
    usual = {"load": LOAD, "methods": methods, "prompts": PROMPTS, "repeats": 1, "max_tokens": 20}
    return BenchPlan.model_validate(usual | more)


def bench(plan: BenchPlan, stopped: Callable[[], bool] = lambda: False) -> Result:
    started, *measured, done = runner.run(plan, unheard, stopped)
    assert isinstance(started, BenchStarted)
    assert isinstance(done, BenchDone)
    return started, [event for event in measured if isinstance(event, Measured)], done


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ours() -> Result:
    return bench(plan(OURS, temperatures=(0.0, 1.5), repeats=2))


@pytest.fixture(scope="module")
def theirs() -> Result:
    return bench(plan((OURS[0], *THEIRS), temperatures=(0.0, 1.5)))


@pytest.fixture(scope="module")
def alone() -> Pair:
    return load_pair(LOAD.model_copy(update={"draft": None}))


def test_every_method_gives_the_tokens_of_plain_decoding(ours: Result) -> None:
    _, measured, _ = ours
    plain = {(each.temperature, each.prompt): each for each in measured if each.method == "plain"}
    assert len({each.tokens for each in plain.values()}) == 4
    for each in measured:
        same = plain[each.temperature, each.prompt]
        assert (each.tokens, each.text, each.finish) == (same.tokens, same.text, same.finish), each.method
    for name, drafter in {"ngram": "ngram", "sibling": "sibling", "sibling-4": "sibling", "int4": "int4"}.items():
        assert {drafter} >= {key for each in measured if each.method == name for key in each.statistics.drafters}
    assert all(each.statistics.drafters for each in measured if each.method in ("sibling", "sibling-4", "int4"))


def test_the_rounds_of_an_answer_add_up_to_it(ours: Result) -> None:
    _, measured, _ = ours
    for each in measured:
        counts = each.statistics
        assert sum(each.round_tokens) == len(each.tokens) == counts.answer_tokens <= 20
        assert len(each.round_tokens) == len(each.round_ms) == counts.rounds
        assert 0 < sum(each.round_ms) <= counts.decode_ms * 1.05
        assert counts.reused_tokens == 0
        assert each.memory_bytes > 10**8
    assert any(max(each.round_tokens) > 1 for each in measured if each.method == "sibling-4")


def test_all_methods_take_turns_at_every_prompt_in_another_order_each_repeat(ours: Result) -> None:
    started, measured, done = ours
    assert started.answers == len(measured) == 3 * 2 * 2 * 6
    assert (done.stopped, started.left_out) == (False, {})
    turns = [(key, [each.method for each in group]) for key, group in groupby(measured, lambda e: (e.repeat, e.temperature, e.prompt))]
    assert [key for key, _ in turns] == [(repeat, heat, name) for repeat in range(3) for heat in (0.0, 1.5) for name in ("cat", "boat")]
    for (repeat, _, _), methods in turns:
        assert methods == runner.order([each.name for each in OURS], repeat)


@pytest.mark.parametrize("count", range(1, 7))
def test_over_the_repeats_every_method_is_first_and_none_always_follows_the_same(count: int) -> None:
    methods = list("abcdef"[:count])
    orders = [runner.order(methods, repeat) for repeat in range(2 * count)]
    assert all(sorted(order) == methods for order in orders)
    assert {order[0] for order in orders} == set(methods)
    if count > 2:
        neighbours = {pair for order in orders[1:3] for pair in pairwise([order[-1], *order])}
        assert all(len({before for before, after in neighbours if after == name}) > 1 for name in methods)


def test_the_start_says_where_it_runs_and_what_was_loaded(ours: Result) -> None:
    started, _, _ = ours
    where = started.environment
    assert (where.threads, where.dtype, where.device, where.exact, where.int4_backend) == (1, "float32", "cpu", True, "int4pack")
    assert where.processor
    assert where.cores >= 1
    assert set(where.versions) == {"specdec", "torch", "transformers", "python"}
    assert {source: ready.draft for source, ready in started.loaded.items()} == {"": None, SIBLING: SIBLING, "int4": "int4"}
    assert len({ready.memory_bytes for ready in started.loaded.values()}) == 3


def test_a_stop_is_heard_after_the_answer_under_way() -> None:
    asked = iter((False, False, True))
    started, measured, done = bench(plan(OURS[:2]), lambda: next(asked))
    assert started.answers == 8
    assert [each.method for each in measured] == ["plain", "ngram"]
    assert done.stopped


def test_what_cannot_run_is_left_out_with_the_reason() -> None:
    odd = (
        method("gone", "model", "nobody/nothing"),
        method("none", "model"),
        method("their int4", "model", "int4", engine="transformers"),
        method("their none", "model", engine="transformers"),
        method("their gone", "model", "nobody/nothing", engine="transformers"),
        method("their auto", "auto", engine="transformers"),
    )
    started, measured, _ = bench(plan((OURS[0], *odd), prompts=PROMPTS[:1], max_tokens=2))
    assert set(started.left_out) == {each.name for each in odd}
    for name, words in {"gone": "nobody/nothing", "none": "names none", "their int4": "INT4", "their none": "names none"}.items():
        assert words in started.left_out[name]
    assert list(started.loaded) == [""]
    assert [each.method for each in measured] == ["plain"] * 2 == ["plain"] * started.answers


def test_a_plan_of_which_nothing_can_run_ends_at_once() -> None:
    started, measured, done = bench(plan((method("none", "model"),)))
    assert (started.answers, measured, done.stopped) == (0, [], False)


def test_a_long_prompt_is_cut_to_the_context_with_room_for_an_answer() -> None:
    load = LOAD.model_copy(update={"context": 48})
    short, endless = prompt("short", "cat"), prompt("endless", "cat " * 300)
    started, measured, _ = bench(plan(OURS[:1], load=load, prompts=[short, endless], max_tokens=100, temperatures=(2.0,)))
    assert started.cut == ("endless",)
    for answer in measured:
        counts = answer.statistics
        assert counts.answer_tokens <= 48 - counts.prompt_tokens
        assert counts.prompt_tokens <= 24


def test_a_prompt_that_cannot_be_cut_enough_is_refused_by_name() -> None:
    load = LOAD.model_copy(update={"context": 48})
    messages = (Message(role="system", content="cat " * 100), Message(role="user", content="dog " * 100))
    with pytest.raises(ContextFullError, match=r"endless.* 48"):
        bench(plan(OURS, load=load, prompts=[*PROMPTS, BenchPrompt(id="endless", category="c", messages=messages)]))
    with pytest.raises(HubError):
        bench(plan(OURS, load=LoadOptions(target="nobody/nothing")))


def test_seeds_depend_on_the_plan_and_the_words_alone() -> None:
    (cat, boat), renamed = PROMPTS, PROMPTS[0].model_copy(update={"id": "other", "category": "chat"})
    assert runner.seed(0, cat) == runner.seed(0, renamed)
    assert len({runner.seed(0, cat), runner.seed(1, cat), runner.seed(0, boat)}) == 3


@pytest.mark.parametrize("draft", [SIBLING, "int4"])
def test_a_second_draft_shares_the_target_and_leaves_the_pair_as_it_was(alone: Pair, draft: str) -> None:
    pair = with_draft(alone, draft)
    assert (alone.drafter, alone.ready.draft) == (None, None)
    assert pair.drafter is not None
    assert pair.target is alone.target
    assert pair.controller is not alone.controller
    assert (pair.ready.draft, pair.ready.draft_problem, pair.ready.warnings) == (draft, "", ())
    assert pair.ready.memory_bytes > alone.ready.memory_bytes
    if draft == "int4":
        assert pair.drafter.decoder.weights.embedding is alone.target.decoder.weights.embedding


def test_a_draft_that_is_not_there_or_does_not_fit_is_left_out_of_the_pair(alone: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = with_draft(alone, "nobody/nothing")
    assert (gone.drafter, gone.ready.draft) == (None, None)
    assert "nobody/nothing" in gone.ready.draft_problem
    monkeypatch.setattr("specdec.loading.free_memory", lambda device: Memory("cpu", 1000, 10**9))
    short = with_draft(alone, SIBLING)
    assert (short.drafter, short.ready.draft_kind, short.ready.memory_bytes) == (None, None, alone.ready.memory_bytes)
    assert "1.0 kB free" in short.ready.draft_problem
    with pytest.raises(MemoryShortError):
        load_pair(LOAD)


@pytest.mark.parametrize("draft", [SIBLING, "int4"])
def test_every_answer_begins_with_an_empty_cache(alone: Pair, draft: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = with_draft(alone, draft)
    assert pair.drafter is not None
    rows: list[int] = []
    forward = pair.drafter._forward

    def counted(tokens: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        rows.append(len(tokens))
        return forward(tokens, *more, **named)

    monkeypatch.setattr(pair.drafter, "_forward", counted)
    answer = pair_answerer(pair, Drafting(draft="model", draft_tokens=3))
    messages = PROMPTS[0].messages
    question = Question(messages, tuple(pair.codec.render(messages)), 8, Sampling(temperature=0))
    first = answer(question)
    read, rows[:] = list(rows), []
    assert answer(question).tokens == first.tokens
    assert rows == read


def test_a_method_learns_for_itself(alone: Pair) -> None:
    pair = with_draft(alone, SIBLING)
    question = Question(PROMPTS[0].messages, (), 8, Sampling(temperature=0))
    pair_answerer(pair, Drafting(draft="model"))(question)
    assert not pair.controller._records
    with pytest.raises(UsageError):
        pair_answerer(alone, Drafting(draft="model"))


def test_transformers_gives_the_same_greedy_text_in_every_way(theirs: Result) -> None:
    started, measured, _ = theirs
    assert started.left_out == {}
    plain = {each.prompt: each for each in measured if each.method == "plain" and each.temperature == 0}
    for each in measured:
        if each.temperature == 0:
            same = plain[each.prompt]
            assert (each.tokens, each.text, each.finish) == (same.tokens, same.text, same.finish), each.method
            assert each.statistics.prompt_tokens == same.statistics.prompt_tokens


def test_the_rounds_of_transformers_are_what_its_streamer_was_handed(theirs: Result) -> None:
    _, measured, _ = theirs
    for each in measured:
        if each.method.startswith("transformers"):
            counts = each.statistics
            assert sum(each.round_tokens) == len(each.tokens) == counts.answer_tokens
            assert len(each.round_ms) == counts.rounds == len(each.round_tokens)
            assert min(each.round_ms) >= 0
            assert counts.decode_ms == pytest.approx(sum(each.round_ms))
            assert 0 < counts.prefill_ms <= counts.first_token_ms
            assert (counts.draft_ms, counts.verify_ms, counts.drafters) == (0, 0, {})
        if each.method in ("transformers", "transformers-static"):
            assert set(each.round_tokens) == {1}
        if each.method == "transformers-sibling-4":
            assert max(each.round_tokens) <= 5
    assert any(max(each.round_tokens) > 1 for each in measured if each.method == "transformers-sibling-4")


def test_transformers_repeats_itself_when_it_samples(theirs: Result) -> None:
    _, measured, _ = theirs
    for name in [each.name for each in THEIRS]:
        for prompt in ("cat", "boat"):
            texts = {each.tokens for each in measured if (each.method, each.prompt, each.temperature) == (name, prompt, 1.5)}
            assert len(texts) == 1


WARPS = ((0.7, 0, 0.95, 0.0, 1.0), (1.3, 20, 1.0, 0.05, 1.2), (1.0, 0, 1.0, 0.0, 1.0), (0.0, 20, 0.5, 0.1, 1.3))


@pytest.mark.parametrize("sampling", [SamplingPlan(*warp, seed=1) for warp in WARPS])
def test_transformers_draws_from_the_same_distribution(sampling: SamplingPlan, tmp_path: Path) -> None:
    model = save_model(tmp_path, "llama")
    config = _configuration(sampling, 1, [0], None)
    config.output_scores = config.output_logits = config.return_dict_in_generate = True
    tokens = [5, 9, 40, 41, 9]
    out = model.generate(torch.tensor([tokens]), generation_config=config)
    sampler = Sampler(sampling, model.config.vocab_size, tokens, torch.device("cpu"))
    theirs = out.scores[0].softmax(-1) if sampling.temperature else torch.nn.functional.one_hot(out.scores[0].argmax(-1), 320).float()
    assert torch.allclose(theirs, sampler.probabilities(out.logits[0], torch.empty(0, dtype=torch.int64)), atol=1e-6)


@pytest.mark.parametrize(("drafting", "engine"), [("off", "specdec"), ("ngram", "transformers"), ("model", "transformers")])
def test_only_plain_decoding_by_transformers_has_a_static_cache(drafting: str, engine: str) -> None:
    with pytest.raises(ValidationError, match="static cache"):
        method("static", drafting, engine=engine, static_cache=True)


def test_the_static_cache_is_kept_until_a_question_needs_a_larger_one(alone: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[StaticCache] = []

    def make(**named: Any) -> StaticCache:
        made.append(StaticCache(**named))
        return made[-1]

    monkeypatch.setattr("specdec.benchmark.reference.StaticCache", make)
    monkeypatch.setattr("specdec.benchmark.reference.STATIC_STEP", 32)
    reference = Reference(alone, unheard)
    static, plain = (reference.answerer(method(f"transformers{c}", "off", engine="transformers", static_cache=c)) for c in (True, False))
    for length, sizes in ((20, [32]), (4, [32]), (40, [32, 64]), (12, [32, 64])):
        question = Question((), tuple(range(100, 100 + length)), 8, Sampling(temperature=0))
        assert static(question).tokens == plain(question).tokens
        assert [cache.get_max_length() for cache in made] == sizes
