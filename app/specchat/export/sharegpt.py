"""The ShareGPT shape that fine-tuning tools take: the branch that is shown, as `from` and `value`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from specchat.export.errors import ExportError
from specchat.export.foreign import chained, session_of
from specchat.export.reading import checked, parse
from specchat.transcript import Session

SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}
ROLES = {speaker: role for role, speaker in SPEAKERS.items()} | {role: role for role in SPEAKERS}
ROLES |= dict.fromkeys(("tool", "function_call", "observation"), "tool")


class _Message(BaseModel):
    speaker: Annotated[str, Field(alias="from")]
    value: str


class _Conversation(BaseModel):
    conversations: list[_Message]


_CONVERSATIONS = TypeAdapter(list[_Conversation])


def write(session: Session) -> str:
    """The branch that is shown, begun by the system message if there is one."""
    said = [("system", session.system)] if session.system else []
    said += [(turn.role, turn.text) for turn in session.branch()]
    messages = [{"from": SPEAKERS[role], "value": text} for role, text in said]
    return json.dumps({"conversations": messages}, ensure_ascii=False, indent=2) + "\n"


def read(text: str) -> list[Session]:
    """The conversations of a file: one, a list of them, or one a line."""
    return [_session(conversation) for conversation in checked(_CONVERSATIONS, _values(text))]


def _values(text: str) -> list[Any]:
    try:
        value = parse(text)
    except ExportError:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) < 2:
            raise
        return [parse(line, number) for number, line in lines]
    return value if isinstance(value, list) else [value]


def _session(conversation: _Conversation) -> Session:
    for message in conversation.conversations:
        if message.speaker not in ROLES:
            raise ExportError(f"Nobody knows who {message.speaker[:20]!r} is in the file.", f"A message is from {', '.join(ROLES)}.")
    return session_of(chained([(ROLES[message.speaker], message.value) for message in conversation.conversations]))
