"""Answers made with the engine's own loop, with every logit kept, and rounds whose lengths are drawn at random."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.decoding import DecodedRound, DecodingPlan, decode
from specdec.drafting.base import Draft, Drafter
from specdec.drafting.controller import Choice, Controller, Costs
from specdec.events import Source
from specdec.options import MAX_DRAFT_TOKENS, Sampling
from specdec.sampling import Sampler, plan
from specdec.target import Target
from specdec.verification import Rule

COUPLED = Rule("coupled")


@dataclass(frozen=True)
class Answered:
    """The tokens of an answer with the target's logits behind each, and its rounds."""

    tokens: list[int]
    logits: Tensor
    rounds: list[DecodedRound]


class DrawnLengths(Controller):
    """Takes any drafter that has something to propose, by lot, and so a length from `least` to `most`, as far as there is room."""

    def __init__(self, seed: int, least: int = 0, most: int = MAX_DRAFT_TOKENS) -> None:
        super().__init__(Costs({1: 1.0}, {}))
        self._random = random.Random(seed)
        self._least = least
        self._most = most

    def choose(self, drafters: Sequence[Drafter], limit: int, forced_length: int | None, forced: bool) -> Choice:
        able = [drafter for drafter in drafters if drafter.confidence_bucket() >= 0]
        if not able or limit <= 0:
            return Choice(None, 0)
        return Choice(self._random.choice(able), min(limit, self._random.randint(self._least, self._most)))

    def observe(self, choice: Choice, bucket: int, tested: int, accepted: int, draft_ms: float, verify_ms: float, rows: int) -> None:
        """Learns nothing."""


class NoisyOracle:
    """Proposes a known answer with some tokens of each draft replaced by random ones, so that rounds end everywhere."""

    name = "oracle"
    source: Source = "draft"
    priors = (0.5,)

    def __init__(self, truth: Sequence[int], vocabulary: int, errors: float, seed: int) -> None:
        self._truth = truth
        self._vocabulary = vocabulary
        self._errors = errors
        self._random = random.Random(seed)
        self._length = 0

    def begin(self, tokens: Sequence[int]) -> None:
        self._length = len(tokens)

    def confidence_bucket(self) -> int:
        return 0 if self._length < len(self._truth) else -1

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        return Draft([self._noisy(token) for token in self._truth[self._length : self._length + k]])

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        self._length += len(tokens)

    def _noisy(self, token: int) -> int:
        return self._random.randrange(self._vocabulary) if self._random.random() < self._errors else token


class Recorder(Target):
    """A target on another one's cache that keeps the logits of every step."""

    def __init__(self, target: Target) -> None:
        vars(self).update(vars(target))
        self.steps: list[Tensor] = []

    def step(self, tokens: Sequence[int] | Tensor, start: int) -> Tensor:
        logits = super().step(tokens, start)
        self.steps.append(logits)
        return logits


def begin(
    target: Target,
    drafters: Sequence[Drafter],
    controller: Controller,
    tokens: list[int],
    sampling: Sampling,
    eos: Collection[int],
    max_tokens: int,
) -> Iterator[DecodedRound]:
    """Read the prompt in `tokens` into a cache full of random rows, so that nothing left there can help; returns the rounds to come."""
    target.cache.rows.normal_()
    list(target.prefill(tokens[:-1], 0))
    sampler = Sampler(plan(sampling, {}), target.decoder.config.vocab_size, tokens, target.decoder.device)
    for drafter in drafters:
        drafter.begin([0])
        drafter.begin(tokens)
    limits = DecodingPlan(sampler, COUPLED, drafters, bool(drafters), None, eos, max_tokens)
    return decode(target, controller, tokens, limits, lambda: False)


def answer(
    target: Target,
    drafters: Sequence[Drafter],
    controller: Controller,
    prompt: Sequence[int],
    sampling: Sampling,
    eos: Collection[int],
    max_tokens: int,
) -> Answered:
    """A whole answer to a prompt."""
    recorder = Recorder(target)
    tokens = list(prompt)
    rounds = list(begin(recorder, drafters, controller, tokens, sampling, eos, max_tokens))
    kept = [logits[: len(round_.tokens)] for logits, round_ in zip(recorder.steps, rounds, strict=True)]
    return Answered(tokens[len(prompt) :], torch.cat(kept), rounds)
