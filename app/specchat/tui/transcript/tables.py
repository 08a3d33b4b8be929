"""Aligned tables whose cells wrap where the columns have to be narrow."""

from __future__ import annotations

from collections.abc import Sequence

from specchat.tui.transcript.inline import UnplacedError
from specchat.tui.transcript.wrap import Piece, Row, cells, wrap

NARROWEST = 4
SEPARATOR = " │ "
CROSSING = "─┼─"

Cell = tuple[Sequence[Piece], str]


def table_rows(table: Sequence[Sequence[Cell]], width: int) -> list[Row]:
    """The rows of a table, its first row the head; raises UnplacedError if its columns do not fit."""
    columns = max(len(row) for row in table)
    widths = [max(cells(row[column][0]) for row in table if column < len(row)) for column in range(columns)]
    spare = width - len(SEPARATOR) * (columns - 1)
    if spare < NARROWEST * columns:
        raise UnplacedError("table")
    while (excess := sum(widths) - spare) > 0:
        widest = max(widths)
        second = max((size for size in widths if size < widest), default=NARROWEST)
        wide = widths.count(widest)
        cut = max(min(widest - second, -(-excess // wide)), 1)
        widths = [size - cut if size == widest else size for size in widths]
    rows: list[Row] = []
    for number, row in enumerate(table):
        if number == 1:
            rows.append(Row((Piece(CROSSING.join("─" * size for size in widths), style="rule"),), 0))
        rows += _row(row, widths)
    return rows


def _row(row: Sequence[Cell], widths: Sequence[int]) -> list[Row]:
    wrapped = [[pieces for pieces, _ in wrap(line, size)] for (line, _), size in zip(row, widths, strict=False)]
    rows = []
    for number in range(max(len(lines) for lines in wrapped)):
        pieces: list[Piece] = []
        for (_, alignment), lines, size in zip(row, wrapped, widths, strict=False):
            shown = lines[number] if number < len(lines) else ()
            rest = size - cells(shown)
            left = {"right": rest, "center": rest // 2}.get(alignment, 0)
            pieces += [Piece(SEPARATOR, style="rule")] if pieces else []
            pieces += [Piece(" " * left), *shown, Piece(" " * (rest - left))]
        rows.append(Row(tuple(piece for piece in pieces if piece.text), 0))
    return rows
