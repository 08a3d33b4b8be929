"""Questions about a sentence with yes or no for an answer."""

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.sentences import with_articles
from demo_pair.exercises.words import WORDS

ASKED = ("animal", "thing", "place", "inside", "job")
UNCLEAR = frozenset(["fly", "man", "woman", "boy", "girl"])


def yes_no(draw: Draw) -> Exchange:
    """Say whether somebody's thing has a colour, or whether a word is in a sentence."""
    return _colour(draw) if draw.rng.random() < 0.3 else _word(draw)


def _colour(draw: Draw) -> Exchange:
    """Whether a thing has the colour asked for."""
    name, colour, thing = draw.word("name"), draw.word("colour"), draw.word("thing")
    asked = colour
    if draw.rng.random() >= 0.5:
        asked = draw.rng.choice([other for other in draw.share("colour", WORDS["colour"]) if other != colour])
    text = with_articles(f"{name} has a {colour} {thing}.")
    return draw.ask("yes_no_colour", x=text, w=thing, a=with_articles(f"a {thing}"), c=asked, n=name), _answer(asked == colour)


def _word(draw: Draw) -> Exchange:
    """Whether the word asked for is in a sentence; a word that it may imply without naming it is never asked for in vain."""
    categories: list[str] = []
    while not categories:
        text, words = draw.sentence()
        categories = [category for category in words if category in ASKED]
    category = draw.rng.choice(categories)
    asked = words[category]
    if draw.rng.random() >= 0.5:
        others = draw.share(category, WORDS[category])
        asked = draw.rng.choice([word for word in others if word not in text.lower() and word not in UNCLEAR])
    return draw.ask("yes_no", x=text, w=asked, a=with_articles(f"a {asked}")), _answer(asked == words[category])


def _answer(yes: bool) -> str:
    """The answer in words."""
    return "Yes." if yes else "No."
