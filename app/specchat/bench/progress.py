"""How far a benchmark is, on stderr: a bar where a person sees it, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from specchat.answer import Watch
from specchat.console import say
from specchat.visible import visible
from specdec.events import BenchStarted, Event, Measured, Progress

SECONDS_BETWEEN_LINES = 60.0
SECONDS_BETWEEN_DRAWINGS = 0.5
SPEED_SECONDS = 600.0


@contextmanager
def shown_progress() -> Iterator[Watch]:
    """What to show each event to; stderr is free again, and the bar gone, after the block."""
    if sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield lines(time.monotonic)


def lines(clock: Callable[[], float]) -> Watch:
    """Says at most once a minute how many answers are done and how long the others will take."""
    done = total = 0
    began = said = clock()

    def watch(event: Event) -> None:
        nonlocal done, total, began, said
        if isinstance(event, BenchStarted):
            total, began, said = event.answers, clock(), clock()
        if not isinstance(event, Measured):
            return
        done += 1
        now = clock()
        if now - said >= SECONDS_BETWEEN_LINES and done < total:
            said = now
            say(f"{done} of {total} answers, {_duration((now - began) / done * (total - done))} left.")

    return watch


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@contextmanager
def _bar() -> Iterator[Watch]:
    """A bar that is drawn when an event arrives, twice a second at most, so that it takes next to no time from what is measured."""
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        speed_estimate_period=SPEED_SECONDS,
    )
    task = bar.add_task("loading", total=None)

    drawn = 0.0

    def watch(event: Event) -> None:
        nonlocal drawn
        match event:
            case Progress():
                bar.update(task, description=visible(event.stage), completed=event.done, total=event.total or None)
            case BenchStarted():
                bar.reset(task, description="answers", total=event.answers)
            case Measured():
                bar.advance(task)
        if time.monotonic() - drawn >= SECONDS_BETWEEN_DRAWINGS:
            bar.refresh()
            drawn = time.monotonic()

    with bar:
        bar.refresh()
        yield watch
