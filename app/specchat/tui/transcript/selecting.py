"""What a mouse selection means in the sources of the turns: Textual's offsets hold a place in a source and the turn's number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import split_graphemes
from textual.selection import Selection

_WORD = re.compile(r"\w+|[^\w\s]+|\s+")


def selected_span(selection: Selection | None, number: int, text: str) -> tuple[int, int]:
    """The stretch of a turn's text that is selected, in whole graphemes; an empty one if nothing is."""
    if selection is None:
        return 0, 0
    first, last = selection
    if (first is not None and number < first.y) or (last is not None and number > last.y):
        return 0, 0
    start = first.x if first is not None and number == first.y else 0
    end = last.x if last is not None and number == last.y else len(text)
    return (_grapheme(text, start)[0], _grapheme(text, end - 1)[1]) if start < end else (0, 0)


def selected_text(selection: Selection, texts: Sequence[str]) -> str:
    """What is selected of all turns, with a blank line between them."""
    spans = (selected_span(selection, number, text) for number, text in enumerate(texts))
    return "\n\n".join(text[start:end] for text, (start, end) in zip(texts, spans, strict=True) if start < end)


def _grapheme(text: str, offset: int) -> tuple[int, int]:
    first = text.rfind("\n", 0, offset) + 1
    last = text.find("\n", offset)
    line = text[first : last if last >= 0 else len(text)]
    if not line.isascii():
        for start, end, _ in split_graphemes(line)[0]:
            if start <= offset - first < end:
                return first + start, first + end
    return offset, offset + 1


def word_at(text: str, offset: int) -> tuple[int, int]:
    """The word at an offset, or the punctuation or the spaces there."""
    first = text.rfind("\n", 0, offset) + 1
    for match in _WORD.finditer(text, first):
        if match.end() > offset:
            return match.span()
    return offset, len(text)
