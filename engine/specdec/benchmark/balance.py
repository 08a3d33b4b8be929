"""What a round of speculation gives and costs, and which loss stands between it and a worthwhile gain.

A round that gives T tokens in the time of C plain steps gains T / C (Leviathan et al., arXiv 2211.17192). C is one plain step plus
what a round spends beyond that on drafting, on verifying many rows and in the host; T is one token plus what the drafts add. So
there are five losses: the three costs, the drafted tokens that are refused, and the rounds that have no draft.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from specdec.benchmark.speedup import tokens_per_round
from specdec.benchmark.summary import Figures

Loss = Literal["draft", "verify", "host", "refused", "undrafted"]
HALVINGS = 30


@dataclass(frozen=True)
class Bottleneck:
    """The loss that would have to shrink least: how large it is, and how large it might be; None if no change of it would do alone."""

    loss: Loss
    size: float
    allowed: float | None

    @property
    def staying(self) -> float:
        """The share of the loss that might stay."""
        return self.allowed / self.size if self.allowed is not None else 0.0


@dataclass(frozen=True)
class Balance:
    """Tokens of a round, the acceptance at each position of its draft, and its extra costs for draft, verify and host in plain steps."""

    tokens: float
    acceptance: tuple[float, ...]
    costs: dict[Loss, float]

    @classmethod
    def of(cls, method: Figures, plain: Figures) -> Balance:
        """From the measured milliseconds of a round."""
        step_ms = plain.draft_ms + plain.verify_ms + plain.host_ms
        costs: dict[Loss, float] = {
            "draft": (method.draft_ms - plain.draft_ms) / step_ms,
            "verify": (method.verify_ms - plain.verify_ms) / step_ms,
            "host": (method.host_ms - plain.host_ms) / step_ms,
        }
        return cls(method.tokens_per_round, method.acceptance_by_position, costs)

    @property
    def extra(self) -> float:
        """All that a round costs beyond a plain step."""
        return sum(self.costs.values())

    @property
    def speedup(self) -> float:
        """How many times as fast as plain decoding, by all the time there was."""
        return self.tokens / (1 + self.extra)

    @cached_property
    def drafted_share(self) -> float:
        """The share of rounds with a draft, were every draft as long as the longest tested one."""
        full = tokens_per_round(self.acceptance) - 1
        return min(1.0, (self.tokens - 1) / full) if full else 1.0

    def gain(self, change: Loss, share: float) -> float:
        """The speedup with that share of one of the losses left, 1 being what was measured."""
        acceptance, drafted, extra = self.acceptance, self.drafted_share, self.extra
        match change:
            case "refused":
                acceptance = tuple(1 - (1 - rate) * share for rate in acceptance)
            case "undrafted":
                drafted = 1 - (1 - drafted) * share
                extra *= drafted / self.drafted_share if self.drafted_share else 1.0
            case _:
                extra -= self.costs[change] * (1 - share)
        return (1 + drafted * (tokens_per_round(acceptance) - 1)) / (1 + extra)

    def bottleneck(self, wanted: float, refused: float) -> Bottleneck:
        """What stands between this and a wanted speedup that it does not reach; `refused` is the share of tested tokens refused.

        Where no loss alone explains it, the one that takes most.
        """
        sizes: dict[Loss, float] = {**self.costs, "refused": refused, "undrafted": 1 - self.drafted_share}
        losses = [loss for loss, size in sizes.items() if size > 0]
        staying = {loss: self._staying(loss, wanted) for loss in losses}
        worst = max(losses, key=lambda loss: (staying[loss] or 0.0, self.gain(loss, 0.0)))
        share = staying[worst]
        return Bottleneck(worst, sizes[worst], None if share is None else share * sizes[worst])

    def _staying(self, loss: Loss, wanted: float) -> float | None:
        return _most(lambda share: self.gain(loss, share) >= wanted)


def _most(holds: Callable[[float], bool]) -> float | None:
    """The largest value from 0 to 1 for which something holds that holds for everything below it; None if not even for 0."""
    low, high = 0.0, 1.0
    if not holds(low):
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
