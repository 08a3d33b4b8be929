"""The sessions screen: search all conversations, open, rename or delete one, and take a deletion back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Label

from specchat.store import SessionRow, Store
from specchat.store_search import words
from specchat.tui.screens.sessions_list import MARGIN, SessionList, one_line
from specdec.errors import SpecError

PAUSE_SECONDS = 0.1
TITLE_LENGTH = 24
SEARCHING = {"move", "page", "first", "last", "rename", "delete", "undo"}


class SessionsScreen(ModalScreen[str | None]):
    """Pick a conversation; ends with its id, or with nothing. Renaming and deleting is told to the app by messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Above", id="sessions.above", tooltip="Go to the conversation above."),
        Binding("down", "move(1)", "Below", id="sessions.below", tooltip="Go to the conversation below."),
        Binding("pageup", "page(-1)", "Page up", id="sessions.page_up", tooltip="Go up by as many conversations as are seen."),
        Binding("pagedown", "page(1)", "Page down", id="sessions.page_down", tooltip="Go down by as many conversations as are seen."),
        Binding("ctrl+home", "first", "First", id="sessions.first", tooltip="Go to the first conversation."),
        Binding("ctrl+end", "last", "Last", id="sessions.last", tooltip="Go to the last conversation."),
        Binding("ctrl+e", "rename", "Rename", id="sessions.rename", tooltip="Change the title.", priority=True),
        Binding("delete,ctrl+d", "delete", "Delete", id="sessions.delete", tooltip="Delete the conversation.", priority=True),
        Binding("ctrl+z", "undo", "Undo", id="sessions.undo", tooltip="Bring the last deleted conversation back.", priority=True),
        Binding("escape", "close", "Close", id="sessions.close", tooltip="Leave the title as it was, or go back."),
    ]
    DEFAULT_CSS = """
    SessionsScreen {
        align: center middle;
        & > Vertical {
            width: 100%;
            max-width: 100;
            height: 90%;
            background: $surface;
            border: round $primary;
            border-title-color: $foreground;
            border-title-style: bold;
            border-subtitle-color: $text-muted;
        }
        & Input { background: $panel; }
        & #search { padding: 0 2; }
        & #results { height: 1fr; layers: list title; margin-top: 1; }
        & SessionList { layer: list; }
        & #nothing { layer: list; width: 100%; padding: 0 2; color: $text-muted; display: none; }
        & #title { layer: title; position: absolute; display: none; }
        & #notice { width: 100%; padding: 0 2; color: $text-warning; display: none; }
    }
    """

    class Found(Message):
        """What a search found."""

        def __init__(self, query: str, rows: Sequence[SessionRow]) -> None:
            super().__init__()
            self.query, self.rows = query, rows

    class Failed(Message):
        """The store failed."""

        def __init__(self, error: SpecError) -> None:
            super().__init__()
            self.error = error

    class Renamed(Message):
        """A conversation has another title."""

        def __init__(self, session_id: str, title: str) -> None:
            super().__init__()
            self.session_id, self.title = session_id, title

    class Deleted(Message):
        """A conversation was deleted."""

        def __init__(self, session_id: str) -> None:
            super().__init__()
            self.session_id = session_id

    class Restored(Message):
        """A deleted conversation is back."""

        def __init__(self, session_id: str) -> None:
            super().__init__()
            self.session_id = session_id

    def __init__(self, store: Store, open_id: str, query: str = "", deleted: list[SessionRow] | None = None) -> None:
        super().__init__()
        self._store = store
        self._deleted = [] if deleted is None else deleted
        self._pause: Timer | None = None
        self._wanted = open_id
        self._asked = query
        self._list = SessionList(open_id)
        self._search = Input(query, placeholder="Search titles and messages", id="search", select_on_focus=False, compact=True)
        self._title = Input(id="title", compact=True)
        self._nothing = Label(id="nothing", markup=False)
        self._notice = Label(id="notice", markup=False)
        self._box = Vertical()

    def compose(self) -> ComposeResult:
        """The search, what it found with the title that is being edited above it, and what happened last."""
        with self._box:
            yield self._search
            with Container(id="results"):
                yield self._nothing
                yield self._list
                yield self._title
            yield self._notice

    def on_mount(self) -> None:
        """Begin with the query that was given."""
        self._box.border_title = "Sessions"
        self._box.border_subtitle = "Enter open  ^E rename  Del delete  ^Z undo  Esc close"
        self._search.focus()
        self._look()

    def on_resize(self) -> None:
        """Keep the title that is being edited where it belongs."""
        self.call_after_refresh(self._place_title)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys belong to the title while it is edited, and Delete to the query while there is something to delete in it."""
        editing = self._search.cursor_position < len(self._search.value) or not self._search.selection.is_empty
        return not (self._title.display and action in SEARCHING) and not (action == "delete" and editing)

    def action_move(self, step: int) -> None:
        """Go up or down by some conversations."""
        self._list.move(step)

    def action_page(self, direction: int) -> None:
        """Go up or down by as many conversations as are seen."""
        self._list.move(direction * self._list.page())

    def action_first(self) -> None:
        """Go to the first conversation."""
        self._list.move(-len(self._list.rows))

    def action_last(self) -> None:
        """Go to the last conversation."""
        self._list.move(len(self._list.rows))

    def action_rename(self) -> None:
        """Edit the title where it stands."""
        if row := self._list.current:
            self._title.value = row.title
            self._title.display = True
            self._list.disabled = True
            self._place_title()
            self._title.focus()

    async def action_delete(self) -> None:
        """Delete the highlighted conversation."""
        if (row := self._list.current) and await self._changed(self._store.delete, row.id):
            self._deleted.append(row)
            self._list.replace(self._list.highlighted)
            self._tell(f"Deleted “{_short(row.title)}”. Ctrl+Z undoes.")
            self._count()
            self.app.post_message(self.Deleted(row.id))

    async def action_undo(self) -> None:
        """Bring the conversation back that was deleted last."""
        if not self._deleted:
            self._tell("There is nothing to bring back.")
        elif await self._changed(self._store.undelete, self._deleted[-1].id):
            row = self._deleted.pop()
            self._wanted = row.id
            self._tell(f"“{_short(row.title)}” is back.")
            self._look()
            self.app.post_message(self.Restored(row.id))

    def action_close(self) -> None:
        """Leave the title as it was if it is being edited, or else end without a choice."""
        if self._title.display:
            self._end_rename()
        else:
            self.dismiss(None)

    @on(Input.Submitted, "#title")
    async def _rename(self, event: Input.Submitted) -> None:
        row, title = self._list.current, " ".join(event.value.split())
        if not title:
            self._tell("A title needs at least one letter.")
        elif row and await self._changed(self._store.rename, row.id, title):
            self._list.replace(self._list.highlighted, replace(row, title=title))
            self._tell("")
            self._end_rename()
            self.app.post_message(self.Renamed(row.id, title))

    @on(Input.Submitted, "#search")
    def _open(self) -> None:
        if row := self._list.current:
            self.dismiss(row.id)

    @on(SessionList.Clicked)
    def _clicked(self, event: SessionList.Clicked) -> None:
        self.dismiss(event.row.id)

    @on(Input.Changed, "#search")
    def _typed(self) -> None:
        """Search as soon as the typing pauses."""
        if self._pause:
            self._pause.stop()
        if self._search.value != self._asked:
            self._pause = self.set_timer(PAUSE_SECONDS, self._look)

    @on(Found)
    def _found(self, found: Found) -> None:
        """Show what was found, unless something else is asked for meanwhile."""
        if found.query != self._search.value or self._title.display:
            return
        gone = {row.id for row in self._deleted}
        self._list.show([row for row in found.rows if row.id not in gone], words(found.query), self._wanted)
        self._wanted = ""
        self._count()

    @on(Failed)
    def _failed(self, failed: Failed) -> None:
        self._tell(str(failed.error))

    def _look(self) -> None:
        """Search on a thread of its own; only the last search counts."""
        query = self._asked = self._search.value

        def search() -> None:
            try:
                self.post_message(self.Found(query, self._store.sessions(query)))
            except SpecError as error:
                self.post_message(self.Failed(error))

        self.run_worker(search, thread=True, exclusive=True, group="search")

    async def _changed(self, change: Callable[..., None], *arguments: str) -> bool:
        """Change the store off the screen's thread; returns whether it worked, and tells if it did not."""
        try:
            await asyncio.to_thread(change, *arguments)
        except SpecError as error:
            self.post_message(self.Failed(error))
            return False
        return True

    def _count(self) -> None:
        """Say how many conversations are listed, or why there are none."""
        count, searched = len(self._list.rows), bool(self._search.value.strip())
        self._box.border_title = f"Sessions · {count:,}{' found' if searched else ''}" if count else "Sessions"
        self._nothing.display = not count
        self._nothing.update("No conversation holds these words." if searched else "There are no conversations yet.")

    def _place_title(self) -> None:
        self._title.styles.offset = (MARGIN, self._list.highlighted_top)
        self._title.styles.width = max(1, self._list.scrollable_content_region.width - MARGIN)

    def _end_rename(self) -> None:
        self._title.display = False
        self._list.disabled = False
        self._search.focus()

    def _tell(self, notice: str) -> None:
        self._notice.update(notice)
        self._notice.display = bool(notice)


def _short(title: str) -> str:
    """A title that leaves room for a sentence in a narrow line."""
    line = one_line(title) or "Untitled"
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"
