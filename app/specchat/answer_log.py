"""One JSON line for each answer, without any text of the conversation: what was asked for, how it was decoded and what it cost."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from specchat.engine_log import open_log_or_none
from specdec.events import Chat, Done, Error, Event, Ready, Started


@dataclass
class _Asked:
    """An answer under way; `started` once its decoding has begun."""

    chat: Chat
    started: Started | None = None


class AnswerLog:
    """Hears what an engine is asked and says; where the file cannot be written there are no lines, and nothing else changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ready: Ready | None = None
        self._asked: dict[int, _Asked] = {}

    def asked(self, chat: Chat) -> None:
        """A request for an answer, with the id that its events will carry."""
        self._asked[chat.id] = _Asked(chat)

    def heard(self, event: Event) -> None:
        """An event; the one that ends an answer is what writes its line."""
        if isinstance(event, Ready):
            self._ready = event
        elif event.id in self._asked:
            if isinstance(event, Started):
                self._asked[event.id].started = event
            elif isinstance(event, Done | Error):
                self._write(self._asked.pop(event.id), event)

    def lost(self, error: Error) -> None:
        """The engine is gone, and with it every answer under way."""
        for asked in self._asked.values():
            self._write(asked, error)
        self._asked.clear()
        self._ready = None

    def _write(self, asked: _Asked, end: Done | Error) -> None:
        """Append a line; `sampling` is what was asked for or, once decoding has begun, what was really used."""
        ready, started, chat = self._ready, asked.started, asked.chat
        done = end if isinstance(end, Done) else None
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "target": ready.target if ready else None,
            "draft": ready.draft if ready else None,
            "drafting": chat.drafting.model_dump(mode="json"),
            "sampling": (started.sampling if started else chat.sampling).model_dump(mode="json"),
            "finish": done.finish if done else None,
            "error": end.kind if isinstance(end, Error) else None,
            "statistics": done.statistics.model_dump(mode="json") if done else None,
        }
        with open_log_or_none(self._path) as log, suppress(OSError):
            log.write(json.dumps(line).encode() + b"\n")
