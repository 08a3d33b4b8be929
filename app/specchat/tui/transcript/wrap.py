"""Text to rows of a width, where every displayed character knows the source text it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size, split_graphemes

from specchat.visible import SHOWN, visible

TAB = 8
JOINER = "\u200d"
_WORDS = re.compile(r"[ \t]+|[^ \t]+")
_TABS = re.compile(r"\t|[^\t]+")
_CONTROLS = "".join(map(chr, SHOWN))
_SPECIAL = re.compile(f"([{_CONTROLS}]|(?:^|(?<=[{_CONTROLS}{JOINER}])){JOINER})")

Insertion = tuple[int, str]
Line = Sequence["Piece"]


class Piece(NamedTuple):
    """Displayed text in one style that stands for source[start:end], or for nothing: then both are -1.

    Where both are equally long they correspond character by character; otherwise the text stands for its stretch as a whole.
    `style` holds names of styles, separated by spaces.
    """

    text: str
    start: int = -1
    end: int = -1
    style: str = ""

    @property
    def exact(self) -> bool:
        """Whether each character stands for one of the source."""
        return self.end - self.start == len(self.text)

    def cut(self, first: int, last: int) -> Piece:
        """A part of a decoration or of an exact piece."""
        if self.start < 0:
            return Piece(self.text[first:last], -1, -1, self.style)
        return Piece(self.text[first:last], self.start + first, self.start + last, self.style)


class Row(NamedTuple):
    """One row. It covers the source from `start` to where the next row starts, also what of it is not displayed.

    `fill` is the style of the cells after the pieces.
    """

    pieces: tuple[Piece, ...]
    start: int
    fill: str = ""

    @property
    def text(self) -> str:
        """What is displayed."""
        return "".join(piece.text for piece in self.pieces)


class Wrapping:
    """The rows of a text that grows at its end; only the last ones are wrapped again."""

    def __init__(self, width: int, insertion: Insertion | None = None) -> None:
        self.width = width
        self.insertion = insertion
        self.rows: list[Row] = list(source_rows("", width, insertion=insertion))

    def grow(self, text: str) -> int:
        """Take the whole text, which begins with the one before; returns the first row that may differ."""
        keep = len(self.rows) - 1
        while self.insertion and keep and self.rows[keep].start == self.insertion[0]:
            keep -= 1
        self.rows[keep:] = source_rows(text, self.width, self.rows[keep].start, self.insertion)
        return keep


def source_rows(text: str, width: int, start: int = 0, insertion: Insertion | None = None) -> Iterator[Row]:
    """The rows of text[start:] as it stands; an insertion is displayed at its offset and stands for nothing."""
    for line in text[start:].split("\n"):
        end = start + len(line)
        first = start
        for pieces, last in wrap(_line(line, start, insertion), width):
            yield Row(pieces, first)
            first = max(first, last)
        start = end + 1


def _line(line: str, start: int, insertion: Insertion | None) -> list[Piece]:
    end = start + len(line)
    whole = Piece(line, start, end)
    if insertion is None or not start <= insertion[0] <= end:
        return [whole]
    at = insertion[0] - start
    return [whole.cut(0, at), rejected(insertion[1]), whole.cut(at, len(line))]


def rejected(text: str) -> Piece:
    """Drafted text that was refused, on one line."""
    return Piece(one_line(text), style="rejected")


def one_line(text: str) -> str:
    """The text made visible, with signs for what would leave the line."""
    return visible(text).replace("\n", "⏎").replace("\t", " ")


def wrap(line: Sequence[Piece], width: int, words: bool = True) -> list[tuple[tuple[Piece, ...], int]]:
    """The pieces of one line broken into rows, each with the end of what it covers (-1 for decoration only).

    Rows break between words, words only where they are wider than a row, and everything anywhere if not `words`. A row is wider
    than `width` only if a single character is. Which rows there are before the last one does not depend on what follows.
    """
    wrapper = _Wrapper(max(width, 1))
    if words:
        wrapper.add_words(line)
    else:
        wrapper.add_anywhere(line)
    wrapper.break_row()
    return wrapper.rows


def cells(pieces: Sequence[Piece]) -> int:
    """How many cells wide pieces are side by side."""
    return sum(cell_len(piece.text) for piece in pieces)


class _Wrapper:
    """One line on its way into rows."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[tuple[tuple[Piece, ...], int]] = []
        self.pieces: list[Piece] = []
        self.column = 0
        self.end = -1
        self.has_word = False

    def add_words(self, line: Sequence[Piece]) -> None:
        word: list[Piece] = []
        for piece in line:
            if piece.text and not (piece.exact or piece.start < 0):
                word.append(piece)
                continue
            for match in _WORDS.finditer(piece.text):
                part = piece.cut(*match.span())
                if match[0][0] not in " \t":
                    word.append(part)
                    continue
                self.add_word(word)
                word = []
                self.add_spaces(part)
        self.add_word(word)

    def add_anywhere(self, line: Sequence[Piece]) -> None:
        for piece in line:
            for match in _TABS.finditer(piece.text):
                part = piece.cut(*match.span()) if piece.exact or piece.start < 0 else piece
                if match[0] == "\t" and part is not piece:
                    if self.column >= self.width:
                        self.break_row()
                    self.add_spaces(part)
                else:
                    self.split([part])

    def break_row(self) -> None:
        self.rows.append((tuple(self.pieces), self.end))
        self.pieces = []
        self.column = 0
        self.has_word = False

    def put(self, piece: Piece, width: int) -> None:
        self.column += width
        self.end = max(self.end, piece.end)
        if self.pieces:
            last = self.pieces[-1]
            if last.style == piece.style and last.end == piece.start and (piece.start < 0 or (last.exact and piece.exact)):
                self.pieces[-1] = Piece(last.text + piece.text, last.start, piece.end, last.style)
                return
        self.pieces.append(piece)

    def add_spaces(self, part: Piece) -> None:
        """Put spaces and tabs as far as there is room; those that are too many are covered without being displayed."""
        for index, character in enumerate(part.text):
            space = part.cut(index, index + 1)
            width = min(TAB - self.column % TAB if character == "\t" else 1, self.width - self.column)
            if width > 0:
                self.put(space._replace(text=" " * width), width)
        self.end = max(self.end, part.end)

    def add_word(self, word: Sequence[Piece]) -> None:
        """Put a word; each wide character in it is a word of its own, as its script has no spaces."""
        if not word:
            return
        if all(_plain(part.text) for part in word):
            self.place(word, sum(len(part.text) for part in word))
            return
        narrow: list[tuple[Piece, int]] = []
        for unit in _units(word):
            if get_character_cell_size(unit[0].text[0]) < 2:
                narrow.append(unit)
                continue
            self.place_units(narrow)
            narrow = []
            self.place_units([unit])
        self.place_units(narrow)

    def place(self, word: Sequence[Piece], width: int) -> None:
        if self.column + width > self.width and self.has_word:
            self.break_row()
        if self.column + width > self.width:
            self.split(word)
        else:
            for part in word:
                self.put(part, len(part.text))
        self.has_word = True

    def place_units(self, units: Sequence[tuple[Piece, int]]) -> None:
        if not units:
            return
        if self.column + sum(width for _, width in units) > self.width and self.has_word:
            self.break_row()
        for piece, width in units:
            self.put_unit(piece, width)
        self.has_word = True

    def put_unit(self, piece: Piece, width: int) -> None:
        if self.column and self.column + width > self.width:
            self.break_row()
        self.put(piece, width)

    def split(self, word: Sequence[Piece]) -> None:
        """Put pieces without regard to words."""
        for part in word:
            if not _plain(part.text) or not (part.exact or part.start < 0):
                for piece, width in _units([part]):
                    self.put_unit(piece, width)
                continue
            at = 0
            while at < len(part.text):
                if self.column >= self.width:
                    self.break_row()
                to = min(len(part.text), at + self.width - self.column)
                self.put(part.cut(at, to), to - at)
                at = to


def _plain(text: str) -> bool:
    """Whether each character is one cell wide and nothing but itself."""
    return text.isascii() and text.isprintable()


def _units(word: Sequence[Piece]) -> Iterator[tuple[Piece, int]]:
    """What must not be torn apart, with its width: graphemes, and escapes of control characters."""
    for part in word:
        if part.start >= 0 and not part.exact:
            shown = one_line(part.text)
            yield part._replace(text=shown), cell_len(shown)
            continue
        at = 0
        for stretch in _SPECIAL.split(part.text):
            if stretch == JOINER or (len(stretch) == 1 and ord(stretch) in SHOWN):
                shown = visible(stretch) if stretch != JOINER else "\\u200d"
                yield part.cut(at, at + 1)._replace(text=shown), cell_len(shown)
            else:
                for first, last, width in split_graphemes(stretch)[0]:
                    yield part.cut(at + first, at + last), width
            at += len(stretch)
