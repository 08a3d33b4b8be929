"""One of a few values, picked with the left and right arrows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from specchat.tui.widgets.styles import MUTED


class Choice(Widget, can_focus=True):
    """All values in a row with the chosen one marked; where there is no room for that, the chosen one alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Before", id="choice.before", tooltip="Take the value before."),
        Binding("right,space,enter", "step(1)", "Next", id="choice.next", tooltip="Take the next value."),
    ]
    DEFAULT_CSS = """
    Choice {
        width: 1fr;
        height: 1;
        color: $text-muted;
        &:focus { color: $text; }
    }
    """

    value: reactive[str] = reactive("")

    @dataclass
    class Changed(Message):
        """Another value was chosen."""

        choice: Choice
        value: str

        @property
        def control(self) -> Choice:
            """The choice that changed."""
            return self.choice

    def __init__(self, values: Sequence[str], value: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.values = list(dict.fromkeys((*values, value)))
        self.set_reactive(Choice.value, value)

    @property
    def in_a_row(self) -> bool:
        """Whether there is room for all values."""
        return sum(len(each) + 4 for each in self.values) - 2 <= self.size.width

    def watch_value(self, value: str) -> None:
        """Tell of the change."""
        self.post_message(self.Changed(self, value))

    def render(self) -> RenderResult:
        """The values, or the chosen one between arrows with its place among them."""
        style = "bold reverse" if self.has_focus else "bold $foreground"
        if not self.in_a_row:
            place = f"{self.values.index(self.value) + 1} of {len(self.values)}"
            return Content.assemble("◂ ", (f" {self.value} ", style), " ▸  ", (place, MUTED))
        return Content("  ").join(
            Content.styled(f"● {each}", style) if each == self.value else Content(f"○ {each}") for each in self.values
        )

    def action_step(self, by: int) -> None:
        """Take a value further along, around the ends."""
        self.value = self.values[(self.values.index(self.value) + by) % len(self.values)]

    def on_click(self, event: events.Click) -> None:
        """Take the value under the mouse, or the next one."""
        if not self.in_a_row:
            self.action_step(-1 if event.x < 2 else 1)
            return
        end = 0
        for each in self.values:
            end += len(each) + 4
            if event.x < end:
                self.value = each
                return
