"""The two ways to choose on the pairs screen: from a list of rows, and a context from a line with what it costs below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import OptionList

from specchat.tui.screens import pairs_text
from specchat.tui.screens.pairs_offers import Offer
from specdec.memory import Memory


class Rows(OptionList):
    """A list whose highlighted row is the choice: a click highlights, and Enter belongs to the screen."""

    DEFAULT_CSS = """
    Rows { border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
    Rows:focus { border: none; background-tint: transparent; }
    Rows > .option-list--option-hover { background: $boost; }
    Rows > .option-list--option-highlighted { background: $panel; color: $foreground; text-style: none; }
    Rows:focus > .option-list--option-highlighted { background: $primary-muted; color: $foreground; text-style: none; }
    """
    POINTER = "▸ "

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._texts: list[Content] = []
        self._shown: int | None = None

    @property
    def moved_to(self) -> int | None:
        """The row the user has moved to since the rows were last shown; the message that says so may still be on its way."""
        return None if self.highlighted == self._shown else self.highlighted

    @property
    def row_width(self) -> int:
        """Cells of a row's text."""
        return max(20, self.scrollable_content_region.width - len(self.POINTER) - 1)

    def show(self, lines: Sequence[Content], highlighted: int) -> None:
        """Replace the rows' text, and the rows themselves where there are more or fewer."""
        if len(lines) != self.option_count:
            self._texts = []
            self.clear_options().add_options(lines)
        self._texts = list(lines)
        self.highlighted = self._shown = highlighted
        for index in range(len(lines)):
            self._point(index)

    def watch_highlighted(self, highlighted: int | None) -> None:
        super().watch_highlighted(highlighted)
        for index in range(len(self._texts)):
            self._point(index)

    def _point(self, index: int) -> None:
        """Write a row anew, with the pointer if it is the highlighted one."""
        first, *rest = self._texts[index].split("\n")
        pointer = self.POINTER if index == self.highlighted else "  "
        rows = [Content.assemble(pointer, first), *(Content.assemble("  ", line) for line in rest)]
        self.replace_option_prompt_at_index(index, Content("\n").join(rows))

    def on_resize(self) -> None:
        self.scroll_to_highlight()

    @on(OptionList.OptionSelected)
    def _clicked(self, selected: OptionList.OptionSelected) -> None:
        selected.stop()


class ContextPicker(Widget, can_focus=True):
    """A line of context lengths, and what the pair needs in memory at the picked one."""

    DEFAULT_CSS = """
    ContextPicker { height: auto; padding: 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Shorter", show=False, id="pairs.shorter", tooltip="A shorter context"),
        Binding("right", "step(1)", "Longer", show=False, id="pairs.longer", tooltip="A longer context"),
        Binding("up", "app.focus_previous", "Drafts", show=False, id="pairs.up", tooltip="Back to the drafts"),
    ]

    content: reactive[tuple[Sequence[int], Sequence[int], int, Offer, Memory] | None] = reactive(None, layout=True)

    class Picked(Message):
        """Another context was picked, in tokens."""

        def __init__(self, context: int) -> None:
            super().__init__()
            self.context = context

    def show(self, lengths: Sequence[int], fitting: Sequence[int], picked: int, offer: Offer, memory: Memory) -> None:
        """Offer these lengths in tokens, those in `fitting` as possible, and show the need of the picked one."""
        self.content = (lengths, fitting, picked, offer, memory)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The rows at a width, which is not yet the one that `render` goes by."""
        return self._lines(width).get_height({}, width)

    def render(self) -> Content:
        return self._lines(self.content_size.width)

    def _lines(self, width: int) -> Content:
        if self.content is None:
            return Content("")
        lengths, fitting, picked, offer, memory = self.content
        line = pairs_text.context_line(lengths, fitting, picked, self.has_focus)
        return Content("\n").join([line, Content(""), pairs_text.memory_lines(offer, memory, max(20, width))])

    def action_step(self, step: int) -> None:
        """Pick the neighbouring length."""
        if self.content is not None:
            lengths, _, picked, _, _ = self.content
            index = lengths.index(picked) + step
            if 0 <= index < len(lengths):
                self.post_message(self.Picked(lengths[index]))

    def on_click(self, click: events.Click) -> None:
        length = click.style.meta.get(pairs_text.CONTEXT)
        if length is not None:
            self.post_message(self.Picked(length))
