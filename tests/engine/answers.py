"""Asking a ChatSession and gathering what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from specdec.events import Chat, Done, Event, Finish, Progress, Round, Run, Started
from specdec.options import Drafting, Message, Sampling
from specdec.session import ChatSession, never

SAMPLING = Sampling(temperature=0.9, top_p=0.95, seed=7)


@dataclass
class Answer:
    """What one `chat` gave."""

    started: Started
    progress: list[Progress]
    rounds: list[Round]
    done: Done

    @property
    def runs(self) -> list[Run]:
        return [run for round_ in self.rounds for run in round_.runs]

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs)

    @property
    def tokens(self) -> list[int]:
        return [token for run in self.runs for token in run.tokens]

    @property
    def finish(self) -> Finish:
        return self.done.finish


def request(*contents: str, **options: Any) -> Chat:
    """A conversation of user and assistant by turns; `draft` and `draft_tokens` among the options become its Drafting."""
    messages = tuple(Message(role="assistant" if index % 2 else "user", content=content) for index, content in enumerate(contents))
    drafting = Drafting(**{name: options.pop(name) for name in ("draft", "draft_tokens", "accept") if name in options})
    usual: dict[str, Any] = {"messages": messages, "drafting": drafting, "max_tokens": 24, "sampling": SAMPLING}
    return Chat(**usual | options)


def gather(events: Iterator[Event]) -> Answer:
    """All events of an answer, which come in this order: progress, started, rounds, done."""
    seen = list(events)
    at = next(index for index, event in enumerate(seen) if isinstance(event, Started))
    started, done = seen[at], seen[-1]
    assert isinstance(started, Started)
    assert isinstance(done, Done)
    progress = [event for event in seen[:at] if isinstance(event, Progress)]
    rounds = [event for event in seen[at:] if isinstance(event, Round)]
    assert len(progress) + 1 + len(rounds) + 1 == len(seen)
    return Answer(started, progress, rounds, done)


def ask(session: ChatSession, chat: Chat, stopped: Callable[[], bool] = never) -> Answer:
    return gather(session.chat(chat, stopped))


def same_as_fresh(session: ChatSession, chat: Chat) -> Answer:
    """The session's answer, after checking it against that of a new session: text, tokens, and every bit of the cache."""
    answer = ask(session, chat)
    known = answer.started.prompt_tokens + len(answer.tokens) - 1
    rows = session.pair.target.cache.rows[:, :, :known].clone()
    fresh = ask(ChatSession(session.pair), chat)
    assert fresh.started.reused_tokens == 0
    assert (answer.text, answer.tokens, answer.finish) == (fresh.text, fresh.tokens, fresh.finish)
    assert torch.equal(rows, session.pair.target.cache.rows[:, :, :known])
    return answer
