"""How many of a drafter's tokens the target accepts, by their position in the draft."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from pair_quality.answering import Answer, by_category
from specdec.events import Statistics


@dataclass(frozen=True)
class Acceptance:
    """Counts over some answers; the tuples start with a draft's first token, and a refused token is the last one tested."""

    rounds: int = 0
    tokens: int = 0
    tested: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()

    @classmethod
    def of(cls, statistics: Statistics) -> Acceptance:
        """The counts of one answer that a single drafter drafted for."""
        total = cls(statistics.rounds, statistics.answer_tokens)
        for counts in statistics.drafters.values():
            total += cls(tested=counts.tested_by_position, accepted=counts.accepted_by_position)
        return total

    def __add__(self, other: Acceptance) -> Acceptance:
        return Acceptance(
            self.rounds + other.rounds,
            self.tokens + other.tokens,
            tuple(a + b for a, b in zip_longest(self.tested, other.tested, fillvalue=0)),
            tuple(a + b for a, b in zip_longest(self.accepted, other.accepted, fillvalue=0)),
        )

    @property
    def rate(self) -> float | None:
        """The part of the tested tokens that was accepted, None if nothing was drafted."""
        return sum(self.accepted) / sum(self.tested) if self.tested else None

    @property
    def by_position(self) -> list[float]:
        """The same for each position of a draft."""
        return [accepted / tested for accepted, tested in zip(self.accepted, self.tested, strict=True)]

    @property
    def mean_accepted_length(self) -> float:
        """Tokens a round, the target's own included; a round for which nothing was drafted counts too."""
        return self.tokens / self.rounds if self.rounds else 0.0


def measure(answers: Iterable[Answer]) -> dict[str, Acceptance]:
    """The acceptance in each category and, last, overall."""
    return {
        category: sum((Acceptance.of(answer.statistics) for answer in group), Acceptance())
        for category, group in by_category(answers).items()
    }
