"""What every engine under measurement is asked and what it answers, and this engine's own way of answering."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from specdec.drafting.controller import Controller
from specdec.errors import IncompatibleDraftError, UsageError
from specdec.events import Chat, Done, Finish, Round, Started, Statistics
from specdec.loading import Pair
from specdec.options import Drafting, Message, Sampling
from specdec.session import ChatSession


@dataclass(frozen=True)
class Question:
    """A conversation, also as the tokens that are read, and how it is to be answered; `max_tokens` fits into the context."""

    messages: tuple[Message, ...]
    tokens: tuple[int, ...]
    max_tokens: int
    sampling: Sampling


@dataclass(frozen=True)
class Answer:
    """The answer to a question; the fields are those of `Measured`."""

    tokens: tuple[int, ...]
    text: str
    finish: Finish
    statistics: Statistics
    round_tokens: tuple[int, ...]
    round_ms: tuple[float, ...]


Answerer = Callable[[Question], Answer]


def pair_answerer(pair: Pair, drafting: Drafting) -> Answerer:
    """How a pair answers, each time from an empty cache; a controller of its own learns from answer to answer.

    Raises a typed error if the pair cannot draft in this way.
    """
    if pair.ready.draft_problem:
        raise IncompatibleDraftError(pair.ready.draft_problem)
    if drafting.draft == "model" and pair.drafter is None:
        raise UsageError("The method drafts with a model but names none.")
    own = replace(pair, controller=Controller(pair.costs))
    return lambda question: _answer(own, drafting, question)


def _answer(pair: Pair, drafting: Drafting, question: Question) -> Answer:
    _forget(pair)
    request = Chat(messages=question.messages, sampling=question.sampling, drafting=drafting, max_tokens=question.max_tokens)
    rounds: list[Round] = []
    reached: list[float] = []
    done = None
    for event in ChatSession(pair).chat(request):
        if isinstance(event, Started):
            reached.append(time.perf_counter())
        elif isinstance(event, Round):
            reached.append(time.perf_counter())
            rounds.append(event)
        elif isinstance(event, Done):
            done = event
    assert done is not None
    runs = [run for round_ in rounds for run in round_.runs]
    return Answer(
        tokens=tuple(token for run in runs for token in run.tokens),
        text="".join(run.text for run in runs),
        finish=done.finish,
        statistics=done.statistics,
        round_tokens=tuple(sum(len(run.tokens) for run in round_.runs) for round_ in rounds),
        round_ms=milliseconds_between(reached),
    )


def milliseconds_between(seconds: Iterable[float]) -> tuple[float, ...]:
    """The time from each moment to the next."""
    return tuple((later - earlier) * 1000 for earlier, later in pairwise(seconds))


def _forget(pair: Pair) -> None:
    """Empty the drafters' caches: of a context of one token, no row is kept."""
    for drafter in (pair.ngram, pair.drafter):
        if drafter is not None:
            drafter.begin([0])
