"""What a search finds: the words of a query, the conversations that hold all of them, and the place to show."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from functools import lru_cache

EXCERPT_LENGTH = 160
LEAD = 15
MAX_WORDS = 32
WORD = re.compile(r"[^\W_]+")
SCAN = "SELECT session, max(rowid) FROM search WHERE search MATCH ? GROUP BY session"


def words(query: str) -> list[str]:
    """The words of whatever a user typed, folded as the index folds them; a search takes the first 32 different ones."""
    composed = unicodedata.normalize("NFC", query)
    return list(dict.fromkeys(_folded(word) for word in WORD.findall(composed)))[:MAX_WORDS]


def matching(db: sqlite3.Connection, wanted: list[str]) -> dict[str, int]:
    """The sessions that hold a word beginning with each of the wanted ones, in the title or in any message.

    Each comes with the row of the index to show: the newest message that holds all words, else the newest with the first one.
    Rows below 0 are titles.
    """
    terms = [f'"{word}"*' for word in wanted]
    holders = [dict(db.execute(SCAN, (term,))) for term in terms]
    whole = dict(db.execute(SCAN, (" AND ".join(terms),))) if len(terms) > 1 else holders[0]
    everywhere = set(holders[0]).intersection(*holders[1:])
    return {session: whole.get(session, holders[0][session]) for session in everywhere}


def spans(text: str, wanted: list[str]) -> list[tuple[int, int]]:
    """Where words that begin with a wanted one stand in a text: start and end of the part that was asked for."""
    if not wanted:
        return []
    pattern = "|".join(re.escape(word) for word in sorted(wanted, key=len, reverse=True))
    return [match.span() for match in re.finditer(rf"(?<![^\W_])(?:{pattern})", _folded(text))]


def excerpt(text: str, wanted: list[str]) -> str:
    """One line of a text: around the first wanted word, or its start where there is none."""
    found = spans(text, wanted)
    at = found[0][0] if found else 0
    if at <= LEAD:
        return " ".join(text[:EXCERPT_LENGTH].split())
    lead = text[at - LEAD : at]
    before = re.sub(r"^\S*\s", "", lead)
    return "…" + " ".join((before + text[at : at + EXCERPT_LENGTH]).split())


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(_folded_character, text))


@lru_cache(maxsize=4096)
def _folded_character(character: str) -> str:
    """One character without case and accents; always one, so that positions stay."""
    parts = unicodedata.normalize("NFD", character)
    plain = (parts[0] if all(map(unicodedata.combining, parts[1:])) else character).lower()
    return plain if len(plain) == 1 else character
