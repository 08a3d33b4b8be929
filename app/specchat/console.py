"""Diagnostics on stderr: errors, notes and the progress of slow steps; stdout stays free for data."""

from __future__ import annotations

import os
import sys

from specchat.visible import visible
from specdec.errors import SpecError
from specdec.memory import size_text


def report(error: SpecError) -> None:
    """Say in one line what went wrong and what to do next."""
    say(str(error))


def note(text: str) -> None:
    """Tell the user something that is not an error."""
    say(f"note: {text}")


def say(text: str) -> None:
    """One line on stderr under the program's name, whatever the text holds."""
    print("specchat:", visible(" ".join(text.split())), file=sys.stderr, flush=True)


class ProgressLine:
    """One line on stderr that is written over and over, if a person is there to see it."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._width = 0

    def show(self, stage: str, done: int, total: int, unit: str = "") -> None:
        """Write how far a step is; `total` 0 means unknown, and a unit of `bytes` is shown in larger ones."""
        if not self._shown:
            return
        amounts = (size_text(done), size_text(total)) if unit == "bytes" else (f"{done}", f"{total} {unit}".rstrip())
        text = f"{stage} {amounts[0]} of {amounts[1]}" if total else stage
        text = visible(text).replace("\n", " ")[: _columns() - 1]
        print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(text)

    def clear(self) -> None:
        """Make room for what comes next."""
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)
            self._width = 0


def _columns() -> int:
    try:
        return max(20, os.get_terminal_size(sys.stderr.fileno()).columns)
    except OSError:
        return 80
