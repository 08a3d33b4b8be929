"""A row to a strip: text, token marks, the selected round and the selection, with the place in the source of every cell."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import set_cell_size, split_graphemes
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from specchat.marks import MARKS
from specchat.settings import Marks
from specchat.tui.transcript.palette import Palette
from specchat.tui.transcript.runs import Runs
from specchat.tui.transcript.wrap import Piece, Row

EDGE = 2
MARGIN = 1
GUTTER = 14
CODE = frozenset(("code", "inline-code", "label"))
NOWHERE = (0, 0)
REVERSE = Style(reverse=True)

Span = tuple[int, int]


class Place(int):
    """Where in the source a segment is that does not show it character by character: all of its cells are at source[start:end].

    Textual finds what is under the pointer by adding the characters passed to the offset of a segment, then one to include
    the character at the end of a selection: the first keeps the place, the second gives its end.
    """

    end: int
    pointed: bool

    def __new__(cls, start: int, end: int, pointed: bool = False) -> Place:
        place = super().__new__(cls, start)
        place.end = end
        place.pointed = pointed
        return place

    def __reduce__(self) -> tuple[type[Place], tuple[int, int, bool]]:
        return Place, (int(self), self.end, self.pointed)

    def __add__(self, other: int) -> int:
        return self.end if self.pointed else Place(self, self.end, pointed=True)


@dataclass(frozen=True)
class Look:
    """How the rows of one turn are painted; `round`, `selection` and `thought` (its end) are places in its source."""

    turn: int
    runs: Runs
    marks: Marks
    edge: str = ""
    edge_style: str = ""
    round: Span = NOWHERE
    selection: Span = NOWHERE
    thought: int = 0


def text_width(width: int, marks: Marks) -> int:
    """How many of the cells of a view are left for text."""
    return max(width - EDGE - MARGIN - (GUTTER if marks == "glyph" else 0), 1)


def paint(row: Row, counted: Span, look: Look, palette: Palette, width: int) -> Strip:
    """The strip of a row; `counted` is the stretch of the source whose tokens the gutter counts."""
    place = row.start
    segments = [_decoration(look.edge.ljust(EDGE), palette(look.edge_style), look, place)]
    for piece in row.pieces:
        if piece.start < 0:
            segments.append(_decoration(piece.text, palette(piece.style), look, place))
        else:
            segments += _source(piece, look, palette)
            place = piece.end
    room = EDGE + text_width(width, look.marks)
    rest = room - sum(segment.cell_length for segment in segments)
    if rest > 0:
        segments.append(_decoration(" " * rest, palette(row.fill), look, place))
    gutter = _gutter(counted, look.runs) if look.marks == "glyph" else ""
    segments.append(_decoration(set_cell_size(gutter, max(width - room, 0)), palette("muted"), look, place))
    return Strip(segments)


def empty(turn: int, place: int, width: int, palette: Palette) -> Strip:
    """A strip below the last row."""
    return Strip([Segment(" " * width, palette("") + _at(Place(place, place), turn))], width)


def _at(offset: int, turn: int) -> Style:
    return Style.from_meta({"offset": (offset, turn)})


def _decoration(text: str, style: Style, look: Look, place: int) -> Segment:
    return Segment(text, style + _at(Place(place, place), look.turn))


def _source(piece: Piece, look: Look, palette: Palette) -> Iterator[Segment]:
    """The segments of a piece; none begins within a grapheme, as the widths of its parts would not add up."""
    if not piece.exact:
        yield Segment(piece.text, _style(piece, piece.start, look, palette) + _at(Place(piece.start, piece.end), look.turn))
        return
    marked = look.runs.borders(piece.start, piece.end) if look.marks == "style" else []
    borders = {border for border in (*marked, *look.round, *look.selection, look.thought) if piece.start < border < piece.end}
    if borders and not piece.text.isascii():
        starts = [piece.start + first for first, _, _ in split_graphemes(piece.text)[0]]
        borders = {starts[index] for border in borders if (index := bisect_left(starts, border)) < len(starts)}
    for at, to in pairwise((piece.start, *sorted(borders), piece.end)):
        text = piece.text[at - piece.start : to - piece.start]
        yield Segment(text, _style(piece, at, look, palette) + _at(at, look.turn))


def _style(piece: Piece, offset: int, look: Look, palette: Palette) -> Style:
    chosen = look.round[0] <= offset < look.round[1]
    style = palette("" if chosen else f"{piece.style} thought" if offset < look.thought else piece.style)
    if look.marks == "style" and (source := look.runs.source_at(offset)):
        style += palette.mark(source, coloured=chosen or CODE.isdisjoint(piece.style.split()))
    if chosen:
        style += REVERSE
    if look.selection[0] <= offset < look.selection[1]:
        style += palette.selection
    return style


def _gutter(counted: Span, runs: Runs) -> str:
    """The tokens of a row by their source, without spaces where they need much room."""
    counts = [f"{MARKS[source].letter}{count}" for source, count in runs.counts(*counted).items()]
    spaced = " ".join(counts)
    return f" {spaced if len(spaced) < GUTTER else ''.join(counts)}"
