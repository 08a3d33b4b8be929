"""Small drawings out of block glyphs: bars, columns, sparklines and large digits; the caller adds numbers and colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from textual.renderables.digits import DIGITS, DIGITS3X3_BOLD

COLUMNS = "▁▂▃▄▅▆▇█"


def bar(part: float, width: int) -> tuple[str, str]:
    """A horizontal bar as its filled and its empty half, `width` cells together; anything above 0 shows."""
    part = min(max(part, 0.0), 1.0)
    filled = max(round(part * width), int(part > 0))
    return "━" * filled, "─" * (width - filled)


def column(part: float) -> str:
    """A column one cell wide and at most one cell high."""
    return COLUMNS[round(min(max(part, 0.0), 1.0) * (len(COLUMNS) - 1))]


def sparkline(values: Sequence[float], highest: float) -> str:
    """A column for each value; `highest` is as high as a cell."""
    return "".join(column(value / highest if highest else 0.0) for value in values)


def squeeze(values: Sequence[float], width: int) -> list[float]:
    """Means of neighbours, so that there are at most `width` values."""
    count = len(values)
    if count <= width:
        return list(values)
    edges = [cell * count // width for cell in range(width + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]


def squeezed_index(index: int, count: int, width: int) -> int:
    """Where `squeeze` puts the value at an index."""
    return index if count <= width else ((index + 1) * width - 1) // count


def large(number: str) -> tuple[str, str, str]:
    """A number three rows high."""
    rows = ("", "", "")
    for glyph in number:
        at = DIGITS.find(glyph) * 3
        parts = [row.ljust(3) for row in DIGITS3X3_BOLD[at : at + 3]] if at >= 0 else [" ", " ", glyph]
        rows = (rows[0] + parts[0], rows[1] + parts[1], rows[2] + parts[2])
    return rows
