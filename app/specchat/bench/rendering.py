"""Sections as Markdown, or as tables for a terminal that is wide enough for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from specchat.bench.sections import Listing, Section, Table
from specchat.visible import visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable

WIDEST = 10_000


def markdown(sections: Sequence[Section]) -> str:
    """The sections as Markdown, figures aligned to the right."""
    return "\n\n".join(f"## {_escaped(section.title)}\n\n{_body(section)}" for section in sections)


def print_sections(sections: Sequence[Section], force_markdown: bool) -> None:
    """Write the sections to stdout: as Markdown, unless it is a terminal on which every table fits."""
    if force_markdown or not sys.stdout.isatty() or not _print_rich(sections):
        print(markdown(sections), flush=True)


def _body(section: Section) -> str:
    if isinstance(section, Listing):
        return "\n".join(f"- {_escaped(item)}" for item in section.items)
    lines = [section.header, ("---", *["---:"] * (len(section.header) - 1)), *section.rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _escaped(text: str) -> str:
    """On one line, without HTML and without the end of a cell."""
    return escape(_safe(text), quote=False).replace("|", "&#124;")


def _safe(text: str) -> str:
    return " ".join(visible(text).split())


def _print_rich(sections: Sequence[Section]) -> bool:
    """Whether the terminal was wide enough, and so has the sections now."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    tables = {index: _rich_table(section) for index, section in enumerate(sections) if isinstance(section, Table)}
    unbounded = console.options.update(max_width=WIDEST)
    if any(console.measure(table, options=unbounded).maximum > console.width for table in tables.values()):
        return False
    for index, section in enumerate(sections):
        console.print(Text(_safe(section.title), style="bold"))
        if isinstance(section, Table):
            console.print(tables[index])
        else:
            console.print(*(Padding(Text(_safe(item)), (0, 0, 0, 2)) for item in section.items), "", sep="")
    return True


def _rich_table(section: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=box.SIMPLE_HEAD)
    for index, name in enumerate(section.header):
        table.add_column(Text(_safe(name)), justify="right" if index else "left", no_wrap=True)
    for row in section.rows:
        table.add_row(*(Text(_safe(cell)) for cell in row))
    return table
