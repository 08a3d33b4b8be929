"""What a chat is, and how chats are read from files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = dict[str, str]


class CorpusError(Exception):
    """The folder given has nothing to train on."""


@dataclass(frozen=True)
class Chat:
    """A conversation that starts with the user, alternates, and ends with the assistant."""

    source: str
    messages: tuple[Message, ...]

    @property
    def digest(self) -> int:
        """A number that depends on the text alone, for choices that must never change between runs."""
        return int.from_bytes(hashlib.sha256(json.dumps(self.messages).encode()).digest()[:8], "big")


def chat_of(source: str, *turns: str) -> Chat:
    """A chat of the given turns, of which the user has the first."""
    return Chat(source, tuple(Message(role=("user", "assistant")[index % 2], content=turn) for index, turn in enumerate(turns)))


def json_lines(path: Path) -> list[Any]:
    """The values of a file whose lines are ended by line feeds only, since some texts hold other Unicode line separators."""
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n") if line.strip()]
