"""Markdown to rows whose every character knows its source; a block that cannot be shown without loss is shown as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise

from markdown_it.tree import SyntaxTreeNode

from specchat.tui.transcript.highlight import highlight
from specchat.tui.transcript.inline import Inline, UnplacedError, inline_parser
from specchat.tui.transcript.tables import table_rows
from specchat.tui.transcript.wrap import Insertion, Line, Piece, Row, rejected, source_rows, wrap

NARROWEST = 10
BULLETS = "•◦▪"
PARSER = inline_parser()
_BREAKS = re.compile(r"\r\n?")
_MARKUP = re.compile(r"[\s#*_~`=|:>\-+<\[\]()!\\]*")

BLANK = Row((), 0)


def markdown_rows(text: str, width: int, start: int = 0, insertion: Insertion | None = None) -> list[Row]:
    """The rows of text[start:]. An insertion is displayed after the last character before its offset that is more than a marker."""
    document = _Document(text, width, start)
    rows = document.rows(insertion)
    if insertion and not any(piece.style == "rejected" for row in rows for piece in row.pieces):
        ends = [piece.end for row in rows for piece in row.pieces if 0 <= piece.end <= insertion[0] and piece.style != "bullet"]
        rows = document.rows((max(ends), insertion[1])) if ends else rows
    return rows


def code_blocks(text: str) -> list[str]:
    """The fenced code of a text, block by block, without the line break at its end."""
    return [token.content.removesuffix("\n") for token in PARSER.parse(text) if token.type == "fence"]


class _Document:
    """A parsed text. What precedes `start` is taken for empty lines, so that offsets stay those of the text."""

    def __init__(self, text: str, width: int, start: int) -> None:
        self.text = text
        self.width = width
        self.start = start
        source = _BREAKS.sub(lambda match: " " * (len(match[0]) - 1) + "\n", text[start:]).replace("\0", "\ufffd")
        self.source = "\n" * start + source
        self.lines = list(accumulate((len(line) + 1 for line in self.source.split("\n")), initial=0))
        self.blocks = SyntaxTreeNode(PARSER.parse(self.source)).children

    def rows(self, insertion: Insertion | None) -> list[Row]:
        """All rows, with a blank one between blocks."""
        if not self.blocks:
            return list(source_rows(self.text, self.width, self.start, insertion))
        rows: list[Row] = []
        borders = [self.start, *(self.lines[block.map[0]] for block in self.blocks[1:] if block.map), len(self.text)]
        for block, (start, end) in zip(self.blocks, pairwise(borders), strict=True):
            rows += [*([BLANK] if rows else []), *self._block(block, start, end, insertion)]
        place = self.start
        for index, row in enumerate(rows):
            if index:
                place = max(place, next((piece.start for piece in row.pieces if piece.start >= 0), place))
            rows[index] = row._replace(start=place)
            place = max((place, *(piece.end for piece in row.pieces)))
        return rows

    def _block(self, node: SyntaxTreeNode, start: int, end: int, insertion: Insertion | None) -> list[Row]:
        """The rows of text[start:end], which is one block and the empty lines around it."""
        block = _Block(self, insertion)
        try:
            rows = block.render(node, self.width)
        except UnplacedError:
            rows = []
        shown = [(piece.start, piece.end) for row in rows for piece in row.pieces if piece.start >= 0]
        at = start
        for first, last in sorted([*shown, *block.hidden, (end, end)]):
            if not _MARKUP.fullmatch(self.text, at, max(first, at)):
                rows = []
            at = max(at, last)
        if not rows:
            stretch = self.text[start:end]
            first = start + len(stretch) - len(stretch.lstrip("\n"))
            rows = list(source_rows(self.text[: start + len(stretch.rstrip())], self.width, first, insertion))
        return rows


class _Block:
    """One block at the top level on its way into rows; `cursor` is where in the source its markers are shown up to."""

    def __init__(self, document: _Document, insertion: Insertion | None) -> None:
        self.document = document
        self.insertion = insertion
        self.hidden: list[tuple[int, int]] = []
        self.cursor = 0

    def render(self, node: SyntaxTreeNode, width: int, depth: int = 0) -> list[Row]:
        """The rows of a node, whose starts are not known yet; raises UnplacedError if they would not show all of it."""
        if width < NARROWEST:
            raise UnplacedError(node.type)
        match node.type:
            case "paragraph":
                return self.rows(self.inline(node.children[0]), width)
            case "heading":
                return self.rows(self.inline(node.children[0], "heading"), width)
            case "bullet_list" | "ordered_list":
                return self.items(node, width, depth)
            case "blockquote":
                return [_prefixed((Piece("│ ", style="quote"),), row) for row in self.children(node, width - 2, depth, apart=True)]
            case "fence" | "code_block":
                return self.code(node, width)
            case "hr":
                return [Row((Piece("─" * width, style="rule"),), 0)]
            case "table":
                return table_rows([[self.cell(cell) for cell in row.children] for part in node.children for row in part.children], width)
        raise UnplacedError(node.type)

    def children(self, node: SyntaxTreeNode, width: int, depth: int, apart: bool) -> list[Row]:
        """The rows of a node's children, with a blank one between them if they are to be apart."""
        rows: list[Row] = []
        for child in node.children:
            rows += [*([BLANK] if rows and apart else []), *self.render(child, width, depth)]
        return rows

    def items(self, node: SyntaxTreeNode, width: int, depth: int) -> list[Row]:
        """The rows of a list, each item after its marker."""
        apart = any(child.type == "paragraph" and not child.hidden for item in node.children for child in item.children)
        room = max(len(item.info) for item in node.children) + 2
        rows: list[Row] = []
        for item in node.children:
            mark = item.info + item.markup
            at = self.find(mark, self.line(item, 0)[0])
            shown = mark if item.info else BULLETS[depth % len(BULLETS)]
            marker = (Piece(" " * (room - 1 - len(shown)), style="bullet"), Piece(shown, at, at + len(mark), "bullet"), Piece(" "))
            content = self.children(item, width - room, depth + 1, apart) or [BLANK]
            rows += [BLANK] if rows and apart else []
            rows.append(_prefixed(marker, content[0]))
            rows += [_prefixed((Piece(" " * room),), row) for row in content[1:]]
        return rows

    def code(self, node: SyntaxTreeNode, width: int) -> list[Row]:
        """The rows of a code block on a panel, under the name of its language."""
        rows: list[Row] = []
        fenced = node.type == "fence"
        if label := node.info.strip():
            at = self.find(label, self.line(node, 0)[0])
            rows += [row._replace(fill="label") for row in self.rows([[Piece(label, at, at + len(label), "label")]], width - 1)]
            rows = [_prefixed((Piece(" ", style="label"),), row) for row in rows]
        pieces: list[list[Piece]] = []
        places: list[int] = []
        for number, code in enumerate(node.content.removesuffix("\n").split("\n"), fenced):
            start, end = self.line(node, number) if code else (0, 0)
            if not self.document.source.endswith(code, start, end):
                raise UnplacedError(code)
            places.append(end - len(code))
            pieces.append([])
        line, before = 0, 0
        for text, style in highlight(node.content, label.split(maxsplit=1)[0] if label else ""):
            for index, part in enumerate(text.split("\n")):
                if index:
                    line, before = line + 1, 0
                if part:
                    at = places[line] + before
                    pieces[line].append(Piece(self.document.text[at : at + len(part)], at, at + len(part), f"code {style}".strip()))
                    before += len(part)
        for row in self.rows(pieces, width - 2, words=False):
            rows.append(_prefixed((Piece(" ", style="code"),), row._replace(fill="code")))
        return rows

    def cell(self, node: SyntaxTreeNode) -> tuple[Line, str]:
        """A cell of a table and how it is aligned."""
        style = "table-head" if node.type == "th" else ""
        alignment = str(node.attrs.get("style", "")).removeprefix("text-align:")
        return self.inserted(self.inline(node.children[0], style, anywhere=True)[0]), alignment

    def inline(self, node: SyntaxTreeNode, style: str = "", anywhere: bool = False) -> list[list[Piece]]:
        """The displayed lines of inline content, which ends its line in the source, or stands `anywhere` in it."""
        token = node.token
        assert token is not None
        places: list[int] = []
        for number, line in enumerate(token.content.split("\n")):
            start, end = self.line(node, number)
            if number:
                places.append(start - 1)
            places += self.places(line, max(start, self.cursor), end, anywhere)
        inline = Inline(token, places, self.document.text, style)
        self.hidden += inline.hidden
        self.cursor = places[-1] + 1 if places else self.cursor
        return inline.lines

    def places(self, line: str, start: int, end: int, anywhere: bool) -> Sequence[int]:
        """The offsets of a line's characters in source[start:end]."""
        source = self.document.source
        at = source.find(line, start, end) if anywhere else source.rfind(line, start, end)
        if at >= 0:
            return range(at, at + len(line))
        places = []
        for character in line:
            start = source.find(character, start, end) + 1
            if not start:
                raise UnplacedError(line)
            places.append(start - 1)
        return places

    def rows(self, lines: Sequence[Line], width: int, words: bool = True) -> list[Row]:
        """Lines broken into rows."""
        return [Row(pieces, 0) for line in lines for pieces, _ in wrap(self.inserted(line), width, words)]

    def inserted(self, line: Line) -> Line:
        """The line with the insertion, if that belongs to it."""
        if self.insertion is None:
            return line
        at, text = self.insertion
        for index, piece in enumerate(line):
            if piece.start < at <= piece.end:
                after = [piece.cut(at - piece.start, len(piece.text))] if piece.exact else []
                before = piece.cut(0, at - piece.start) if piece.exact else piece
                return [*line[:index], before, rejected(text), *after, *line[index + 1 :]]
        return line

    def line(self, node: SyntaxTreeNode, number: int) -> tuple[int, int]:
        """Where a line of a node begins and ends in the source."""
        lines = self.document.lines
        if node.map is None or node.map[0] + number + 1 >= len(lines):
            raise UnplacedError(node.type)
        first = node.map[0] + number
        return lines[first], lines[first + 1] - 1

    def find(self, text: str, start: int) -> int:
        """Where a marker stands, after those before it."""
        at = self.document.source.find(text, max(start, self.cursor))
        if at < 0:
            raise UnplacedError(text)
        self.cursor = at + len(text)
        return at


def _prefixed(prefix: Line, row: Row) -> Row:
    return row._replace(pieces=(*prefix, *row.pieces))
