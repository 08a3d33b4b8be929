"""An answer written as text while it is decoded, to a terminal or a pipe, with what is worth saying about it at the end."""

from __future__ import annotations

import os
import sys

from specchat.answer import Answer
from specchat.console import ProgressLine, note
from specchat.figures import figures
from specchat.marks import legend, marked
from specchat.visible import visible
from specdec.events import Event, Progress, Ready, Round, Run, Started


class TextWriter:
    """Writes the text of rounds to stdout, progress and warnings to stderr.

    On a terminal control characters are made visible and, with `marks`, every token shows its source. In a pipe the text is the
    model's own, byte for byte, but for a line end after the last line.
    """

    def __init__(self, marks: bool) -> None:
        self._terminal = sys.stdout.isatty()
        self._marks = marks and self._terminal
        self._colour = not os.environ.get("NO_COLOR")
        self._progress = ProgressLine()
        self._last = ""
        if marks and not self._terminal:
            note("--marks needs a terminal; the answer is written plain.")

    def watch(self, event: Event) -> None:
        """Show what an event brings."""
        match event:
            case Progress():
                self._progress.show(event.stage, event.done, event.total, event.unit)
            case Ready():
                self._progress.clear()
                for warning in event.warnings:
                    note(warning)
            case Started():
                self._progress.clear()
            case Round():
                text = "".join(run.text for run in event.runs)
                self._last = text[-1:] or self._last
                sys.stdout.write("".join(self._shown(run) for run in event.runs))
                sys.stdout.flush()

    def end(self, answer: Answer, statistics: bool) -> None:
        """End the last line; then the legend of the marks and, if asked for, the statistics go to stderr."""
        self._progress.clear()
        if self._last not in ("", "\n"):
            print(flush=True)
        self._last = ""
        if self._marks and answer.runs:
            print(legend(answer.runs, self._colour), file=sys.stderr, flush=True)
        if statistics:
            print_figures(answer)

    def _shown(self, run: Run) -> str:
        if self._marks:
            return marked(run.text, run.source, self._colour)
        return visible(run.text) if self._terminal else run.text


def print_figures(answer: Answer) -> None:
    """The table of statistics on stderr, if the answer came to its end."""
    if answer.done and answer.ready:
        print(visible(figures(answer.done.statistics, answer.ready)), file=sys.stderr, flush=True)
