"""Answers compared with the right ones, word for word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pair_quality.answering import Answer


@dataclass(frozen=True)
class Verdict:
    """The answers that are the expected ones, and all others."""

    right: tuple[Answer, ...]
    others: tuple[Answer, ...]


def is_expected(answer: Answer) -> bool:
    """Whether an answer is the expected one, however much white space stands between its words."""
    return answer.prompt.expected is not None and answer.text.split() == answer.prompt.expected.split()


def judge(answers: Iterable[Answer]) -> dict[str, Verdict]:
    """The verdict on the answers of each kind of prompt."""
    kinds: dict[str, list[Answer]] = {}
    for answer in answers:
        kinds.setdefault(answer.prompt.kind, []).append(answer)
    return {
        kind: Verdict(tuple(filter(is_expected, group)), tuple(answer for answer in group if not is_expected(answer)))
        for kind, group in kinds.items()
    }
