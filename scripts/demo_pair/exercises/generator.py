"""Exercises of every kind in turn, the same ones for the same seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice

from demo_pair.chats import Message, chat_of
from demo_pair.exercises import copying, editing, lists, programs, sums
from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.follow_up import follow_up
from demo_pair.exercises.yes_no import yes_no

ATTEMPTS = 30
SINGLE: dict[str, Callable[[Draw], Exchange]] = {
    "repeat": copying.repeat,
    "repeat_times": copying.repeat_times,
    "sort_words": lists.sort_words,
    "sort_numbers": lists.sort_numbers,
    "count": lists.count,
    "item": lists.item,
    "reverse": lists.reverse,
    "case": editing.case,
    "quote": copying.quote,
    "replace": editing.replace,
    "fill": editing.fill,
    "yes_no": yes_no,
    "sum": sums.add_or_subtract,
    "compare": sums.compare,
    "name": lists.name,
    "code": programs.code,
}
KINDS = (*SINGLE, "follow_up")


@dataclass(frozen=True)
class Exercise:
    """A chat with right answers, and the kind of exercise that it is."""

    kind: str
    messages: tuple[Message, ...]


def exercises(count: int, seed: int, held_out: bool = False) -> Iterator[Exercise]:
    """That many exercises, all kinds equally often; none is given twice as long as others are found in a few attempts.

    Some phrasings of every kind, and a share of its words and numbers, are used for held-out exercises alone.
    """
    rng = random.Random(f"{seed}/{held_out}")
    seen: set[str] = set()
    for kind in islice(cycle(KINDS), count):
        for _ in range(ATTEMPTS):
            turns = _turns(Draw(rng, kind, held_out))
            prompts = "\n".join(prompt for prompt, _ in turns)
            if prompts not in seen:
                break
        seen.add(prompts)
        yield Exercise(kind, chat_of(kind, *chain.from_iterable(turns)).messages)


def _turns(draw: Draw) -> list[Exchange]:
    """One exercise."""
    return [SINGLE[draw.kind](draw)] if draw.kind in SINGLE else follow_up(draw)
