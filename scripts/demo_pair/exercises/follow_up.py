"""Chats of several turns: a list or a sentence, then what becomes of it."""

from collections.abc import Callable

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.words import listed

LIST_BEGINNINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "sort_words": sorted,
    "reverse": lambda items: items[::-1],
    "repeat": list,
}
LIST_STEPS: dict[str, Callable[[list[str]], list[str] | str]] = {
    "reverse": lambda items: items[::-1],
    "sort": sorted,
    "count": lambda items: str(len(items)),
    "first": lambda items: items[0],
    "last": lambda items: items[-1],
    "upper": lambda items: [item.upper() for item in items],
    "again": list,
}
SENTENCE_STEPS: dict[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "quote": lambda text: text if text.startswith('"') else f'"{text}"',
    "again": str,
}


def follow_up(draw: Draw) -> list[Exchange]:
    """A list or a sentence, changed up to three times."""
    steps = draw.rng.randint(1, 3)
    return _with_list(draw, steps) if draw.rng.random() < 0.7 else _with_sentence(draw, steps)


def _with_list(draw: Draw, steps: int) -> list[Exchange]:
    """Changes to a list; an answer that is no list any more is the last."""
    items = draw.nouns(3, 5)
    begin = draw.rng.choice(list(LIST_BEGINNINGS))
    now = LIST_BEGINNINGS[begin](items)
    turns = [(draw.ask(begin, x=listed(items)), listed(now))]
    for _ in range(steps):
        step = draw.rng.choice(list(LIST_STEPS))
        prompt = draw.ask(f"then_{step}")
        changed = LIST_STEPS[step](now)
        if isinstance(changed, str):
            return [*turns, (prompt, changed)]
        now = changed
        turns.append((prompt, listed(now)))
    return turns


def _with_sentence(draw: Draw, steps: int) -> list[Exchange]:
    """Changes to a sentence."""
    text, _ = draw.sentence()
    turns = [(draw.ask("repeat", x=text), text)]
    for _ in range(steps):
        step = draw.rng.choice(list(SENTENCE_STEPS))
        text = SENTENCE_STEPS[step](text)
        turns.append((draw.ask(f"then_{step}"), text))
    return turns
