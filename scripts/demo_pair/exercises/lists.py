"""Exercises about a list: sort it, count it, take one item of it, reverse it, or make one."""

from collections.abc import Sequence

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.words import NUMBERS, SETS, listed

PLACES = {"first": 0, "second": 1, "third": 2, "last": -1}


def sort_words(draw: Draw) -> Exchange:
    """Put words in alphabetical order."""
    words = draw.nouns(3, 6)
    return draw.ask_list("sort_words", words), listed(sorted(words))


def sort_numbers(draw: Draw) -> Exchange:
    """Put numbers in order, from small to large or the other way round."""
    numbers = draw.numbers(3, 6)
    if draw.rng.random() < 0.3:
        return draw.ask_list("sort_numbers_down", numbers), listed(sorted(numbers, reverse=True))
    return draw.ask_list("sort_numbers", numbers), listed(sorted(numbers))


def count(draw: Draw) -> Exchange:
    """Count the words of a sentence or the items of a list."""
    if draw.rng.random() < 0.3:
        text, _ = draw.sentence()
        return draw.ask("count_words", x=text), str(len(text.split()))
    words = draw.nouns(2, 8)
    return draw.ask_list("count", words), str(len(words))


def item(draw: Draw) -> Exchange:
    """Say which item stands at a place."""
    words = draw.nouns(3, 6)
    which = draw.rng.choice(list(PLACES))
    return draw.ask_list("item", words, which=which), words[PLACES[which]]


def reverse(draw: Draw) -> Exchange:
    """Put words or numbers in reverse order."""
    items: Sequence[object] = draw.nouns(2, 5) if draw.rng.random() < 0.75 else draw.numbers(2, 5)
    return draw.ask_list("reverse", items), listed(items[::-1])


def name(draw: Draw) -> Exchange:
    """Name some of a kind, sometimes each in a line of its own."""
    requests = [f"{title}/{number}" for title in SETS for number in range(2, 6)]
    title, digit = draw.rng.choice(draw.share("sets", requests)).split("/")
    number = int(digit)
    chosen = SETS[title][:number]
    prompt = draw.ask("name", n=draw.rng.choice((NUMBERS[number], digit)), w=title)
    if draw.rng.random() < 0.5:
        prompt = prompt[0].upper() + prompt[1:]
    luck = draw.rng.random()
    if luck < 0.2 and prompt[-1] in ".?":
        if luck < 0.1:
            return f"{prompt} Write one in each line.", "\n".join(chosen)
        return f"{prompt} Use a bullet list.", "\n".join(f"- {each}" for each in chosen)
    return prompt, listed(chosen)
