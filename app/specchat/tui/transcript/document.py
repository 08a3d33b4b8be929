"""The turns of a conversation as rows: built when needed, estimated until then, found by their place on screen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from specchat.transcript import Turn
from specchat.tui.transcript.markdown import markdown_rows
from specchat.tui.transcript.runs import Runs
from specchat.tui.transcript.wrap import Insertion, Line, Piece, Row, Wrapping, cells, one_line, source_rows, wrap

Position = tuple[int, int]
THINK = "<think>"
END_THINK = "</think>"
GLYPHS = {"info": "i ", "warning": "! ", "error": "✗ "}
FINISHES = {"stopped": "interrupted", "context": "context full", "max_tokens": "max tokens"}


@dataclass(frozen=True)
class Layout:
    """What decides the rows of all turns: the width of their text in cells, and how much of it is shown in which form."""

    width: int
    markdown: bool = True
    thinking: bool = False


class Block:
    """One turn as rows: its title, its text, what went wrong, and a blank row.

    `live` tells that it still grows, `thought` where the reasoning at its start ends, `height` is a guess until it is `built`.
    """

    def __init__(self, turn: Turn, position: Position, live: bool = False) -> None:
        self.turn = turn
        self.position = position
        self.live = live
        self.runs = Runs()
        self.thought = 0
        self.built = False
        self.height = 0
        self._title: list[Row] = []
        self._body: list[Row] = []
        self._tail: list[Row] = []
        self._wrapping: Wrapping | None = None

    def estimate(self, layout: Layout) -> None:
        """Drop the rows and guess how many there will be."""
        self.built = False
        self._wrapping = None
        self.height = 2 + sum(len(line) // layout.width + 1 for line in self.turn.text.split("\n"))

    def build(self, layout: Layout, chosen: int | None = None) -> None:
        """Make the rows; those of a `chosen` round show also what was rejected in it."""
        self._take_over()
        insertion = self._rejected(chosen)
        self._title = [_title(self.turn, self.position, self.live)]
        self._wrapping = None
        if self.live:
            self._wrapping = Wrapping(layout.width, insertion)
            self._wrapping.grow(self.turn.text)
            self._body = self._wrapping.rows
        else:
            self._body = self._settled(layout, insertion, chosen)
        self._end(layout)

    def grow(self, layout: Layout) -> int:
        """Take the text that was added to a live turn that is built; returns the first row that may differ."""
        assert self._wrapping is not None
        self._take_over()
        first = self._wrapping.grow(self.turn.text)
        self._end(layout)
        return len(self._title) + first

    def row(self, index: int) -> Row:
        """One of the rows."""
        if index < len(self._title):
            return self._title[index]
        index -= len(self._title)
        return self._body[index] if index < len(self._body) else self._tail[index - len(self._body)]

    def counted(self, index: int) -> tuple[int, int]:
        """The stretch of the source that a row stands for, which is empty for rows around the text."""
        index -= len(self._title)
        if not 0 <= index < len(self._body):
            return 0, 0
        last = index + 1 == len(self._body)
        return self._body[index].start, len(self.turn.text) if last else self._body[index + 1].start

    def row_of(self, offset: int) -> int:
        """The row that shows a character of the source."""
        index = bisect_right(self._body, offset, key=lambda row: row.start) - 1
        return len(self._title) + max(index, 0)

    def span(self, chosen: int | None) -> tuple[int, int]:
        """Where the text of a round stands; an empty stretch if there is no such round."""
        span = self.runs.span(chosen) if chosen is not None else None
        return span or (0, 0)

    def _take_over(self) -> None:
        """Look at what the turn got since the last time."""
        self.runs.add(self.turn.rounds[len(self.runs) :])
        self.thought = thought_end(self.turn.text) if self.turn.role == "assistant" else 0

    def _rejected(self, chosen: int | None) -> Insertion | None:
        end = self.span(chosen)[1]
        text = self.turn.rounds[chosen].rejected if chosen is not None and end else ""
        return (end, text) if text else None

    def _settled(self, layout: Layout, insertion: Insertion | None, chosen: int | None) -> list[Row]:
        text = self.turn.text
        rows: list[Row] = []
        start = 0
        if self.thought and (layout.markdown or not layout.thinking):
            start = len(text) - len(text[self.thought :].lstrip())
            if layout.thinking or 0 < self.span(chosen)[1] <= self.thought:
                rows += [*source_rows(text[: self.thought], layout.width, insertion=insertion), Row((), self.thought)]
            else:
                rows.append(Row((Piece(f"▸ thought for {self._thinking()}", style="thought"),), 0))
            if start == len(text):
                return rows
        if layout.markdown and self.turn.role == "assistant":
            return rows + markdown_rows(text, layout.width, start, insertion)
        return rows + list(source_rows(text, layout.width, start, insertion))

    def _thinking(self) -> str:
        tokens = sum(self.runs.counts(0, self.thought).values())
        return f"{tokens} tokens" if tokens else f"{len(self.turn.text[: self.thought].split())} words"

    def _end(self, layout: Layout) -> None:
        end = len(self.turn.text)
        error = [Row((), end), *message_rows(self.turn.error, "error", layout.width, end)] if self.turn.error else []
        self._tail = [*error, Row((), end)]
        self.height = len(self._title) + len(self._body) + len(self._tail)
        self.built = True


def thought_end(text: str) -> int:
    """Where the reasoning at the start of an answer ends; 0 if there is none, the end of the text if it does not end."""
    if not text.lstrip().startswith(THINK):
        return 0
    end = text.find(END_THINK)
    return end + len(END_THINK) if end >= 0 else len(text)


def _title(turn: Turn, position: Position, live: bool) -> Row:
    facts = []
    if turn.statistics:
        facts.append(f"{turn.statistics.tokens_per_second:.0f} tok/s")
    if position[1] > 1:
        facts.append(f"{position[0]}/{position[1]}")
    if live:
        facts.append("answering")
    elif turn.finish in FINISHES:
        facts.append(FINISHES[turn.finish])
    elif turn.interrupted and not turn.error:
        facts.append("interrupted")
    answer = turn.setup.pair if turn.setup else "Answer"
    name = Piece("You", style="user") if turn.role == "user" else Piece(one_line(answer), style="answer")
    return Row((name, Piece("".join(f" · {fact}" for fact in facts), style="muted")), 0)


def message_rows(text: str, kind: str, width: int, place: int) -> list[Row]:
    """A message about the conversation: a glyph at its beginning and the lines aligned after it."""
    glyph = GLYPHS[kind]
    rows: list[Row] = []
    for line in text.split("\n"):
        for pieces, _ in wrap([Piece(line, style=kind)], width - len(glyph)):
            rows.append(Row((Piece(" " * len(glyph) if rows else glyph, style=kind), *pieces), place))
    return rows


def hint_rows(hint: Sequence[Line], width: int, height: int) -> list[Row]:
    """What to show instead of turns: lines that are aligned with each other, in the middle, as many as fit above a blank row."""
    lines: list[Line] = []
    for line in hint:
        wrapped = [pieces for pieces, _ in wrap(line, width)]
        if len(lines) + len(wrapped) >= height:
            break
        lines += wrapped
    indent = Piece(" " * (max(width - max(map(cells, lines), default=0), 0) // 2))
    above = max(height - len(lines) - 1, 0) // 2
    return [*[Row((), 0)] * above, *(Row((indent, *pieces), 0) for pieces in lines), Row((), 0)]


class Document:
    """All turns one below the other, then the rows of the `end`, which are not part of them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.layout = Layout(1)
        self.end: list[Row] = []
        self._index: dict[str, int] = {}
        self._tops: list[int] = [0]

    @property
    def height(self) -> int:
        """The number of rows."""
        return self._tops[-1] + len(self.end)

    def show(self, turns: Sequence[Turn], positions: Mapping[str, Position]) -> None:
        """Replace all turns."""
        self.blocks = [Block(turn, positions.get(turn.id, (1, 1))) for turn in turns]
        self._index = {turn.id: index for index, turn in enumerate(turns)}
        self.lay_out(self.layout)

    def append(self, turn: Turn, position: Position) -> None:
        """Add a turn; an answer that has not ended is live."""
        self._index[turn.id] = len(self.blocks)
        self.blocks.append(Block(turn, position, live=turn.role == "assistant" and turn.finish is None))
        self.blocks[-1].estimate(self.layout)
        self.measure(len(self.blocks) - 1)

    def lay_out(self, layout: Layout) -> None:
        """Drop all rows for another layout."""
        self.layout = layout
        for block in self.blocks:
            block.estimate(layout)
        self.measure()

    def measure(self, first: int = 0) -> None:
        """Bring the places of the blocks from the `first` on up to date with their heights."""
        del self._tops[first + 1 :]
        for block in self.blocks[first:]:
            self._tops.append(self._tops[-1] + block.height)

    def index(self, turn_id: str | None) -> int | None:
        """Which block shows a turn."""
        return self._index.get(turn_id) if turn_id is not None else None

    def top(self, index: int) -> int:
        """The first row of a block; that of the end for the block after the last."""
        return self._tops[index]

    def locate(self, y: int) -> tuple[int, int]:
        """The block at a row of the document and the row within it; the block after the last is the end."""
        index = min(bisect_right(self._tops, y) - 1, len(self.blocks))
        return index, y - self._tops[index]

    def unbuilt(self, first: int, last: int) -> int | None:
        """The first block among the rows first..last-1 that has no rows yet."""
        index, _ = self.locate(first)
        while index < len(self.blocks) and self._tops[index] < last:
            if not self.blocks[index].built:
                return index
            index += 1
        return None

    def nearest_unbuilt(self, y: int) -> int | None:
        """The block without rows that is nearest to a row."""
        centre, _ = self.locate(y)
        unbuilt: Iterable[int] = (index for index, block in enumerate(self.blocks) if not block.built)
        return min(unbuilt, key=lambda index: abs(index - centre), default=None)
