"""Conversations of other programs made into sessions: new ids, user and assistant messages only, the system message apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from specchat.export.reading import parents_first
from specchat.transcript import Role, Session, Turn, new_id, title_of

UNTITLED = "Imported conversation"
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}


@dataclass
class Message:
    """One message as its program stored it; `created` is in seconds since 1970, `ended` is whether an answer is complete."""

    id: str
    parent: str | None
    role: str
    text: str
    created: float
    ended: bool = True


def chained(messages: Sequence[tuple[str, str]]) -> list[Message]:
    """Messages that follow each other, from their roles and texts."""
    now = time.time()
    return [
        Message(id=str(index), parent=str(index - 1) if index else None, role=role, text=text, created=now)
        for index, (role, text) in enumerate(messages)
    ]


def session_of(messages: Sequence[Message], title: str = "", system: str = "", head: str | None = None) -> Session:
    """A session of the tree the messages make; raises ExportError if they make none.

    Messages of other roles are left out and what follows them moves up; the first system message becomes the session's. A `head`
    that is not there gives way to the last message.
    """
    by_id = {message.id: message for message in messages}
    order = parents_first({message.id: message.parent for message in messages})
    places: dict[str | None, str | None] = {None: None}
    turns: dict[str, Turn] = {}
    for message in (by_id[name] for name in order):
        above = places[message.parent]
        role = ROLES.get(message.role)
        if role is not None:
            turn = Turn(id=new_id(), parent=above, role=role, created=message.created, text=message.text)
            if role == "assistant" and message.ended:
                turn.finish = "eos"
            turns[turn.id] = turn
            above = turn.id
        elif message.role == "system":
            system = system or message.text
        places[message.id] = above
    shown = head if head in by_id else messages[-1].id if messages else None
    prompts = [turn.text for turn in turns.values() if turn.role == "user"]
    times = [turn.created for turn in turns.values()] or [time.time()]
    return Session(
        id=new_id(),
        title=title_of(title) or title_of(prompts[0] if prompts else "") or UNTITLED,
        created=min(times),
        updated=max(times),
        system=system,
        turns=turns,
        head=places[shown],
    )
