"""Exercises with small numbers: add, subtract, compare, count on."""

import re

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.words import NUMBERS


def add_or_subtract(draw: Draw) -> Exchange:
    """A sum or a difference, bare or in a little story."""
    return _story(draw) if draw.rng.random() < 0.3 else _bare(draw)


def compare(draw: Draw) -> Exchange:
    """The number after one, or the larger or smaller of two."""
    if draw.rng.random() < 0.2:
        (number,) = draw.numbers(1, 1)
        return draw.ask("next", a=number), f"After {number} comes {number + 1}."
    a, b = draw.numbers(2, 2)
    if draw.rng.random() < 0.65:
        return draw.ask("bigger", a=a, b=b), str(max(a, b))
    return draw.ask("smaller", a=a, b=b), str(min(a, b))


def _story(draw: Draw) -> Exchange:
    """Somebody gets more of a thing, or loses some."""
    a, b = draw.summands(least=2)
    name, things = draw.word("name"), draw.word("plural")
    if draw.rng.random() < 0.5:
        return draw.ask("more", a=a, b=b, n=name, w=things), f"{_sum(a, b)}, so the answer is {a + b}."
    return draw.ask("less", a=a + b, b=b, n=name, w=things), f"{_difference(a + b, b)}, so the answer is {a}."


def _bare(draw: Draw) -> Exchange:
    """Two numbers to add or subtract; as words only where the phrasing has no sign in it."""
    a, b = draw.summands()
    spoken = draw.rng.random() < 0.25
    adding = draw.rng.random() < 0.55
    first = a if adding else a + b
    while True:
        prompt = draw.ask("sum" if adding else "difference", a=NUMBERS[first] if spoken else first, b=NUMBERS[b] if spoken else b)
        if not (spoken and re.search(r"[+=]|\w ?- ?\w", prompt)):
            return prompt, _sum(a, b) if adding else _difference(first, b)


def _sum(a: int, b: int) -> str:
    """The sum as an equation."""
    return f"{a} + {b} = {a + b}"


def _difference(a: int, b: int) -> str:
    """The difference as an equation."""
    return f"{a} - {b} = {a - b}"
