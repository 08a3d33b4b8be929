"""What a conversation is, wherever it is stored or shown: a tree of turns with the rounds that decoded each answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from specdec.events import Chat, Finish, Round, Statistics
from specdec.options import Drafting, Message, Sampling

Role = Literal["user", "assistant"]
TITLE_LENGTH = 60


class Setup(BaseModel):
    """What an answer was made with: enough to ask for it again. `sampling` holds the seed that was really used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: str
    target: str
    draft: str | None = None
    dtype: str = ""
    device: str = ""
    exact: bool = False
    context: int = 0
    sampling: Sampling = Sampling()
    drafting: Drafting = Drafting()
    system: str = ""
    thinking: bool | None = None
    max_tokens: int | None = None

    def chat(self, messages: Sequence[Message]) -> Chat:
        """The request for an answer made so to a conversation, which comes without its system message."""
        system = [Message(role="system", content=self.system)] if self.system else []
        return Chat(
            messages=(*system, *messages),
            sampling=self.sampling,
            drafting=self.drafting,
            max_tokens=self.max_tokens,
            thinking=self.thinking,
        )


@dataclass
class Turn:
    """One message. An answer grows by rounds and has no `finish` until it ended; `error` says why it failed.

    `created` is in seconds since 1970. An answer that was imported from elsewhere may have text and no rounds.
    """

    id: str
    parent: str | None
    role: Role
    created: float
    text: str = ""
    rounds: list[Round] = field(default_factory=list)
    finish: Finish | None = None
    error: str = ""
    statistics: Statistics | None = None
    setup: Setup | None = None

    def add(self, rounds: Iterable[Round]) -> list[Round]:
        """Append decoded rounds with their text; returns them as kept: numbered through, without a request's id."""
        kept = [round_.model_copy(update={"id": 0, "index": index}) for index, round_ in enumerate(rounds, len(self.rounds))]
        self.rounds += kept
        self.text += "".join(run.text for round_ in kept for run in round_.runs)
        return kept

    @property
    def interrupted(self) -> bool:
        """Whether this is an answer that did not come to its own end."""
        return self.role == "assistant" and self.finish in (None, "stopped")


@dataclass
class Session:
    """A conversation: turns by id, each naming its parent, and `head`, the last turn of the branch that is shown."""

    id: str
    title: str
    created: float
    updated: float
    pair: str = ""
    system: str = ""
    turns: dict[str, Turn] = field(default_factory=dict)
    head: str | None = None

    def branch(self, last: str | None = None) -> list[Turn]:
        """The turns from the first to `last`, or to the head."""
        turns: list[Turn] = []
        at = last or self.head
        while at is not None:
            turns.append(self.turns[at])
            at = turns[-1].parent
        return turns[::-1]

    def children(self, parent: str | None) -> list[Turn]:
        """The turns that follow a turn, oldest first; those of `None` begin the conversation."""
        return [turn for turn in self.turns.values() if turn.parent == parent]

    def place(self, turn_id: str) -> tuple[int, int]:
        """The number of a turn among its alternatives, from 1, and how many there are."""
        ids = [turn.id for turn in self.siblings(turn_id)]
        return ids.index(turn_id) + 1, len(ids)

    def siblings(self, turn_id: str) -> list[Turn]:
        """The alternatives to a turn, itself included, oldest first."""
        return self.children(self.turns[turn_id].parent)

    def tip(self, turn_id: str) -> str:
        """The end of the newest branch through a turn."""
        while following := self.children(turn_id):
            turn_id = following[-1].id
        return turn_id

    def append(self, role: Role, text: str = "", parent: str | None = None, first: bool = False) -> Turn:
        """A new turn after `parent` (the head, if it is not given; nothing, if `first`), which becomes the head."""
        above = None if first else parent or self.head
        turn = Turn(id=new_id(), parent=above, role=role, created=time.time(), text=text)
        self.turns[turn.id] = turn
        self.head = turn.id
        return turn

    def messages(self, last: str | None = None) -> list[Message]:
        """The branch to `last` (the head, if it is not given) as the engine takes it, without the system message."""
        return [Message(role=turn.role, content=turn.text) for turn in self.branch(last)]


def new_session(pair: str = "", system: str = "") -> Session:
    """An empty conversation that has no title yet."""
    now = time.time()
    return Session(id=new_id(), title="", created=now, updated=now, pair=pair, system=system)


def new_id() -> str:
    """A name for a session or a turn that no other one has."""
    return uuid.uuid4().hex


def title_of(text: str) -> str:
    """A title from the first line of a first message."""
    line = " ".join(text.strip().split("\n")[0].split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
