"""Both lossless rules draw from the target's own distribution: chi-square of the next tokens against enumeration."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from specdec import noise, verification
from specdec.decoding import DecodedRound, DecodingPlan, decode
from specdec.drafting.base import Draft
from specdec.drafting.controller import Controller, Costs
from specdec.events import Source
from specdec.options import Sampling
from specdec.sampling import Sampler, plan
from specdec.target import Target
from specdec.verification import Rule

VOCAB = 5
LENGTH = 3
PROMPT = [1, 3]
CPU = torch.device("cpu")
SAMPLES = 6000
SIGNIFICANT = 1e-4
SETTINGS = {
    "plain": Sampling(temperature=1.0),
    "cool": Sampling(temperature=0.6),
    "hot top-k": Sampling(temperature=1.6, top_k=3),
    "top-p": Sampling(temperature=1.0, top_p=0.8),
    "min-p and penalty": Sampling(temperature=1.2, min_p=0.1, repetition_penalty=1.4),
}


def table(seed: int) -> Tensor:
    """Logits [previous, last, next] of a second-order Markov chain."""
    return torch.randn(VOCAB, VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed)) * 1.2


class TableTarget:
    """A target whose logits stand in a table."""

    context = 100
    decoder = SimpleNamespace(device=torch.device("cpu"))
    passes = SimpleNamespace(record=None)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.tokens = list(PROMPT)

    def rows_left(self, start: int) -> int:
        return 8

    def step(self, tokens: Tensor, start: int) -> Tensor:
        self.tokens[start:] = tokens.tolist()
        return torch.stack([self.logits[self.tokens[i - 1], self.tokens[i]] for i in range(start, len(self.tokens))])


class TableDrafter:
    """A draft that draws from another table, or is certain of its best guess."""

    name = "table"
    source: Source = "draft"
    priors = (0.5,)

    def __init__(self, logits: Tensor, certain: bool) -> None:
        self._logits = logits
        self._certain = certain
        self._tokens: list[int] = []

    def begin(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)

    def confidence_bucket(self) -> int:
        return 0

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        tokens, q = list(self._tokens), []
        for _ in range(k):
            row = self._logits[tokens[-2], tokens[-1]][None]
            drafted = torch.tensor(tokens[len(self._tokens) :], dtype=torch.int64)
            if self._certain:
                tokens.append(int(row.argmax()))
                continue
            q.append(sampler.probabilities(row, drafted))
            stream = noise.DRAFT if rule.name == "rejection" else noise.TARGET
            tokens.append(int(sampler.draw(row, len(tokens), drafted, stream)))
        return Draft(tokens[len(self._tokens) :], torch.cat(q) if q else None)

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        self._tokens.extend(tokens)


def expected(sampling: Sampling) -> dict[tuple[int, ...], float]:
    """The probability of every continuation of the prompt, from the target alone."""
    logits = table(1)
    probabilities = {}
    for path in itertools.product(range(VOCAB), repeat=LENGTH):
        probability, tokens = 1.0, list(PROMPT)
        for token in path:
            sampler = Sampler(plan(sampling, {}), VOCAB, tokens, CPU)
            probability *= float(sampler.probabilities(logits[tokens[-2], tokens[-1]][None], torch.empty(0, dtype=torch.int64))[0, token])
            tokens.append(token)
        probabilities[path] = probability
    return probabilities


def rounds(target: TableTarget, tokens: list[int], limits: DecodingPlan) -> Iterator[DecodedRound]:
    """The engine's own loop over the table."""
    return decode(cast("Target", target), Controller(Costs({1: 1.0}, {"table": {1: 0.1}})), tokens, limits, lambda: False)


def p_value(sampling: Sampling, rule: str, k: int, certain: bool = False) -> float:
    """How well sampled continuations over many seeds fit the enumeration."""
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(SAMPLES):
        target, drafter = TableTarget(table(1)), TableDrafter(table(2) * 0.5 + table(1) * 0.5, certain)
        drafter.begin(PROMPT)
        sampler = Sampler(plan(sampling.model_copy(update={"seed": seed}), {}), VOCAB, PROMPT, CPU)
        tokens = list(PROMPT)
        limits = DecodingPlan(sampler, Rule.parse(rule), [drafter], True, k, frozenset(), LENGTH)
        list(rounds(target, tokens, limits))
        counts[tuple(tokens[len(PROMPT) :])] += 1
    probabilities = expected(sampling)
    assert all(probabilities[path] > 0 for path in counts)
    kept = [path for path, probability in probabilities.items() if probability * SAMPLES >= 5]
    rare = sum(probability for path, probability in probabilities.items() if path not in kept)
    observed = [counts[path] for path in kept] + [SAMPLES - sum(counts[path] for path in kept)]
    wanted = [probabilities[path] * SAMPLES for path in kept] + [rare * SAMPLES]
    if rare * SAMPLES < 5:
        observed[-2:], wanted[-2:] = [sum(observed[-2:])], [sum(wanted[-2:])]
    return float(chisquare(observed, wanted, sum_check=False).pvalue)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", ["coupled", "rejection"])
def test_drafted_text_has_the_targets_distribution(setting: str, rule: str) -> None:
    assert p_value(SETTINGS[setting], rule, k=2) > SIGNIFICANT


@pytest.mark.parametrize("rule", ["coupled", "rejection"])
def test_a_drafter_without_probabilities_is_lossless_too(rule: str) -> None:
    assert p_value(SETTINGS["cool"], rule, k=3, certain=True) > SIGNIFICANT


def test_a_planted_bias_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction drawn from anything but the residual shows."""
    original = verification._draw

    def biased(sampler: Sampler, mass: Tensor, position: int, stream: int) -> int:
        return original(sampler, torch.ones_like(mass) if stream == noise.RESIDUAL else mass, position, stream)

    monkeypatch.setattr(verification, "_draw", biased)
    assert p_value(SETTINGS["plain"], "rejection", k=2) < SIGNIFICANT


def test_the_threshold_rule_is_not_lossless() -> None:
    assert p_value(SETTINGS["plain"], "threshold:0.05", k=2) < SIGNIFICANT


@pytest.mark.parametrize("rule", ["coupled", "rejection"])
def test_rules_accept_more_from_a_better_draft(rule: str) -> None:
    def accepted(mix: float) -> int:
        total = 0
        for seed in range(150):
            target, drafter = TableTarget(table(1)), TableDrafter(table(2) * (1 - mix) + table(1) * mix, certain=False)
            drafter.begin(PROMPT)
            sampler = Sampler(plan(Sampling(temperature=1.0, seed=seed), {}), VOCAB, PROMPT, CPU)
            limits = DecodingPlan(sampler, Rule.parse(rule), [drafter], True, 3, frozenset(), 12)
            total += sum(round_.accepted for round_ in rounds(target, list(PROMPT), limits))
        return total

    poor, good, same = accepted(0.0), accepted(0.6), accepted(1.0)
    assert poor < good < same
    assert same == 150 * 9
