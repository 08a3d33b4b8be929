"""Speculation changes the time and nothing else: text and, in exact mode, every bit of the logits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.models import VOCAB, save_pair
from torch import Tensor

from specdec.calibration import calibrate
from specdec.decoding import DecodingPlan, decode
from specdec.drafting.base import Draft, Drafter
from specdec.drafting.controller import Controller, Costs
from specdec.drafting.ngram import NGramDrafter
from specdec.events import Source
from specdec.exactness import PADDED
from specdec.loading import Pair, load_pair
from specdec.options import MAX_DRAFT_TOKENS, LoadOptions, Sampling
from specdec.passes import unrecorded
from specdec.sampling import Sampler, plan
from specdec.target import TILE, Execution, Target
from specdec.verification import Rule

EXECUTIONS = ("measured", "padded", "recorded")
COUPLED = Rule("coupled")


@cache
def directories(family: str) -> tuple[Path, Path]:
    return save_pair(Path(mkdtemp()), family)


@cache
def loaded_pair(family: str, draft: str, recorded: bool) -> Pair:
    torch.set_num_threads(1)
    target, sibling = directories(family)
    source = {"sibling": str(sibling), "int4": "int4"}[draft]
    with patch("specdec.loading.recorder_for", lambda device: unrecorded if recorded else None):
        return load_pair(LoadOptions(target=str(target), draft=source, exact="on", threads=1))


def pair(family: str, draft: str, execution: str = "measured") -> Pair:
    """A pair in the execution that exact mode chose on this machine, in the one that works on every machine, or with passes as a GPU
    records them: positions on the device, extents in tiers, and each round begun before the last one is read."""
    loaded = loaded_pair(family, draft, execution == "recorded")
    loaded.target.execution = PADDED if execution == "padded" else loaded.exactness.execution
    return loaded


class RandomDrafter:
    """Proposes noise, and the true continuation with a few errors once it is told."""

    name = "junk"
    source: Source = "draft"
    priors = (0.5,)

    def __init__(self, seed: int, truth: Sequence[int] = (), errors: float = 1.0) -> None:
        self._random = random.Random(seed)
        self._truth = truth
        self._errors = errors
        self._length = 0

    def begin(self, tokens: Sequence[int]) -> None:
        self._length = len(tokens)

    def confidence_bucket(self) -> int:
        return 0

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        true = [*self._truth[self._length : self._length + k], *[0] * k][:k]
        return Draft([self._random.randrange(VOCAB) if self._random.random() < self._errors else token for token in true])

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        self._length += len(tokens)


@dataclass
class Outcome:
    """An answer: all tokens, how it ended, and the target's logits behind each answered token."""

    tokens: list[int]
    finish: str
    logits: Tensor
    accepted: int


def run(
    target: Target,
    drafters: Sequence[Drafter],
    prompt: list[int],
    sampling: Sampling,
    *,
    length: int | None = None,
    forced: bool = True,
    max_tokens: int = 40,
    eos: frozenset[int] = frozenset(),
    controller: Controller | None = None,
) -> Outcome:
    """Decode from an empty, garbage-filled cache."""
    target.cache.rows.uniform_(-3, 3)
    list(target.prefill(prompt[:-1], 0))
    sampler = Sampler(plan(sampling, {}), VOCAB, prompt, target.decoder.device)
    for drafter in drafters:
        drafter.begin(prompt)
    seen: list[Tensor] = []
    step = target.step
    target.step = lambda tokens, start: seen.append(step(tokens, start)) or seen[-1]  # type: ignore[method-assign, func-returns-value]
    try:
        tokens, kept, accepted = list(prompt), [], 0
        limits = DecodingPlan(sampler, COUPLED, drafters, forced, length, eos, max_tokens)
        controller = controller or Controller(Costs({1: 1.0, 16: 1.2}, {drafter.name: {1: 0.1} for drafter in drafters}))
        finish = "none"
        for index, round_ in enumerate(decode(target, controller, tokens, limits, lambda: False)):
            kept.append(seen[index][: len(round_.tokens)])
            accepted += round_.accepted
            finish = round_.finish or finish
    finally:
        target.step = step  # type: ignore[method-assign]
    return Outcome(tokens, finish, torch.cat(kept), accepted)


def prompt_of(length: int, seed: int) -> list[int]:
    generator = random.Random(seed)
    return [generator.randrange(VOCAB) for _ in range(length)]


def same(outcome: Outcome, plain: Outcome) -> None:
    assert outcome.tokens == plain.tokens
    assert outcome.finish == plain.finish
    assert torch.equal(outcome.logits, plain.logits)


