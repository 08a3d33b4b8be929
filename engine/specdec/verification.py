"""The accept rules: which drafted tokens stay, and which target token follows them.

`coupled` and `rejection` are lossless; `threshold` is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec import noise
from specdec.sampling import Sampler


@dataclass(frozen=True)
class Rule:
    """An accept rule: `coupled`, `rejection`, or `threshold` with the least target probability that a drafted token needs."""

    name: str
    threshold: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Rule:
        """From the spelling of the options: coupled, rejection or threshold:X."""
        name, _, value = text.partition(":")
        return cls(name, float(value)) if value else cls(name)

    @property
    def lossless(self) -> bool:
        """Whether the text's distribution is the target's own."""
        return self.name != "threshold"


@dataclass(frozen=True)
class Verdict:
    """`accepted` of the `drafted` tokens stay and one target token follows; `tested` counts comparisons up to the first refusal."""

    drafted: list[int]
    tokens: list[int]
    accepted: int
    tested: int


def verify(rule: Rule, sampler: Sampler, logits: Tensor, position: int, chain: Tensor, q: Tensor | None) -> Verdict:
    """Judge a chain [k] int64 of drafted tokens for positions position.. .

    `logits` [k + 1, vocab] are the target's rows; `q` [k, vocab] the distributions the draft was drawn from, None if it was certain
    (only `rejection` looks at it). With the coupled rule the host waits for the device once.
    """
    if rule.name == "rejection":
        return _rejection(sampler, logits, position, chain, q)
    drawn: list[int] = torch.cat((sampler.draw(logits, position, chain), chain)).tolist()
    targets, drafted = drawn[: len(logits)], drawn[len(logits) :]
    if rule.name == "threshold":
        return _threshold(rule, sampler, logits, chain, drafted, targets)
    accepted = _agreeing(drafted, targets)
    return _verdict(drafted, accepted, targets[accepted])


def _agreeing(drafted: Sequence[int], targets: Sequence[int]) -> int:
    for index, (draft, target) in enumerate(zip(drafted, targets, strict=False)):
        if draft != target:
            return index
    return len(drafted)


def _verdict(drafted: Sequence[int], accepted: int, following: int) -> Verdict:
    return Verdict(list(drafted), [*drafted[:accepted], following], accepted, min(accepted + 1, len(drafted)))


def _threshold(rule: Rule, sampler: Sampler, logits: Tensor, chain: Tensor, drafted: Sequence[int], targets: Sequence[int]) -> Verdict:
    """Like coupled, but a drafted token the target finds at least as probable as the threshold also stays. Lossy."""
    p = sampler.warp(logits, chain).softmax(-1) if not sampler.greedy else logits.float().softmax(-1)
    likely: list[float] = p[: len(drafted)].gather(1, chain[:, None])[:, 0].tolist()
    for index, draft in enumerate(drafted):
        if draft != targets[index] and likely[index] < rule.threshold:
            return _verdict(drafted, index, targets[index])
    return _verdict(drafted, len(drafted), targets[len(drafted)])


def _rejection(sampler: Sampler, logits: Tensor, position: int, chain: Tensor, q: Tensor | None) -> Verdict:
    """Accept with min(1, p/q); after a refusal draw from the normalised positive part of p - q (arXiv 2211.17192)."""
    drafted: list[int] = chain.tolist()
    p = sampler.probabilities(logits, chain)
    if q is None:
        q = torch.zeros_like(p[:-1]).scatter_(1, chain[:, None], 1.0)
    elif q.shape[1] < p.shape[1]:
        q = torch.nn.functional.pad(q, (0, p.shape[1] - q.shape[1]))
    p_drafted: list[float] = p[:-1].gather(1, chain[:, None])[:, 0].tolist()
    q_drafted: list[float] = q.gather(1, chain[:, None])[:, 0].tolist()
    for index in range(len(drafted)):
        if noise.uniform(sampler.plan.seed, noise.ACCEPT, position + index) * q_drafted[index] >= p_drafted[index]:
            residual = (p[index] - q[index]).clamp_min_(0)
            mass = residual if bool(residual.any()) else p[index]
            return _verdict(drafted, index, _draw(sampler, mass, position + index, noise.RESIDUAL))
    return _verdict(drafted, len(drafted), _draw(sampler, p[-1], position + len(drafted), noise.TARGET))


def _draw(sampler: Sampler, mass: Tensor, position: int, stream: int) -> int:
    """One token in proportion to `mass` [vocab]."""
    return int((mass.log() + sampler.gumbel(position, 1, stream)[0]).argmax())
