"""How text is drawn by what it says, in words of the theme, so that every widget draws it alike."""

from __future__ import annotations

from specchat.marks import MARKS, Colour
from specdec.events import Source

MUTED = "$foreground-muted"
STRONG = "bold"
ACCENT = "$text-primary"
WARNING = "bold $text-warning"
COLOURS: dict[Colour, str] = {
    "blue": "$text-primary",
    "orange": "$text-warning",
    "red": "$text-error",
    "green": "$text-success",
    "": "",
}


def mark_style(source: Source) -> str:
    """The style of text from a source."""
    mark = MARKS[source]
    styles = ("bold" if mark.bold else "", "italic" if mark.italic else "", "underline" if mark.underline else "", COLOURS[mark.colour])
    return " ".join(filter(None, styles))