@pytest.mark.parametrize("draft", ["sibling", "int4"])
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_every_drafter_and_length_gives_the_plain_bits(draft: str, execution: str, temperature: float) -> None:
    loaded = pair("llama", draft, execution)
    assert loaded.drafter is not None
    target = loaded.target
    prompt = prompt_of(TILE - 9, 5)
    sampling = Sampling(temperature=temperature, top_p=0.95, seed=7)
    plain = run(target, [], prompt, sampling, forced=False)
    drafters: list[Drafter] = [loaded.drafter, NGramDrafter(), RandomDrafter(1), RandomDrafter(2, plain.tokens, 0.3)]
    for length in range(MAX_DRAFT_TOKENS + 1):
        for drafter in drafters:
            same(run(target, [drafter], prompt, sampling, length=length), plain)
    controller = Controller(calibrate(target, drafters[:2]))
    same(run(target, drafters[:2], prompt, sampling, forced=False, controller=controller), plain)


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(["llama", "qwen3", "mistral-window"]),
    execution=st.sampled_from(EXECUTIONS),
    length=st.sampled_from([2, 3, 60, TILE - 20, TILE - 2, TILE - 1, TILE, TILE + 1, 2 * TILE - 5, 600, 637]),
    k=st.integers(1, MAX_DRAFT_TOKENS),
    seed=st.integers(0, 2**63 - 1),
    errors=st.floats(0, 0.6),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    penalty=st.sampled_from([1.0, 1.3]),
    max_tokens=st.integers(1, 60),
    eos_at=st.one_of(st.none(), st.integers(0, 50)),
)
def test_any_prompt_seed_length_and_ending(
    family: str,
    execution: str,
    length: int,
    k: int,
    seed: int,
    errors: float,
    temperature: float,
    penalty: float,
    max_tokens: int,
    eos_at: int | None,
) -> None:
    target = pair(family, "sibling", execution).target
    prompt = prompt_of(length, seed)
    sampling = Sampling(temperature=temperature, top_k=40, min_p=0.01, repetition_penalty=penalty, seed=seed)
    longest = run(target, [], prompt, sampling, forced=False, max_tokens=max_tokens)
    answer = longest.tokens[length:]
    eos = frozenset() if eos_at is None else frozenset({answer[min(eos_at, len(answer) - 1)]})
    plain = run(target, [], prompt, sampling, forced=False, max_tokens=max_tokens, eos=eos)
    drafted = run(target, [RandomDrafter(seed, longest.tokens, errors)], prompt, sampling, length=k, max_tokens=max_tokens, eos=eos)
    same(drafted, plain)
    assert len(plain.tokens) <= target.context
    assert len(plain.tokens) - length <= max_tokens


def test_the_true_continuation_is_accepted_whole() -> None:
    target = pair("llama", "sibling").target
    prompt = prompt_of(20, 3)
    sampling = Sampling(temperature=0.8, seed=11)
    plain = run(target, [], prompt, sampling, forced=False, max_tokens=64)
    oracle = run(target, [RandomDrafter(0, plain.tokens, 0.0)], prompt, sampling, length=7, max_tokens=64)
    same(oracle, plain)
    assert oracle.accepted == 64 - 8


def test_without_tiles_the_bits_do_depend_on_the_round() -> None:
    """The identity above is no accident of the comparison: the fastest execution fails it."""
    target = pair("llama", "sibling").target
    target.execution = Execution()
    prompt = prompt_of(100, 9)
    sampling = Sampling(temperature=0.0, seed=1)
    plain = run(target, [], prompt, sampling, forced=False, max_tokens=60)
    drafted = run(target, [RandomDrafter(4, plain.tokens, 0.2)], prompt, sampling, length=6, max_tokens=60)
    common = next((i for i, (a, b) in enumerate(zip(plain.tokens, drafted.tokens, strict=True)) if a != b), len(plain.tokens)) - 100
    assert not torch.equal(plain.logits[:common], drafted.logits[:common])
    torch.testing.assert_close(plain.logits[:common], drafted.logits[:common], rtol=1e-3, atol=1e-3)


def test_int4_draft_rows_never_survive_verification() -> None:
    loaded = pair("llama", "int4")
    assert loaded.drafter is not None
    target = loaded.target
    prompt = prompt_of(30, 8)
    sampling = Sampling(temperature=0.7, seed=5)
    plain = run(target, [], prompt, sampling, forced=False, max_tokens=50)
    rows = target.cache.rows[:, :, : len(plain.tokens) - 1].clone()
    for length in (1, 4, 9):
        drafted = run(target, [loaded.drafter], prompt, sampling, length=length, max_tokens=50)
        same(drafted, plain)
        assert torch.equal(target.cache.rows[:, :, : len(plain.tokens) - 1], rows)
