"""Where each token came from, as colour and text style together, so that neither is needed to tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from specchat.visible import visible
from specdec.events import Run, Source

STYLES: dict[Source, str] = {"draft": "4", "ngram": "7", "corrected": "1", "bonus": "1;4", "target": ""}
COLOURS: dict[Source, str] = {"draft": "32", "ngram": "36", "corrected": "33", "bonus": "35", "target": ""}


def marked(text: str, source: Source, colour: bool) -> str:
    """The text in the style of its source, made safe first; no style crosses the end of a line."""
    codes = ";".join(filter(None, (STYLES[source], COLOURS[source] if colour else "")))
    safe = visible(text)
    if not codes:
        return safe
    return "\n".join(f"\x1b[{codes}m{line}\x1b[0m" if line else "" for line in safe.split("\n"))


def legend(runs: Iterable[Run], colour: bool) -> str:
    """One line naming every source in its own style, with the number of tokens it gave."""
    counts = Counter[Source]()
    for run in runs:
        counts[run.source] += len(run.tokens)
    return "  ".join(f"{marked(source, source, colour)} {counts[source]}" for source in get_args(Source))
