"""Exercises that change a text: its case, one of its words, or the gaps in it."""

import re

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.sentences import TEMPLATES

BRACKETS = (("[", "]"), ("<", ">"), ("{", "}"), ("", ""))


def case(draw: Draw) -> Exchange:
    """Write words or a sentence in upper or in lower case."""
    form = draw.rng.randrange(3)
    text = (draw.noun(), " ".join(draw.nouns(2, 4)), draw.sentence()[0])[form]
    if draw.rng.random() < 0.5:
        return draw.ask("upper", x=text), text.upper()
    loud = text.upper() if draw.rng.random() < 0.7 else text.title()
    return draw.ask("lower", x=loud), loud.lower()


def replace(draw: Draw) -> Exchange:
    """Put another word of the same category, and with the same article, in place of one."""
    while True:
        text, words = draw.sentence()
        category, old = draw.rng.choice(sorted(words.items()))
        new = draw.word(category)
        same_article = (old[0] in "aeiou") == (new[0] in "aeiou")
        if new.lower() not in text.lower() and same_article:
            return draw.ask("replace", x=text, old=old, new=new), re.sub(rf"\b{old}\b", new, text)


def fill(draw: Draw) -> Exchange:
    """Put values into a template, whose gaps are marked in one of several ways."""
    while True:
        frame = draw.rng.choice(TEMPLATES)
        words = draw.words(frame)
        if not re.search(r"\ba {", frame) or all(word[0] not in "aeiou" for word in words.values()):
            break
    left, right = draw.rng.choice(BRACKETS)
    gaps = {category: f"{left}{category.upper()}{right}" for category in words}
    slots = ", ".join(f"{category.upper()} = {word}" for category, word in words.items())
    return draw.ask("fill", x=frame.format(**gaps), slots=slots), frame.format(**words)
