"""The conversation as one scrolling widget that stays instant however long it is and however fast it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar, Literal

from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from specchat.settings import Marks
from specchat.transcript import Turn
from specchat.tui.keys import bindings
from specchat.tui.transcript.document import Document, Layout, Position, hint_rows, message_rows, thought_end
from specchat.tui.transcript.markdown import code_blocks
from specchat.tui.transcript.painting import NOWHERE, Look, Place, empty, paint, text_width
from specchat.tui.transcript.palette import COMPONENTS, DEFAULT_CSS, Palette
from specchat.tui.transcript.runs import Runs
from specchat.tui.transcript.selecting import selected_span, selected_text, word_at
from specchat.tui.transcript.wrap import Line, Row

KEPT_STRIPS = 1024
KEPT_NOTICES = 5
SLICE_SECONDS = 0.008
PAUSE_SECONDS = 0.02
Kind = Literal["info", "warning", "error"]


class TranscriptView(ScrollView, can_focus=True):
    """Turns one below the other, wrapped, marked by the source of their tokens, and selectable as source text.

    It follows its end while that is in sight: `following` tells so. `selected` is the id of a turn, `selected_round` the index of
    one of its rounds, `hint` what is shown instead of turns.
    """

    ALLOW_SELECT = True
    COMPONENT_CLASSES = COMPONENTS
    DEFAULT_CSS = DEFAULT_CSS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("message")]

    marks: reactive[Marks] = reactive[Marks]("style")
    markdown: reactive[bool] = reactive(True)
    selected: reactive[str | None] = reactive[str | None](None)
    selected_round: reactive[int | None] = reactive[int | None](None)
    thinking: reactive[bool] = reactive(False)
    hint: reactive[Sequence[Line]] = reactive[Sequence[Line]](())
    following: reactive[bool] = reactive(True, repaint=False)

    class RoundPicked(Message):
        """A token of an answer was clicked: its turn, and the index of its round."""

        def __init__(self, turn_id: str, index: int) -> None:
            super().__init__()
            self.turn_id = turn_id
            self.index = index

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._document = Document()
        self._palette = Palette(self)
        self._strips: LRUCache[tuple[int, int], Strip] = LRUCache(KEPT_STRIPS)
        self._arranging = False
        self._filling: Timer | None = None
        self._notices: list[tuple[str, Kind]] = []

    @property
    def settled(self) -> bool:
        """Whether all turns have their rows, also those out of sight."""
        return self._document.nearest_unbuilt(0) is None

    def show(self, turns: Sequence[Turn], positions: Mapping[str, Position]) -> None:
        """Replace everything; `positions` tells of a turn which one of how many alternatives it is, counted from 1."""
        if self.is_attached and self.text_selection is not None:
            self.screen.clear_selection()
        self._notices.clear()
        self._document.show(turns, positions)
        if self._document.index(self.selected) is None:
            self.selected = None
        self.following = True
        self._redraw()

    def append(self, turn: Turn, position: Position = (1, 1)) -> None:
        """Add a turn at the end."""
        self._notices.clear()
        self._document.append(turn, position)
        self._redraw()

    def grow(self, turn: Turn) -> None:
        """Show what was added to the end of a turn."""
        index = self._document.index(turn.id)
        if index is None:
            return
        block = self._document.blocks[index]
        if not (block.live and block.built):
            block.live = True
            self._rebuild(index)
            return
        height = block.height
        first = block.grow(self._document.layout)
        for row in range(first, max(height, block.height)):
            self._strips.discard((index, row))
        top = self._document.top(index)
        self._document.measure(index)
        self._dirty(top + first, top + block.height if block.height == height else self._document.height + self.size.height)
        self._arrange()

    def settle(self, turn: Turn) -> None:
        """Show a turn as one that ended."""
        index = self._document.index(turn.id)
        if index is not None:
            self._document.blocks[index].live = False
            self._rebuild(index)

    def notice(self, text: str, kind: Kind = "info") -> None:
        """Show a message at the end, below those that are there, until the next turn."""
        if (text, kind) not in self._notices:
            self._notices = [*self._notices[1 - KEPT_NOTICES :], (text, kind)]
        self._redraw()

    def move_selection(self, step: int) -> None:
        """Select the turn that is `step` turns further down; the last one, if none is selected."""
        blocks = self._document.blocks
        if not blocks:
            return
        index = self._document.index(self.selected)
        index = len(blocks) - 1 if index is None else max(0, min(len(blocks) - 1, index + step))
        self.selected = blocks[index].turn.id

    def follow(self) -> None:
        """Scroll to the end and stay there."""
        self.following = True
        self._arrange()

    def toggle_thinking(self) -> None:
        """Fold or unfold what models thought before they answered."""
        self.thinking = not self.thinking

    def code_blocks(self, turn_id: str) -> list[str]:
        """The fenced code of a turn, block by block, as it is in the source without the line break at its end."""
        index = self._document.index(turn_id)
        if index is None:
            return []
        text = self._document.blocks[index].turn.text
        return code_blocks(text[thought_end(text) :])

    def render_line(self, y: int) -> Strip:
        """The strip of a row of the screen."""
        width = self.size.width
        document = self._document
        index, row = document.locate(y + self.scroll_offset.y)
        if (index, row) in self._strips:
            return self._strips[index, row]
        if index == len(document.blocks):
            last = index - 1
            place = len(document.blocks[last].turn.text) if document.blocks else 0
            if row >= len(document.end):
                return empty(max(last, 0), place, width, self._palette)
            strip = paint(document.end[row], NOWHERE, Look(max(last, 0), Runs(), "off"), self._palette, width)
        else:
            block = document.blocks[index]
            if not block.built:
                return empty(index, 0, width, self._palette)
            look = self._look(index, edge=row < block.height - 1)
            strip = paint(block.row(row), block.counted(row), look, self._palette, width)
        self._strips[index, row] = strip
        return strip

    def _look(self, index: int, edge: bool) -> Look:
        block = self._document.blocks[index]
        chosen = block.turn.id == self.selected
        bar, bar_style = ("▌", "selected-bar") if chosen else ("▎", "bar") if block.turn.role == "user" else ("", "")
        return Look(
            index,
            block.runs,
            self.marks,
            bar if edge else "",
            bar_style,
            round=block.span(self.selected_round) if chosen else NOWHERE,
            selection=selected_span(self.text_selection, index, block.turn.text),
            thought=block.thought,
        )

    # Rows and places

    def _build(self, index: int) -> int:
        """Give a block its rows; returns by how many it grew."""
        block = self._document.blocks[index]
        height = block.height
        block.build(self._document.layout, self.selected_round if block.turn.id == self.selected else None)
        for row in range(max(height, block.height)):
            self._strips.discard((index, row))
        self._document.measure(index)
        return block.height - height

    def _rebuild(self, index: int) -> None:
        """Show a block anew without moving what is in sight above it."""
        anchor = self._anchor()
        self._build(index)
        self._return_to(anchor)

    def _redraw(self) -> None:
        """Show everything anew, with what is at the top still there."""
        if not self.size.width:
            return
        anchor = self._anchor()
        layout = Layout(text_width(self.size.width, self.marks), self.markdown, self.thinking)
        if layout != self._document.layout:
            self._document.lay_out(layout)
        self._document.end = self._end(layout.width)
        self._return_to(anchor)

    def _end(self, width: int) -> list[Row]:
        """The rows after the last turn."""
        blocks = self._document.blocks
        place = len(blocks[-1].turn.text) if blocks else 0
        rows = [row for text, kind in self._notices for row in message_rows(text, kind, width, place)]
        return rows if blocks else hint_rows(self.hint, width, self.size.height - len(rows)) + rows

    def _anchor(self) -> tuple[int, int, int]:
        """What is at the top: the block, the row in it, and the place in the source."""
        index, row = self._document.locate(self.scroll_offset.y)
        blocks = self._document.blocks
        if index < len(blocks) and blocks[index].built:
            return index, row, blocks[index].counted(row)[0]
        return index, row, 0

    def _return_to(self, anchor: tuple[int, int, int]) -> None:
        index, row, offset = anchor
        document = self._document
        self._strips.clear()
        y = document.height
        if index < len(document.blocks) and not self.following:
            if not document.blocks[index].built:
                self._build(index)
            block = document.blocks[index]
            y = document.top(index) + (block.row_of(offset) if offset else min(row, block.height))
        self.refresh()
        self._arrange(y)

    def _arrange(self, y: int | None = None) -> None:
        """Give the turns in sight their rows, keeping the row `y` at the top, or the end in sight while following it."""
        if self._arranging or not self.size.width:
            return
        self._arranging = True
        document, height = self._document, self.size.height
        top = self.scroll_offset.y if y is None else y
        while True:
            if self.following:
                top = max(document.height - height, 0)
            index = document.unbuilt(top, top + height)
            if index is None:
                break
            above = document.top(index) < top
            grown = self._build(index)
            top += grown if above else 0
        size = Size(self.size.width, document.height)
        if size != self.virtual_size:
            # The rows that changed are dirty already: only the scrollbar depends on the size.
            self.set_reactive(TranscriptView.virtual_size, size)
            self._scroll_update(size)
        if round(self.scroll_y) != top:
            self.scroll_y = top
            self.scroll_target_y = self.scroll_y
        self.following = self.scroll_offset.y >= self.max_scroll_y
        self._arranging = False
        if self._filling is None and document.nearest_unbuilt(top) is not None:
            self._filling = self.set_timer(PAUSE_SECONDS, self._fill)

    def _fill(self) -> None:
        """Build turns out of sight for a moment, nearest first."""
        self._filling = None
        document = self._document
        top = self.scroll_offset.y
        until = perf_counter() + SLICE_SECONDS
        # The scrollbar is not to move away from under the pointer.
        grabbed = self.is_vertical_scrollbar_grabbed
        while not grabbed and perf_counter() < until and (index := document.nearest_unbuilt(top)) is not None:
            above = document.top(index) < top
            grown = self._build(index)
            top += grown if above else 0
        self._arrange(top)

    def _dirty(self, first: int, last: int) -> None:
        """Repaint rows of the document, as far as they are in sight."""
        top = self.scroll_offset.y
        first, last = max(first - top, 0), min(last - top, self.size.height)
        if first < last:
            self.refresh(Region(0, first, self.size.width, last - first))

    # What the user and Textual do

    def scroll_to(self, *args: Any, **options: Any) -> None:
        """Scroll at once: rows that get their true height on the way would disturb an animation."""
        super().scroll_to(*args, **options | {"animate": False})

    def action_scroll_end(self) -> None:
        """Scroll to the end and stay there."""
        self.follow()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end when it comes in sight, and give rows to what does."""
        super().watch_scroll_y(old_value, new_value)
        if not self._arranging:
            self.following = round(new_value) >= self.max_scroll_y
            self._arrange()

    def on_resize(self) -> None:
        """Wrap for the new width, or keep the end in sight at a new height."""
        self._redraw()

    def watch_marks(self) -> None:
        """Paint anew."""
        self._redraw()

    def watch_markdown(self) -> None:
        """Show ended turns in the other form."""
        self._redraw()

    def watch_hint(self) -> None:
        """Show the other hint."""
        self._redraw()

    def watch_thinking(self) -> None:
        """Fold or unfold."""
        self._redraw()

    def watch_selected(self, old: str | None, new: str | None) -> None:
        """Mark the turn and bring it into sight."""
        self.selected_round = None
        for turn_id in (old, new):
            if (index := self._document.index(turn_id)) is not None:
                self._rebuild(index)
        if (index := self._document.index(new)) is not None:
            self._reveal(self._document.top(index), self._document.top(index) + self._document.blocks[index].height - 1)

    def watch_selected_round(self) -> None:
        """Show the round and bring it into sight."""
        index = self._document.index(self.selected)
        if index is None:
            return
        self._rebuild(index)
        block = self._document.blocks[index]
        start, end = block.span(self.selected_round)
        if end:
            top = self._document.top(index)
            self._reveal(top + block.row_of(start), top + block.row_of(end) + 1)

    def _reveal(self, first: int, last: int) -> None:
        """Scroll as little as needed to bring rows of the document into sight, the first of them in any case."""
        top, height = self.scroll_offset.y, self.size.height
        y = min(max(top, last - height), first)
        if y != top:
            self.scroll_y = self.scroll_target_y = y

    def notify_style_update(self) -> None:
        """Forget styles of the theme before."""
        super().notify_style_update()
        self._palette.clear()
        self._strips.clear()

    def selection_updated(self, selection: Selection | None) -> None:
        """Paint what is selected with the mouse."""
        self._strips.clear()
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The source text that is selected."""
        text = selected_text(selection, [block.turn.text for block in self._document.blocks])
        return (text, "\n") if text else None

    async def _on_click(self, event: events.Click) -> None:
        """One click on a token picks its round, two select the word, three the turn."""
        _, pointed = self.screen.get_widget_and_offset_at(event.screen_x, event.screen_y)
        dragged = event.chain == 1 and self.text_selection is not None
        if dragged or pointed is None or pointed.y >= len(self._document.blocks):
            return
        index = pointed.y
        block = self._document.blocks[index]
        if event.chain > 1:
            event.prevent_default()
            start, end = word_at(block.turn.text, pointed.x) if event.chain == 2 else (0, len(block.turn.text))
            self.screen.selections = {self: Selection(Offset(start, index), Offset(end, index))}
        elif not isinstance(pointed.x, Place) and (picked := block.runs.round_at(pointed.x)) is not None:
            self.post_message(self.RoundPicked(block.turn.id, picked))
