"""The terminal app: opens the desk, shows the chat, and tells it when the engine has something to report."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import App
from textual.command import Provider
from textual.message import Message

from specchat.client import EngineClient
from specchat.desk import Desk
from specchat.downloads import Downloads
from specchat.engine_thread import EngineThread
from specchat.history import History
from specchat.pair_choice import PairChoice
from specchat.paths import Paths
from specchat.settings import Settings
from specchat.store import Store
from specchat.tui.commands.model import choose
from specchat.tui.keys import check_keymap
from specchat.tui.palette import ActionProvider
from specchat.tui.screens.chat import ChatScreen
from specchat.tui.screens.pairs import PairsScreen
from specchat.tui.screens.replay import CompareScreen
from specchat.tui.screens.sessions import SessionsScreen
from specchat.tui.terminal import end_on_signals
from specdec.errors import SpecError
from specdec.options import LoadOptions


class SpecchatApp(App[int], inherit_bindings=False):
    """One window on one conversation. `notices` are said when the chat is up; `first_run` opens the pairs first."""

    CSS_PATH = "specchat.tcss"
    TITLE = "specchat"
    COMMANDS: ClassVar[set[type[Provider]]] = {ActionProvider}  # type: ignore[assignment]
    COMMAND_PALETTE_BINDING = "no_key_palette"

    class EngineSpoke(Message):
        """There are reports of the engine to take."""

    class Complaint(Message):
        """Something could not be saved, found on any thread."""

        def __init__(self, error: SpecError) -> None:
            super().__init__()
            self.error = error

    def __init__(
        self,
        paths: Paths,
        engine: Sequence[str],
        store: Store,
        settings: Settings,
        own_models: LoadOptions | None,
        notices: Sequence[str],
        first_run: bool,
    ) -> None:
        super().__init__()
        thread = EngineThread(EngineClient(paths.engine_log, engine), self._wake, paths.app_log)
        self.desk = Desk(paths, store, settings, thread, self._complain)
        self.desk.own_models = own_models
        self.downloads = Downloads()
        self.history = History(paths.history)
        self.chat = ChatScreen(self.desk)
        self._notices = list(notices)
        self._first_run = first_run
        self._complained: set[str] = set()

    def _wake(self) -> None:
        self.post_message(self.EngineSpoke())

    def _complain(self, error: SpecError) -> None:
        self.post_message(self.Complaint(error))

    def on_mount(self) -> None:
        end_on_signals(self)
        self._notices += [self.history.load(), *check_keymap(self.desk.settings.keys)]
        try:
            self.desk.load()
        except SpecError as error:
            self.chat.failure = error
            self._notices.append(str(error))
        self.push_screen(self.chat)
        self.call_after_refresh(self._greet)

    def _greet(self) -> None:
        for notice in filter(None, self._notices):
            self.chat.notice(notice, "warning")
        if self._first_run:
            pairs = PairsScreen(self.desk.paths.user_registry, self.downloads, PairChoice.of(self.desk.settings), True)
            self.push_screen(pairs, lambda choice: choose(self.chat, choice))

    def on_specchat_app_engine_spoke(self) -> None:
        self.chat.hearing.wake()

    def on_specchat_app_complaint(self, complaint: Complaint) -> None:
        """Say once what could not be saved."""
        if complaint.error.cause not in self._complained:
            self._complained.add(complaint.error.cause)
            self.chat.say(complaint.error)

    @on(CompareScreen.StopAsked)
    def _stop_comparison(self) -> None:
        self.chat.stop()

    @on(SessionsScreen.Renamed)
    def _session_renamed(self, renamed: SessionsScreen.Renamed) -> None:
        session = self.desk.conversation.session
        if renamed.session_id == session.id:
            session.title = renamed.title

    @on(SessionsScreen.Deleted)
    def _session_deleted(self, deleted: SessionsScreen.Deleted) -> None:
        if deleted.session_id == self.desk.conversation.session.id:
            self.chat.perform("new", "")

    def screenshot_of_chat(self) -> str:
        """The chat as it is seen, as an SVG."""
        return self.export_screenshot(title="specchat")

    def copy_to_clipboard(self, text: str) -> None:
        """Copy through the terminal (OSC 52), wrapped so that tmux lets it through."""
        super().copy_to_clipboard(text)
        if os.environ.get("TMUX") and self._driver is not None:
            packed = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
            self._driver.write(f"\x1bPtmux;\x1b\x1b]52;c;{packed}\a\x1b\\")
