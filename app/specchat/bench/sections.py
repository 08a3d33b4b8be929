"""What a report is made of, whatever it is printed as."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first column names, the others hold figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Listing:
    """Sentences or facts, one an item."""

    title: str
    items: tuple[str, ...]


Section = Table | Listing
