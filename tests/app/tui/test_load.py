"""A long fast answer below a long conversation: nothing is lost, and the work of the screen is counted by frames, not by tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.app.store_sessions import session_with
from tests.app.tui_harness import Driver, running
from textual.app import App

from specchat.engine_thread import EngineThread, Report
from specchat.paths import find_paths
from specchat.settings import View
from specchat.store import Store
from specchat.tui.hearing import FRAME_SECONDS, Hearing
from specchat.tui.transcript.view import TranscriptView

MESSAGES = 300
ROUNDS = 2667
TOKENS = 3 * ROUNDS
ROUNDS_PER_SECOND = 267


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[Any]:
    """What each call of a method returned, from here on."""
    method: Callable[..., Any] = getattr(owner, name)
    results: list[Any] = []

    def counting(*arguments: Any, **options: Any) -> Any:
        results.append(method(*arguments, **options))
        return results[-1]

    monkeypatch.setattr(owner, name, counting)
    return results


async def opened_long_conversation(user: Driver) -> None:
    await user.press("ctrl+r")
    await user.sees("A long talk")
    await user.press("enter")
    await user.until(lambda: len(user.chat.desk.conversation.session.turns) == MESSAGES and user.chat.transcript.settled)


def shown_text(transcript: TranscriptView) -> str:
    """The text of the last turn's rows."""
    block = transcript._document.blocks[-1]
    return "".join(block.row(row).text for row in range(1, block.height))


async def test_8000_tokens_at_800_a_second_below_300_messages_cost_frames_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(find_paths().database)
    texts = (f"Message {number}: **bold**, `code` and a line that is long enough to be wrapped. " * 3 for number in range(MESSAGES))
    store.save_whole(session_with("A long talk", *texts))
    store.close()
    async with running("paced", f"{ROUNDS}:{ROUNDS_PER_SECOND}", view=View(markdown=False).model_dump()) as user:
        await user.ready()
        await opened_long_conversation(user)
        drains = counted(monkeypatch, Hearing, "drain")
        grows = counted(monkeypatch, TranscriptView, "grow")
        updates = counted(monkeypatch, App, "_display")
        taken: list[list[Report]] = counted(monkeypatch, EngineThread, "take")
        began = time.monotonic()
        await user.say("Hello?")
        await user.until(lambda: user.chat.answers)
        await user.until(lambda: not user.chat.answers, seconds=90)
        seconds = time.monotonic() - began
        frames = seconds / FRAME_SECONDS

        session = user.chat.desk.conversation.session
        answer = session.branch()[-1]
        assert len(session.turns) == MESSAGES + 2
        assert len(answer.rounds) == ROUNDS
        assert answer.statistics is not None
        assert answer.statistics.answer_tokens == TOKENS
        assert "".join(shown_text(user.chat.transcript).split()) == "".join(answer.text.split())
        assert user.chat.desk.store.load(session.id) == session

        assert len(drains) <= frames + 5
        assert len(grows) <= len(drains)
        assert len(updates) <= 1.5 * frames + 20

        assert user.chat.desk.engine.take() == []
        assert max(len(reports) for reports in taken) < 2 * ROUNDS_PER_SECOND
