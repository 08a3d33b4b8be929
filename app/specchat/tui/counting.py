"""How much of the context the conversation would take with the prompt: asked of the engine whenever the typing pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.timer import Timer

from specchat.engine_thread import CountJob, Ended, Report, Said
from specchat.tui.actions import parse_prompt
from specdec.errors import SpecError, UsageError
from specdec.events import Counted, Error

if TYPE_CHECKING:
    from specchat.tui.screens.chat import ChatScreen

PAUSE_SECONDS = 0.4


class PromptCount:
    """Keeps the count at the prompt of a chat in step with its text; what the engine says of an older text is not shown."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._pause: Timer | None = None
        self._asked: CountJob | None = None

    def soon(self) -> None:
        """Count when nothing changes for a while; where there is nothing to count, show none at once."""
        self._asked = None
        if self._pause is not None:
            self._pause.stop()
        if self._text():
            self._pause = self._screen.set_timer(PAUSE_SECONDS, self._ask)
        else:
            self._screen.prompt.show_count(None)

    def hear(self, report: Report) -> None:
        """Show what the engine counted."""
        if report.job is not self._asked:
            return
        match report:
            case Said(event=Counted() as counted):
                self._screen.prompt.show_count(counted, f"{self._screen.key('new')} begins anew")
            case Said(event=Error()) | Ended(dropped=True) | Ended(error=SpecError()):
                self._screen.prompt.show_count(None)

    def _ask(self) -> None:
        if text := self._text():
            self._asked = self._screen.desk.count(text, self._screen.editing)

    def _text(self) -> str:
        """The text that would be sent; empty for a command, and while the engine is at work or has no pair."""
        screen = self._screen
        if screen.desk.ready is None or screen.answers or screen.watchers:
            return ""
        try:
            taken = parse_prompt(screen.prompt.text)
        except UsageError:
            return ""
        return taken if isinstance(taken, str) and taken.strip() else ""
