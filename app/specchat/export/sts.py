"""Session traces as JSON lines: the Hugging Face Hub's STS-Format in the shape that llama.cpp's web UI writes and reads.

https://huggingface.co/docs/hub/session-traces-format
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from specchat.export.errors import ExportError
from specchat.export.foreign import Message, session_of
from specchat.export.reading import NEXT_STEP, checked, parse, seconds
from specchat.transcript import Session, Turn, new_id
from specdec.events import Statistics


class _Header(BaseModel):
    name: str | None = None
    currNode: str | None = None


class _Message(BaseModel):
    id: str | None = None
    parent: str | None = None
    role: Literal["user", "assistant", "system", "tool"]
    content: str
    timestamp: float | None = None


class _Envelope(BaseModel):
    message: _Message


_HEADER = TypeAdapter(_Header)
_ENVELOPE = TypeAdapter(_Envelope)


def write(session: Session) -> str:
    """All branches, one message a line, below the empty root message that llama.cpp's tree begins with."""
    root, system = f"{session.id}-root", f"{session.id}-system"
    first = system if session.system else root
    children: dict[str, list[str]] = {root: [system] if session.system else [], first: []} | {name: [] for name in session.turns}
    for turn in session.turns.values():
        children[turn.parent or first].append(turn.id)

    def line(name: str, parent: str | None, kind: str, role: str, text: str, created: float, more: dict[str, Any]) -> dict[str, Any]:
        tree = {"id": name, "convId": session.id, "parent": parent, "children": children[name]}
        shown = {"type": kind, "role": role, "content": text, "timestamp": _milliseconds(created)}
        return {"type": "message", "message": tree | shown | more}

    header = {"type": "session", "harness": "specchat", "id": session.id, "name": session.title}
    lines = [header | {"currNode": session.head or first, "lastModified": _milliseconds(session.updated)}]
    lines.append(line(root, None, "root", "system", "", session.created, {}))
    if session.system:
        lines.append(line(system, root, "system", "system", session.system, session.created, {}))
    for turn in session.turns.values():
        lines.append(line(turn.id, turn.parent or first, "text", turn.role, turn.text, turn.created, _measured(turn)))
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in lines)


def read(text: str) -> list[Session]:
    """The sessions of a trace, each with its branches; records of other types are passed over."""
    found: list[tuple[_Header, list[Message]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match parse(line, number):
            case {"type": "session"} as record:
                found.append((checked(_HEADER, record, number), []))
            case {"type": "message"} as record if found:
                found[-1][1].append(_placed(checked(_ENVELOPE, record, number).message, found[-1][1]))
            case {"type": "message"}:
                raise ExportError(f"The message in line {number} comes before any session.", NEXT_STEP)
            case dict():
                continue
            case _:
                raise ExportError(f"Line {number} of the file is no record of a session trace.", NEXT_STEP)
    return [_session(header, messages) for header, messages in found]


def _measured(turn: Turn) -> dict[str, Any]:
    model = {"model": turn.setup.target} if turn.setup else {}
    return model | ({"timings": _timings(turn.statistics)} if turn.statistics else {})


def _timings(statistics: Statistics) -> dict[str, float]:
    """What llama.cpp's server reports under the same names; `prompt_n` counts the tokens that were not cached."""
    return {
        "cache_n": statistics.reused_tokens,
        "prompt_n": statistics.prompt_tokens - statistics.reused_tokens,
        "prompt_ms": statistics.prefill_ms,
        "predicted_n": statistics.answer_tokens,
        "predicted_ms": statistics.decode_ms,
        "draft_n": sum(drafter.drafted for drafter in statistics.drafters.values()),
        "draft_n_accepted": sum(drafter.accepted for drafter in statistics.drafters.values()),
    }


def _milliseconds(moment: float) -> int:
    return round(moment * 1000)


def _placed(message: _Message, before: list[Message]) -> Message:
    """The message with its place in the tree; one that names no parent at all follows the message before it."""
    named = "parent" in message.model_fields_set
    previous = before[-1].id if before else None
    return Message(
        id=message.id or new_id(),
        parent=message.parent if named else previous,
        role=message.role,
        text=message.content,
        created=seconds(message.timestamp, time.time()),
    )


def _session(header: _Header, messages: list[Message]) -> Session:
    """The session of a trace; a trace of one branch names the root in its first message but leaves it out."""
    names = {message.id for message in messages}
    if len(names) < len(messages):
        raise ExportError("Two messages in the file have the same id.", NEXT_STEP)
    if messages and messages[0].parent not in names:
        missing = messages[0].parent
        for message in messages:
            message.parent = None if message.parent == missing else message.parent
    return session_of(messages, header.name or "", head=header.currNode)
