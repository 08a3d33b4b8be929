"""The random choices of which an exercise is made."""

import random
import re
from collections.abc import Sequence
from functools import cache
from itertools import product

from demo_pair.exercises.phrasings import PHRASINGS
from demo_pair.exercises.sentences import SENTENCES, places, with_articles
from demo_pair.exercises.words import WORDS, listed

GREETINGS = ("Hi! ", "Hello. ", "OK. ", "Please help me. ")
NOUNS = (["animal"], ["food"], ["thing"], ["animal", "food", "thing"], ["place"], ["colour"], ["name"], ["job"])
HELD_OUT_ONE_IN = 5
LEAST_HELD_OUT = 3
LARGEST_SUM = 20
GAP = "\0"

Exchange = tuple[str, str]


class Draw:
    """The choices for one exercise: its own random numbers, and its share of words and phrasings."""

    def __init__(self, rng: random.Random, kind: str, held_out: bool) -> None:
        self.rng, self.kind, self.held_out = rng, kind, held_out

    def share(self, name: str, items: Sequence[str]) -> list[str]:
        """The items to train on or the fifth that is held out, the same for a kind of exercise in every run."""
        training, held_out = _split(self.kind, name, tuple(items))
        return held_out if self.held_out else training

    def word(self, category: str) -> str:
        """A word of that category."""
        return self.rng.choice(self.share(category, WORDS[category]))

    def words(self, frame: str) -> dict[str, str]:
        """A word for each place of a sentence or template."""
        return {category: self.word(category) for category in places(frame)}

    def noun(self) -> str:
        """One noun."""
        return self.nouns(1, 1)[0]

    def nouns(self, low: int, high: int) -> list[str]:
        """Distinct nouns of one category, or of several."""
        categories = self.rng.choice(NOUNS)
        pool = sorted({word for category in categories for word in self.share(category, WORDS[category])})
        return self.rng.sample(pool, min(self.rng.randint(low, high), len(pool)))

    def numbers(self, low: int, high: int) -> list[int]:
        """Distinct numbers up to 99."""
        pool = [int(number) for number in self.share("numbers", [str(number) for number in range(100)])]
        return self.rng.sample(pool, self.rng.randint(low, high))

    def summands(self, least: int = 1) -> tuple[int, int]:
        """Two numbers with a small sum; every seventh pair or so is held out."""
        pairs = product(range(least, LARGEST_SUM), repeat=2)
        return self.rng.choice([(a, b) for a, b in pairs if a + b <= LARGEST_SUM and ((3 * a + 5 * b) % 7 == 0) == self.held_out])

    def sentence(self) -> tuple[str, dict[str, str]]:
        """A sentence, and the word in each of its places; none of these words occurs in it twice."""
        while True:
            frame = self.rng.choice(SENTENCES)
            words = self.words(frame)
            text = with_articles(frame.format(**words))
            plain = re.findall(r"\w+", text.lower())
            if all(plain.count(word.lower()) == 1 for word in words.values()):
                return text, words

    def ask(self, phrasing: str, **values: object) -> str:
        """A prompt in one of the phrasings, sometimes as people type in a hurry."""
        template = self.rng.choice(PHRASINGS[phrasing, self.held_out])
        luck = self.rng.random()
        if luck < 0.15 and template[0].isupper():
            template = template[0].lower() + template[1:]
        elif luck < 0.22 and not template.startswith("{") and not phrasing.startswith("then_"):
            template = self.rng.choice(GREETINGS) + template
        if self.rng.random() < 0.12 and template[-1] in ".?" and not template.endswith('".'):
            template = template[:-1].rstrip()
        return template.format(**values)

    def ask_list(self, phrasing: str, items: Sequence[object], **values: object) -> str:
        """A prompt about a list; at the end of a prompt the list may stand in other forms than between commas."""
        prompt = self.ask(phrasing, x=GAP, **values)
        luck = self.rng.random()
        if luck < 0.12 and len(items) > 1 and "word" not in prompt:
            return prompt.replace(GAP, f"{listed(items[:-1])} and {items[-1]}")
        if luck < 0.24 and prompt.endswith(GAP):
            return prompt.replace(GAP, " ".join(str(item) for item in items))
        if luck < 0.34 and prompt.endswith(f" {GAP}"):
            return prompt.replace(f" {GAP}", "".join(f"\n- {item}" for item in items))
        return prompt.replace(GAP, listed(items))


@cache
def _split(kind: str, name: str, items: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The items to train on, and those held out."""
    shuffled = sorted(set(items))
    random.Random(f"{kind}/{name}").shuffle(shuffled)
    cut = max(LEAST_HELD_OUT, len(shuffled) // HELD_OUT_ONE_IN)
    return shuffled[cut:], shuffled[:cut]
