"""Short stories as answers to somebody who asks for one; a long story is told in parts."""

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from demo_pair.chats import Chat, chat_of
from demo_pair.sources import TYPEWRITER

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
PART_CHARACTERS = 780
MOST_PARTS = 3
OFFERS = ("Shall I go on?", "Would you like to hear more?", "Do you want to know what happens next?")
AGREEMENTS = ("Yes, please.", "Yes.", "Go on.", "Please go on.", "What happens next?", "Continue.", "yes", "More, please.")
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
    told = [_told(text) for text in texts if text.isascii() and text.endswith((".", "!", '"'))]
    return [chat for chat in told if len(chat.messages) <= 2 * MOST_PARTS]


def _told(story: str) -> Chat:
    """The story as one answer, or in parts of like length with an offer to go on after each but the last."""
    choice = random.Random(story)
    turns = [_request(story, choice)]
    parts = _parts(story)
    for part in parts[:-1]:
        turns += [f"{part} {choice.choice(OFFERS)}", choice.choice(AGREEMENTS)]
    return chat_of("tinystories", *turns, parts[-1])


def _parts(story: str) -> list[str]:
    """The story cut between sentences into as few parts as keep each short enough to answer with."""
    longest = len(story) / -(-len(story) // PART_CHARACTERS)
    parts = [""]
    for sentence in re.findall(r"\S.*?(?:[.!?]\"?(?=\s)|$)", story, re.DOTALL):
        if parts[-1] and len(parts[-1]) + len(sentence) / 2 > longest:
            parts.append("")
        parts[-1] += f" {sentence}" if parts[-1] else sentence
    return parts


def _request(story: str, choice: random.Random) -> str:
    """A request that this story answers."""
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
