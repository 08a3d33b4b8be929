"""What the models are asked: prompts that no training has seen, by category, chosen by a seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demo_pair.chats import Chat
from demo_pair.exercises import KINDS, exercises
from demo_pair.questions import OWN_PROMPTS, read_questions
from specdec.options import Message

QUESTIONS, EXERCISES = "questions", "exercises"
EXERCISES_OF_A_KIND = 20


class PromptFileError(Exception):
    """A file of prompts that cannot be read."""


@dataclass(frozen=True)
class Prompt:
    """A conversation to be answered; `kind` divides a category further, `expected` is the one right answer where there is one.

    `own` prompts were written for this project and may be shown; others are somebody else's text.
    """

    category: str
    messages: tuple[Message, ...]
    kind: str = ""
    expected: str | None = None
    own: bool = False

    def seed(self, seed: int) -> int:
        """A seed that depends on the run's own and on the text alone."""
        text = json.dumps([seed, *(message.content for message in self.messages)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Selection:
    """The prompts chosen from a category, and how many of all its prompts were too long to choose."""

    prompts: tuple[Prompt, ...]
    skipped: int


def held_out_prompts(corpus: Mapping[str, Sequence[Chat]], files: Iterable[Path], seed: int) -> dict[str, list[Prompt]]:
    """Every prompt there is, by category: the project's own, the sources of a corpus, and the categories of prompt files.

    Raises PromptFileError.
    """
    prompts = {QUESTIONS: question_prompts(), EXERCISES: exercise_prompts(seed)}
    for title, chats in corpus.items():
        prompts[title] = chat_prompts(title, chats, seed)
    own = [replace(prompt, own=True) for prompt in file_prompts(OWN_PROMPTS)]
    for prompt in [*own, *(prompt for file in files for prompt in file_prompts(file))]:
        prompts.setdefault(prompt.category, []).append(prompt)
    return prompts


def select(prompts: Sequence[Prompt], count: int, seed: int, fits: Callable[[Prompt], bool]) -> Selection:
    """At most that many of the prompts that fit, chosen by the seed."""
    fitting = [prompt for prompt in prompts if fits(prompt)]
    chosen = random.Random(seed).sample(fitting, min(count, len(fitting)))
    return Selection(tuple(chosen), len(prompts) - len(fitting))


def question_prompts() -> list[Prompt]:
    """The project's own questions in the phrasing that is never trained on."""
    return [
        Prompt(QUESTIONS, (Message(role="user", content=question.held_out),), question.topic, question.answer, own=True)
        for question in read_questions()
    ]


def exercise_prompts(seed: int) -> list[Prompt]:
    """Held-out exercises, equally many of each kind."""
    prompts = []
    for exercise in exercises(EXERCISES_OF_A_KIND * len(KINDS), seed, held_out=True):
        *asked, answer = conversation(exercise.messages)
        prompts.append(Prompt(EXERCISES, tuple(asked), exercise.kind, answer.content, own=True))
    return prompts


def chat_prompts(title: str, chats: Iterable[Chat], seed: int) -> list[Prompt]:
    """Each chat up to one of the assistant's turns, chosen by the seed and the chat's own text."""
    prompts = []
    for chat in chats:
        turns = [index for index, message in enumerate(chat.messages) if message["role"] == "assistant"]
        end = random.Random(f"{seed}/{chat.digest}").choice(turns)
        prompts.append(Prompt(title, conversation(chat.messages[:end])))
    return prompts


def file_prompts(path: Path) -> list[Prompt]:
    """The first turns of a file in the format of Spec-Bench; raises PromptFileError naming the line that is not."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptFileError(f"{path} cannot be read: {error}.") from error
    prompts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            prompts.append(Prompt(str(record["category"]), (Message(role="user", content=record["turns"][0]),)))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise PromptFileError(f"{path}, line {number}: not a JSON object with a category and a list of turns.") from error
    if not prompts:
        raise PromptFileError(f"{path} holds no prompt.")
    return prompts


def conversation(messages: Iterable[Mapping[str, str]]) -> tuple[Message, ...]:
    """Turns as the engine takes them."""
    return tuple(Message.model_validate(message) for message in messages)
