"""How scripts give what they found: Markdown tables, and files that nobody ever sees half of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def replace(path: Path, text: str) -> None:
    """Put a file in its place in one step."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
