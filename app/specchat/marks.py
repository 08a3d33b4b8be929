"""Where each token came from, told by text style as well as colour, so that neither is needed alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from specchat.visible import visible
from specdec.events import Run, Source

Colour = Literal["blue", "orange", "red", "green", ""]
SOURCES: tuple[Source, ...] = get_args(Source)
ANSI_COLOURS: dict[Colour, str] = {"blue": "34", "orange": "33", "red": "31", "green": "32", "": ""}


@dataclass(frozen=True)
class Mark:
    """How the tokens of one source look: `letter` where there is room for no more, `label` in a legend."""

    letter: str
    label: str
    colour: Colour = ""
    bold: bool = False
    italic: bool = False
    underline: bool = False

    def ansi(self, colour: bool) -> str:
        """The parameters of the escape sequence, without the colour unless `colour`; empty for plain text."""
        codes = ("1" if self.bold else "", "3" if self.italic else "", "4" if self.underline else "")
        return ";".join(filter(None, (*codes, ANSI_COLOURS[self.colour] if colour else "")))


MARKS: dict[Source, Mark] = {
    "draft": Mark("d", "draft", "blue", underline=True),
    "ngram": Mark("n", "n-gram", "orange", italic=True, underline=True),
    "corrected": Mark("c", "corrected", "red", bold=True),
    "bonus": Mark("b", "bonus", "green", italic=True),
    "target": Mark("t", "target"),
}


def marked(text: str, source: Source, colour: bool) -> str:
    """The text in the style of its source, made safe first; no style crosses the end of a line."""
    codes = MARKS[source].ansi(colour)
    safe = visible(text)
    if not codes:
        return safe
    return "\n".join(f"\x1b[{codes}m{line}\x1b[0m" if line else "" for line in safe.split("\n"))


def counts(runs: Iterable[Run]) -> dict[Source, int]:
    """How many tokens each source gave, zeros included."""
    found = Counter[Source]()
    for run in runs:
        found[run.source] += len(run.tokens)
    return {source: found[source] for source in SOURCES}


def legend(runs: Iterable[Run], colour: bool) -> str:
    """One line naming every source in its own style, with the number of tokens it gave."""
    return "  ".join(f"{marked(MARKS[source].label, source, colour)} {count}" for source, count in counts(runs).items())
