"""What a stage found: tables of figures, goals, what was skipped and what failed."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from gpu_checks.goals import GOALS
from gpu_checks.timing import free_memory

Value = str | int | float | bool | None
Row = dict[str, Value]
NO_TIME = "the stage's time was over"


@dataclass(frozen=True)
class Reason:
    """Something that has no figures, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Reached:
    """A figure that has a goal; `met` is None where it was not measured at the size and on the device that the goal is for."""

    key: str
    goal: str
    how: str
    measured: float
    met: bool | None


@dataclass
class Findings:
    """Filled by a stage as it measures, so that what it has is kept if it fails.

    `deadline` is a moment of time.perf_counter; `save` is called after each part.
    """

    deadline: float
    full_size: bool
    save: Callable[[], None]
    tables: dict[str, list[Row]] = field(default_factory=dict)
    goals: list[Reached] = field(default_factory=list)
    skipped: list[Reason] = field(default_factory=list)
    failed: list[Reason] = field(default_factory=list)
    seconds: float = 0.0
    ended: bool = False

    @property
    def seconds_left(self) -> float:
        """How much of the stage's time is left."""
        return self.deadline - time.perf_counter()

    def add(self, table: str, **row: Value) -> None:
        """A row of a table."""
        self.tables.setdefault(table, []).append(row)

    def goal(self, key: str, how: str, measured: float) -> None:
        """A figure beside its goal; `how` says of what."""
        goal = GOALS[key]
        self.goals.append(Reached(key, goal.text, how, measured, goal.met(measured) if self.full_size else None))

    def skip(self, what: str, reason: str) -> None:
        """Something that is not measured here; told once."""
        if Reason(what, reason) not in self.skipped:
            self.skipped.append(Reason(what, reason))

    def fail(self, what: str, error: BaseException) -> None:
        """Something that went wrong; the whole story goes to stderr."""
        traceback.print_exception(error, file=sys.stderr)
        words = (str(error).strip().splitlines() or [""])[0]
        self.failed.append(Reason(what, f"{type(error).__name__}: {words}"))

    def part(self, what: str, measure: Callable[[], None]) -> None:
        """Measure a part of the stage: skipped when the time is over, recorded if it fails; what it held in memory is freed."""
        if self.seconds_left <= 0:
            self.skip(what, NO_TIME)
            return
        print(f"{what} ...", file=sys.stderr, flush=True)
        try:
            measure()
        except Exception as error:
            self.fail(what, error)
        free_memory()
        self.save()
