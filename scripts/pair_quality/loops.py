"""Finding answers that go round in circles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

FEWEST_REPEATS = 3
LOOP_WORDS = 10
LOOP_LETTERS = 30
HOW_OFTEN = re.compile(r"\b(times|twice|again and again|over and over)\b", re.IGNORECASE)
Item = TypeVar("Item")


def repeated_run(items: Sequence[Item], shortest: int) -> Sequence[Item]:
    """The shortest run of items that is repeated in immediate succession, at least 3 times and over at least `shortest` items.

    Empty if there is none. Short repetitions are good language ("very, very good"), so the fewer items a run has, the more often
    it must come.
    """
    for period in range(1, len(items) // FEWEST_REPEATS + 1):
        least = max(FEWEST_REPEATS, -(-shortest // period)) * period
        same = period
        for index in range(period, len(items)):
            same = same + 1 if items[index] == items[index - period] else period
            if same == least:
                return items[index - period + 1 : index + 1]
    return items[:0]


def looping_run(text: str) -> str:
    """What a text says over and over: some words, or, in a script or a word without spaces, some letters; empty if nothing."""
    words = text.split()
    runs = (repeated_run(words, LOOP_WORDS), *(repeated_run(word, LOOP_LETTERS) for word in words))
    return next((" ".join(run) if isinstance(run, list) else str(run) for run in runs if run), "")


def asks_for(request: str, run: str) -> bool:
    """Whether a request says that something is to be repeated, and holds every word of the repeated run."""
    return bool(HOW_OFTEN.search(request)) and set(_words(run)) <= set(_words(request))


def loops(text: str, ended: bool, request: str) -> bool:
    """Whether an answer goes round in circles; a repetition that was asked for is none if the answer `ended` by itself."""
    run = looping_run(text)
    return bool(run) and not (ended and asks_for(request, run))


def _words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return re.findall(r"\w+", text.lower())
