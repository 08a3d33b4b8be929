"""Asking the engine: one answer for each prompt, its draft forced and of fixed length, so that only the models count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from pair_quality import OVERALL
from pair_quality.prompts import Prompt
from specdec.events import Chat, Done, Finish, Round, Run, Statistics
from specdec.loading import Pair
from specdec.options import Drafting, Sampling
from specdec.session import ChatSession


@dataclass(frozen=True)
class Answer:
    """What the engine said to a prompt, why it stopped, and what it counted; `tokens` holds the end-of-sequence token too."""

    prompt: Prompt
    text: str
    tokens: tuple[int, ...]
    finish: Finish
    statistics: Statistics


@dataclass(frozen=True)
class Way:
    """How to answer: `seed` is the run's own, from which each prompt's follows."""

    drafting: Drafting
    temperature: float
    max_tokens: int
    seed: int


def answer(pair: Pair, prompt: Prompt, way: Way) -> Answer:
    """One answer without a thought before it, from an empty cache."""
    chat = Chat(
        messages=prompt.messages,
        sampling=Sampling(temperature=way.temperature, seed=prompt.seed(way.seed)),
        drafting=way.drafting,
        max_tokens=way.max_tokens,
        thinking=False,
    )
    runs: list[Run] = []
    for event in ChatSession(pair).chat(chat):
        if isinstance(event, Round):
            runs += event.runs
        elif isinstance(event, Done):
            done = event
    text, tokens = "".join(run.text for run in runs), tuple(token for run in runs for token in run.tokens)
    return Answer(prompt, text, tokens, done.finish, done.statistics)


def answer_all(pair: Pair, prompts: Sequence[Prompt], way: Way, label: str) -> list[Answer]:
    """The answers in the order of the prompts, with a progress bar of that label on stderr."""
    return [answer(pair, prompt, way) for prompt in tqdm(prompts, desc=label, unit="answer")]


def by_category(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """The answers in each category and, last, all of them."""
    groups: dict[str, list[Answer]] = {}
    everything = list(answers)
    for each in everything:
        groups.setdefault(each.prompt.category, []).append(each)
    return groups | {OVERALL: everything}


def differences(answers: Mapping[str, Sequence[Answer]]) -> list[str]:
    """Where drafters that answered the same prompts did not get the same tokens; each differing answer is a sentence."""
    (first, reference), *others = answers.items()
    return [
        f"{name} and {first} differ in their answers to {expected.prompt.messages[-1].content!r}: {found.text!r}, {expected.text!r}."
        for name, own in others
        for found, expected in zip(own, reference, strict=True)
        if found.tokens != expected.tokens
    ]
