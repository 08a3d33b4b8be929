"""Sentences and templates with a category of words in each place."""

import re

from demo_pair.exercises.data import read_lines

SENTENCES = read_lines("exercise_sentences.txt")
TEMPLATES = read_lines("exercise_templates.txt")


def places(frame: str) -> list[str]:
    """The categories that a sentence or a template has places for."""
    return re.findall(r"{(\w+)}", frame)


def with_articles(text: str) -> str:
    """The text with `an` in place of `a` before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
