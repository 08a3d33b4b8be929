"""What the token marks mean, with the number of tokens each source gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from textual.content import Content
from textual.widget import Widget

from specchat.marks import MARKS
from specchat.settings import Marks
from specchat.tui.actions import BY_ID
from specchat.tui.keys import key_text
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
        self._key = key_text(BY_ID["marks"].keys)
        self._below = ""

    def show(self, counts: Mapping[Source, int], marks: Marks) -> None:
        """Show how many tokens each source gave to an answer, in the kind of marks that is on."""
        self._counts = dict(counts)
        self._marks = marks
        self.refresh()

    def name_key(self, key: str) -> None:
        """Name another key that changes the marks."""
        self._key = key
        self.refresh()

    def tell_below(self, below: str) -> None:
        """Say how to get to what is out of sight below; empty if nothing is."""
        self._below = below
        self.refresh()

    def render(self) -> Content:
        """The row."""
        if self._marks == "off":
            long, short = f"{self._key} shows where each token came from", f"{self._key} marks the tokens"
            pieces: list[list[Form]] = [[(0, Content.styled(long, MUTED)), (1, Content.styled(short, MUTED))]]
        else:
            pieces = [[(1, GAP.join(self._labels())), (2, GAP.join(self._letters()))], [(0, Content.styled(self._key, MUTED))]]
        if self._below:
            pieces.append([(3, Content.styled(self._below, STRONG))])
        return fit(pieces, self.content_size.width, GAP)

    def _labels(self) -> Iterator[Content]:
        for source, mark in MARKS.items():
            letter = f"{mark.letter} " if self._marks == "glyph" else ""
            yield Content.assemble((letter, STRONG), (mark.label, mark_style(source)), f" {self._counts.get(source, 0)}")

    def _letters(self) -> Iterator[Content]:
        for source, mark in MARKS.items():
            yield Content.assemble((mark.letter, mark_style(source)), str(self._counts.get(source, 0)))
