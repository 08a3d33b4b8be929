"""The text written by hand for this pair: questions that a newcomer asks, each in many phrasings, and short conversations."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo_pair.chats import Chat, chat_of, json_lines

FOLDER = Path(__file__).parent.parent / "demo_corpus"
OWN_PROMPTS = FOLDER / "held_out_prompts.jsonl"
SOURCE = "questions"
GREETINGS = ("Hi, {}", "Hello, {}", "Hi! {}", "Hey, {}", "Hello! {}")


@dataclass(frozen=True)
class Question:
    """One thing to ask: phrasings to train on, one that is never trained on, the answer, and whose replies in the chit-chat it replaces."""

    topic: str
    questions: tuple[str, ...]
    held_out: str
    answer: str
    replaces: tuple[str, ...] = ()

    def chats(self) -> Iterator[Chat]:
        """One chat for each phrasing, as it is."""
        return (chat_of(SOURCE, phrasing, self.answer) for phrasing in self.questions)

    def retyped_chats(self, chance: random.Random) -> Iterator[Chat]:
        """One chat for each phrasing, now and then typed as people type."""
        return (chat_of(SOURCE, retyped(phrasing, chance), self.answer) for phrasing in self.questions)


def read_questions() -> list[Question]:
    """The hand-written questions about the model, the app and simple facts."""
    return [
        Question(**record | {"questions": tuple(record["questions"]), "replaces": tuple(record.get("replaces", ()))})
        for record in json_lines(FOLDER / "questions.jsonl")
    ]


def read_conversations() -> list[Chat]:
    """The hand-written conversations of several turns."""
    return [Chat("conversations", tuple(record["messages"])) for record in json_lines(FOLDER / "conversations.jsonl")]


def retyped(text: str, chance: random.Random) -> str:
    """The text with a greeting, in small letters, without its end mark or with two letters swapped, each now and then."""
    if chance.random() < 0.1 and not text.lower().startswith(("hi", "hello", "hey")):
        text = chance.choice(GREETINGS).format(text)
    if chance.random() < 0.25:
        text = text.lower()
    if chance.random() < 0.25:
        text = text.rstrip(".?!") or text
    if chance.random() < 0.1 and len(text) > 8:
        at = chance.randrange(2, len(text) - 2)
        if text[at : at + 2].isalpha():
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def plain(text: str) -> str:
    """The words of a question in small letters, so that ways of typing it compare equal."""
    return " ".join(re.findall(r"[a-z0-9+*=/.-]+", text.lower().replace("'", ""))).rstrip(".")
