"""Exercises that give a text back: once, several times, or in quotes."""

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.words import NUMBERS, listed


def repeat(draw: Draw) -> Exchange:
    """Say a word, some words, a list or a sentence."""
    form = draw.rng.randrange(4)
    if form == 0:
        text = draw.noun()
    elif form == 1:
        text = " ".join(draw.nouns(2, 5))
    elif form == 2:
        text = listed(draw.nouns(2, 6))
    else:
        text, _ = draw.sentence()
    return draw.ask("repeat", x=text), text


def repeat_times(draw: Draw) -> Exchange:
    """Say a word several times."""
    word, times = draw.noun(), draw.rng.randint(2, 5)
    return draw.ask("repeat_times", x=word, n=draw.rng.choice((NUMBERS[times], times))), " ".join([word] * times)


def quote(draw: Draw) -> Exchange:
    """Put a sentence in quotes."""
    text, _ = draw.sentence()
    return draw.ask("quote", x=text), f'"{text}"'
