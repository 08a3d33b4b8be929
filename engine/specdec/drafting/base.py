"""The door every drafter comes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from specdec.events import Source
from specdec.sampling import Sampler
from specdec.verification import Rule


@dataclass(frozen=True)
class Draft:
    """A chain of proposed tokens; `q` [k, vocab] are the distributions they were drawn from, None where the drafter was certain.

    Tokens drawn on the device stay there, [k] int64, so that nobody waits for them before they are verified.
    """

    tokens: list[int] | Tensor
    q: Tensor | None = None


class Drafter(Protocol):
    """Proposes tokens after a verified context.

    The context is the token list given to `begin`, extended by each `observe`; its last token has no row in the target's cache
    yet.
    """

    @property
    def name(self) -> str:
        """Its label in statistics and choices."""

    @property
    def source(self) -> Source:
        """What its accepted tokens are marked as."""

    @property
    def priors(self) -> tuple[float, ...]:
        """The acceptance rate to expect of each confidence bucket before anything is measured."""

    def begin(self, tokens: Sequence[int]) -> None:
        """Take on a new context, reusing what is left of the one before."""

    def confidence_bucket(self) -> int:
        """Which bucket the next proposal belongs to, or -1 if there is nothing to propose."""

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        """Up to `k` tokens to follow the context."""

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        """The round's verdict: `tokens` were emitted, the first `accepted` of them as drafted (0 if another drafter proposed)."""
