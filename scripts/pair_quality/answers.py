"""What can be said of answers without knowing the right ones: whether they end, say anything, and go round in circles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from pair_quality.answering import Answer, by_category
from pair_quality.loops import loops


@dataclass(frozen=True)
class Survey:
    """Parts of all answers, from 0 to 1, and their mean length in tokens; `ended` are those that the model ended by itself."""

    answers: int
    ended: float
    empty: float
    looping: float
    mean_tokens: float


def survey(answers: Iterable[Answer]) -> dict[str, Survey]:
    """The survey of each category that has answers and, last, of all."""
    return {category: _survey(group) for category, group in by_category(answers).items() if group}


def is_looping(answer: Answer) -> bool:
    """Whether an answer goes round in circles without having been asked to."""
    return loops(answer.text, answer.finish == "eos", answer.prompt.messages[-1].content)


def _survey(answers: Sequence[Answer]) -> Survey:
    return Survey(
        answers=len(answers),
        ended=fmean(answer.finish == "eos" for answer in answers),
        empty=fmean(not answer.text.strip() for answer in answers),
        looping=fmean(is_looping(answer) for answer in answers),
        mean_tokens=fmean(len(answer.tokens) for answer in answers),
    )
