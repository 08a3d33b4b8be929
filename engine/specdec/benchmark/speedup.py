"""What speculation gains, by the book.

Leviathan, Kalman, Matias, "Fast Inference from Transformers via Speculative Decoding" (arXiv 2211.17192), with one acceptance
rate for each position of a draft: a draft of k tokens gives 1 + a1 + a1 a2 + ... + a1...ak tokens a round. With the same rate a
at every position and a cost of c plain steps a drafted token that is their theorem 3.8: (1 - a^(k+1)) / ((1 - a)(ck + 1)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul


@dataclass(frozen=True)
class Estimate:
    """What drafts of one length give."""

    length: int
    tokens_per_round: float
    speedup: float


def tokens_per_round(acceptance: Sequence[float]) -> float:
    """The expected tokens of a round, the target's own included, for the acceptance rate (0 to 1) of each drafted position."""
    kept: Iterator[float] = accumulate(acceptance, mul)
    return 1.0 + sum(kept)


def tokens_per_round_at(acceptance: Sequence[float], length: float) -> float:
    """The same for drafts of a mean length that need not be whole: some of the two nearest lengths each; no token beyond the last rate."""
    whole = int(length)
    shorter, longer = tokens_per_round(acceptance[:whole]), tokens_per_round(acceptance[: whole + 1])
    return shorter + (length - whole) * (longer - shorter)


def speedup(acceptance: Sequence[float], draft_cost: float, verify_cost: float = 1.0) -> float:
    """How many times as fast as plain decoding; costs of a whole draft and of verifying it, in plain steps."""
    return tokens_per_round(acceptance) / (draft_cost + verify_cost)


def estimates(rate: float, token_cost: float, longest: int, verify_cost: float = 1.0) -> list[Estimate]:
    """Drafts of 0 to `longest` tokens for one acceptance rate (0 to 1); a drafted token and verifying a draft cost plain steps."""
    rates = [[rate] * length for length in range(longest + 1)]
    costs = [verify_cost if each else 1.0 for each in rates]
    return [
        Estimate(len(each), tokens_per_round(each), speedup(each, token_cost * len(each), cost))
        for each, cost in zip(rates, costs, strict=True)
    ]


def best_length(rate: float, token_cost: float, longest: int, verify_cost: float = 1.0) -> int:
    """The draft length from 0 to `longest` that gains most, the shortest of equals."""
    return max(estimates(rate, token_cost, longest, verify_cost), key=lambda estimate: estimate.speedup).length
