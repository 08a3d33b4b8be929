"""The app under Pilot, with the scripted engine of fake_engine.py or the real one behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from tests.app.harness import FAKE_ENGINE
from textual.pilot import Pilot

from specchat.paths import find_paths
from specchat.tui.app import SpecchatApp
from specchat.tui.run import open_app
from specchat.tui.screens.chat import ChatScreen

WIDE = (120, 40)


@asynccontextmanager
async def running(
    mode: str = "echo",
    argument: str = "",
    size: tuple[int, int] = WIDE,
    engine: Sequence[str] | None = None,
    first_run: bool = False,
    **changes: object,
) -> AsyncIterator[Driver]:
    """The app on a screen of a size; unless it is a first run its pairs screen stays closed. Ends the engine at the end."""
    app = open_app(find_paths(), engine or (*FAKE_ENGINE, mode, argument), changes)
    app._first_run = first_run
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot)
        await driver.until(lambda: app.chat.is_mounted and app.screen is not app.screen_stack[0])
        yield driver
        app.desk.close()
        app.downloads.close()


class Driver:
    """A user at the keyboard, who waits for what he sees."""

    def __init__(self, app: SpecchatApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def chat(self) -> ChatScreen:
        """The chat, whatever lies on top of it."""
        return self.app.chat

    async def until(self, predicate: Callable[[], object], seconds: float = 30) -> None:
        """Return as soon as the predicate holds; fail with the screen's text after some seconds."""
        limit = time.monotonic() + seconds
        while not predicate():
            assert time.monotonic() < limit, f"nothing happens; the screen shows\n{self.text()}"
            await asyncio.sleep(0.01)
            await self.pilot.pause()

    async def sees(self, text: str, seconds: float = 30) -> None:
        """Wait until a text is on the screen."""
        await self.until(lambda: text in self.text(), seconds)

    async def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def say(self, text: str) -> None:
        """Put a text into the prompt and send it."""
        self.chat.prompt.text = text
        self.chat.prompt.focus()
        await self.press("enter")

    async def ask(self, text: str) -> None:
        """Send a prompt and wait for the end of its answer."""
        await self.ready()
        await self.say(text)
        await self.until(lambda: self.chat.desk.conversation.session.turns)
        await self.idle()

    async def ready(self) -> None:
        """Wait until a pair is loaded."""
        await self.until(lambda: self.chat.desk.ready is not None)

    async def idle(self) -> None:
        """Wait until nothing is being answered."""
        await self.until(lambda: not self.chat.answers and not self.chat.watchers)

    def text(self) -> str:
        """What the screen shows, line by line."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())
