"""What a target step costs now, by its number of rows: the calibrated times, corrected by what rounds have taken since.

How much dearer several rows are than one changes with the length of the context and with the sampling, so sizes are corrected
apart; a size that has not run for a while follows all steps together.
"""

from __future__ import annotations

from dataclasses import dataclass

from specdec.options import MAX_DRAFT_TOKENS

FADING = 0.97
MOST_WEIGHT = 10.0
COMMON_WEIGHT = 0.25
OUTLIER = 1.5


@dataclass
class Ratio:
    """A running mean of measured over calibrated time, and how many recent measurements it stands for."""

    mean: float = 1.0
    weight: float = 0.0

    def observe(self, ratio: float) -> None:
        """Take in a measurement; one outlier, a page fault say, moves it little."""
        self.weight = min(self.weight + 1, MOST_WEIGHT)
        self.mean += (within(ratio, self.mean) - self.mean) / self.weight


class StepTimes:
    """Ratios of measured to calibrated time of target steps of 1, 2, 3 to 4, 5 to 8, ... rows, and of all together."""

    def __init__(self) -> None:
        self._common = Ratio(weight=MOST_WEIGHT)
        self._sizes = [Ratio() for _ in range(_size(MAX_DRAFT_TOKENS + 1) + 1)]

    def observe(self, rows: int, ratio: float) -> None:
        """A step of so many rows took `ratio` times what was calibrated."""
        self._common.observe(ratio)
        for size in self._sizes:
            size.weight *= FADING
        own = self._sizes[_size(rows)]
        own.observe(within(ratio, self.ratio(rows)))

    def ratio(self, rows: int) -> float:
        """What to expect of such a step now."""
        own = self._sizes[_size(rows)]
        return (own.weight * own.mean + COMMON_WEIGHT * self._common.mean) / (own.weight + COMMON_WEIGHT)


def within(value: float, expected: float) -> float:
    """The value, kept within a factor of what was expected."""
    return min(max(value, expected / OUTLIER), expected * OUTLIER)


def _size(rows: int) -> int:
    return (rows - 1).bit_length()
