"""Open WebUI's chat export: a list of chats, each a tree of messages.

https://docs.openwebui.com/features/chat-conversations/data-controls/import-export
"""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import BaseModel, TypeAdapter

from specchat.export.foreign import Message, session_of
from specchat.export.reading import checked, parse, seconds
from specchat.transcript import Session


class _Message(BaseModel):
    parentId: str | None = None
    role: str
    content: str
    timestamp: float | None = None
    done: bool = True


class _History(BaseModel):
    currentId: str | None = None
    messages: dict[str, _Message]


class _Parameters(BaseModel):
    system: str | None = None


class _Chat(BaseModel):
    title: str | None = None
    history: _History
    params: _Parameters = _Parameters()


class _Entry(BaseModel):
    chat: _Chat


_ENTRIES = TypeAdapter(list[_Entry])


def write(session: Session) -> str:
    """All branches, as a list of one chat."""
    children: dict[str | None, list[str]] = {None: []} | {name: [] for name in session.turns}
    for turn in session.turns.values():
        children[turn.parent].append(turn.id)
    messages: dict[str, dict[str, Any]] = {}
    for turn in session.turns.values():
        messages[turn.id] = {
            "id": turn.id,
            "parentId": turn.parent,
            "childrenIds": children[turn.id],
            "role": turn.role,
            "content": turn.text,
            "timestamp": int(turn.created),
        }
        if turn.role == "assistant":
            messages[turn.id] |= {"model": turn.setup.target if turn.setup else "", "done": turn.finish is not None}
    chat = {
        "title": session.title,
        "models": list(dict.fromkeys(turn.setup.target for turn in session.turns.values() if turn.setup)),
        "params": {"system": session.system} if session.system else {},
        "history": {"currentId": session.head, "messages": messages},
    }
    entry = {"chat": chat, "created_at": int(session.created), "updated_at": int(session.updated)}
    return json.dumps([entry], ensure_ascii=False, indent=2) + "\n"


def read(text: str) -> list[Session]:
    """Every chat of the list; one that is alone or has no `chat` around it, as older versions wrote it, is taken too."""
    value = parse(text)
    entries = value if isinstance(value, list) else [value]
    wrapped = [entry if not isinstance(entry, dict) or "chat" in entry else {"chat": entry} for entry in entries]
    return [_session(entry.chat) for entry in checked(_ENTRIES, wrapped)]


def _session(chat: _Chat) -> Session:
    messages = [
        Message(name, message.parentId, message.role, message.content, seconds(message.timestamp, time.time()), message.done)
        for name, message in chat.history.messages.items()
    ]
    return session_of(messages, chat.title or "", chat.params.system or "", chat.history.currentId)
