"""Short stories as answers to somebody who asks for one."""

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from demo_pair.corpus import TYPEWRITER, Chat, exchange

FILE = "tinystories_sample.txt"
TITLE = "TinyStories, a sample (Ronen Eldan and Yuanzhi Li)"
LICENCE = "CDLA-Sharing-1.0"
SEPARATOR = "<|endoftext|>"

OPEN_REQUESTS = (
    "Tell me a story.",
    "Can you tell me a story?",
    "Tell me a short story, please.",
    "I'd like to hear a story.",
    "Write a short story.",
    "Please write a story for children.",
    "Tell me a bedtime story.",
    "Do you know a story?",
)
REQUESTS_ABOUT = (
    "Tell me a story about {}.",
    "Can you tell me a story about {}?",
    "Write a short story about {}.",
    "Please tell me a bedtime story about {}.",
    "I'd like a story about {}.",
    "Do you know a story about {}?",
)
NAME = re.compile(r"\b(?:named|called) ([A-Z][a-z]+)")
THING = re.compile(
    r"\b(?:girl|boy|dog|cat|bird|fish|bear|rabbit|bunny|mouse|duck|frog|lion|fox|owl|monkey|elephant|horse|cow|pig|bee|"
    r"butterfly|squirrel|dragon|princess|king|queen|robot|car|truck|train|boat|plane|tree|flower|house|castle|garden|ball|"
    r"cake|book|hat|box|toy|doll|moon|star|sun|rain|snow|farm|park|forest|beach|zoo)\b"
)


def read_stories(folder: Path) -> list[Chat]:
    """The complete stories of the sample, each told on request; an absent sample is named on stderr."""
    path = folder / FILE
    if not path.is_file():
        print(f"left out, not in the corpus folder: {FILE}", file=sys.stderr)
        return []
    texts = (text.translate(TYPEWRITER).strip() for text in path.read_text(encoding="utf-8").split(SEPARATOR))
    return [exchange("tinystories", _request(text), text) for text in texts if text.isascii() and text.endswith((".", "!", '"'))]


def _request(story: str) -> str:
    """A request that this story answers, the same one for the same story."""
    choice = random.Random(story)
    subjects = list(_subjects(story))
    if not subjects or choice.random() < 0.35:
        return choice.choice(OPEN_REQUESTS)
    return choice.choice(REQUESTS_ABOUT).format(choice.choice(subjects))


def _subjects(story: str) -> Iterator[str]:
    """Whom and what the opening of the story is about."""
    opening = story[:300]
    yield from NAME.findall(opening)
    for thing in dict.fromkeys(THING.findall(opening)):
        yield f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
