"""Where two answers that should be the same part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdec.prefixes import common_length

CHARACTERS_AROUND = 24


@dataclass(frozen=True)
class Parting:
    """The first token, from 1, that is not the same, and the text around it on either side."""

    token: int
    one: str
    other: str


def parting(one: Sequence[int], one_text: str, other: Sequence[int], other_text: str) -> Parting | None:
    """Where two answers part, given their tokens and texts; None if every token is the same."""
    if list(one) == list(other):
        return None
    start = common_length(one_text, other_text)
    around = slice(max(start - CHARACTERS_AROUND, 0), start + CHARACTERS_AROUND)
    return Parting(common_length(one, other) + 1, one_text[around], other_text[around])
