"""What the token marks mean, with the number of tokens each source gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from textual.content import Content
from textual.widget import Widget

from specchat.marks import MARKS
from specchat.settings import Marks
from specchat.tui.actions import BY_ID
from specchat.tui.widgets.fitting import Form, fit
from specchat.tui.widgets.styles import MUTED, STRONG, mark_style
from specdec.events import Source

GAP = Content("  ")


class Legend(Widget):
    """One row: every source in its own style with its count, or its letter where marks are letters."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Legend {
        height: 1;
        padding: 0 1;
        text-wrap: nowrap;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._counts: dict[Source, int] = dict.fromkeys(MARKS, 0)
        self._marks: Marks = "style"

    def show(self, counts: Mapping[Source, int], marks: Marks) -> None:
        """Show how many tokens each source gave to an answer, in the kind of marks that is on."""
        self._counts = dict(counts)
        self._marks = marks
        self.refresh()

    def render(self) -> Content:
        """The row."""
        action = BY_ID["marks"]
        key = action.keys.upper()
        if self._marks == "off":
            long, short = f"{key} or /{action.slash} shows where each token came from", f"{key} marks the tokens"
            return fit([[(0, Content.styled(long, MUTED)), (1, Content.styled(short, MUTED))]], self.content_size.width, GAP)
        sources: list[Form] = [(1, GAP.join(self._labels())), (2, GAP.join(self._letters()))]
        return fit([sources, [(0, Content.styled(key, MUTED))]], self.content_size.width, GAP)

    def _labels(self) -> Iterator[Content]:
        for source, mark in MARKS.items():
            letter = f"{mark.letter} " if self._marks == "glyph" else ""
            yield Content.assemble((letter, STRONG), (mark.label, mark_style(source)), f" {self._counts.get(source, 0)}")

    def _letters(self) -> Iterator[Content]:
        for source, mark in MARKS.items():
            yield Content.assemble((mark.letter, mark_style(source)), str(self._counts.get(source, 0)))
