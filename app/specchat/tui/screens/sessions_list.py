"""The list of sessions: two lines each, drawn only where they are seen, so that thousands cost no more than ten."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from specchat.store import SessionRow
from specchat.store_search import spans
from specchat.tui.widgets.styles import MUTED
from specchat.visible import visible

LINES = 2
MARGIN = 2
MATCH = "bold underline $text-accent"
UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
OLD_SECONDS = 30 * 86400.0


class SessionList(ScrollView, can_focus=False):
    """Sessions with one of them highlighted; keys are the screen's business."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"session-list--highlighted"}
    DEFAULT_CSS = """
    SessionList {
        height: 1fr;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        text-wrap: nowrap;
        & > .session-list--highlighted { background: $block-cursor-blurred-background; }
    }
    """
    highlighted: reactive[int] = reactive(0)

    class Clicked(Message):
        """A session was clicked."""

        def __init__(self, row: SessionRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, open_id: str) -> None:
        super().__init__()
        self.rows: list[SessionRow] = []
        self._open_id = open_id
        self._words: Sequence[str] = ()

    @property
    def current(self) -> SessionRow | None:
        """The highlighted session, if there is any."""
        return self.rows[self.highlighted] if self.rows else None

    @property
    def highlighted_top(self) -> int:
        """Where the highlighted session begins, in lines below the upper edge."""
        return self.highlighted * LINES - self.scroll_offset.y

    def show(self, rows: Sequence[SessionRow], words: Sequence[str], session_id: str = "") -> None:
        """Show other sessions, with the words that were searched for, and highlight one of them, else the first."""
        self.rows = list(rows)
        self._words = words
        self.virtual_size = Size(0, len(self.rows) * LINES)
        self.highlighted = next((index for index, row in enumerate(self.rows) if row.id == session_id), 0)
        self._into_view()
        self.refresh()

    def replace(self, index: int, *rows: SessionRow) -> None:
        """Put a changed session, or none, in the place of one."""
        self.rows[index : index + 1] = rows
        self.virtual_size = Size(0, len(self.rows) * LINES)
        self.move(0)
        self.refresh()

    def move(self, step: int) -> None:
        """Move the highlight by some sessions, as far as there are any."""
        self.highlighted += step

    def page(self) -> int:
        """How many sessions are seen at a time."""
        return max(1, self.scrollable_content_region.height // LINES)

    def validate_highlighted(self, highlighted: int) -> int:
        """Stay within the list."""
        return max(0, min(highlighted, len(self.rows) - 1))

    def watch_highlighted(self) -> None:
        """Keep it in view."""
        self._into_view()
        self.refresh()

    def on_resize(self) -> None:
        """Keep the highlight in view when there is less room."""
        self._into_view()

    def on_click(self, event: events.Click) -> None:
        """Tell which session was clicked."""
        index = (self.scroll_offset.y + event.y) // LINES
        if index < len(self.rows):
            self.highlighted = index
            self.post_message(self.Clicked(self.rows[index]))

    def render_line(self, y: int) -> Strip:
        """One line of the session that lies there."""
        index, part = divmod(self.scroll_offset.y + y, LINES)
        width = self.scrollable_content_region.width
        if index >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        row, highlighted = self.rows[index], index == self.highlighted
        line = self._details(row, width - MARGIN) if part else self._head(row, width - MARGIN)
        marker = Content.styled("▌".ljust(MARGIN) if highlighted else " " * MARGIN, "$primary")
        style = self.get_visual_style("session-list--highlighted") if highlighted else self.visual_style
        return Visual.to_strips(self, Content.assemble(marker, line).truncate(width, pad=True), width, 1, style)[0]

    def _head(self, row: SessionRow, width: int) -> Content:
        """The title at the left and the time at the right."""
        when = Content.styled(f"  {'open · ' if row.id == self._open_id else ''}{ago(time.time() - row.updated, row.updated)}", MUTED)
        title = self._matched(one_line(row.title), "bold") if row.title.strip() else Content.styled("Untitled", "italic")
        return title.truncate(max(0, width - MARGIN - when.cell_length), ellipsis=True, pad=True) + when

    def _details(self, row: SessionRow, width: int) -> Content:
        """What is known of it, then as much of its text as there is room for."""
        messages = "1 message" if row.turns == 1 else f"{row.turns} messages"
        known = Content.styled(" · ".join(filter(None, (one_line(row.pair), messages))), MUTED)
        excerpt = Content.styled(" · ", MUTED) + self._matched(one_line(row.excerpt), MUTED) if row.excerpt else Content()
        return (known + excerpt).truncate(max(0, width - MARGIN), ellipsis=True)

    def _matched(self, text: str, style: str) -> Content:
        content = Content.styled(text, style)
        for start, end in spans(text, list(self._words)):
            content = content.stylize(MATCH, start, end)
        return content

    def _into_view(self) -> None:
        region = Region(0, self.highlighted * LINES, max(1, self.scrollable_content_region.width), LINES)
        self.scroll_to_region(region, animate=False, immediate=True, force=True)


def one_line(text: str) -> str:
    """The text in one line, with nothing in it that a terminal would obey."""
    return visible(" ".join(text.split()))


def ago(seconds: float, moment: float) -> str:
    """How long ago a moment was, or its date after 30 days."""
    if seconds >= OLD_SECONDS:
        return f"{datetime.fromtimestamp(moment):%Y-%m-%d}"
    return next((f"{int(seconds // unit)} {name} ago" for unit, name in UNITS if seconds >= unit), "just now")
