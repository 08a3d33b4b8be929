"""The help: keys and commands as they are in force, the token marks, and the words of the statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import ClassVar, get_args

from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label, Static

from specchat.marks import MARKS
from specchat.tui.actions import ACTIONS, Action, Group
from specchat.tui.keys import effective_keys, key_text
from specchat.tui.widgets.styles import MUTED, STRONG, mark_style
from specdec.events import Source

Entry = tuple[Content, Content, Content]
NAMES_FROM = 90
NAMES_WIDTH = 18

MARK_HELP: dict[Source, str] = {
    "draft": "The draft model guessed it and the target confirmed it.",
    "ngram": "It was looked up in the conversation and the target confirmed it.",
    "corrected": "The target's own token where a guess was refused.",
    "bonus": "The target's own token after all guesses of a round were accepted.",
    "target": "Decoded by the target without a guess.",
}
STATISTICS_HELP: dict[str, str] = {
    "tok/s": "Tokens of the answer in a second, counted without the prompt.",
    "x plain": "How many times faster than without drafts; only /compare measures it.",
    "first token": "Time from sending the prompt to the first token.",
    "rounds": "Passes of the target, each checking the guesses and adding one token.",
    "tokens/round": "What a pass of the target yields; 1 is plain decoding.",
    "accepted/tested": "Guesses that stayed, of those compared up to the first refusal of their round.",
    "by position": "The same for the first, second, ... guess of a round.",
    "discarded after EOS": "Tokens decoded behind the end of the answer, and dropped.",
    "draft, verify": "Time spent on guessing and on the target's passes.",
    "context": "Tokens of the conversation, and how many the pair can hold.",
    "memory": "What the loaded pair takes.",
}
KEYS_HELP = (
    'Under [keys] in settings.toml, retry = "ctrl+t" gives an action other keys and quit = "none" takes them away; '
    "the names of the actions stand in the last column where the screen is wide."
)


class Entries(Widget):
    """A table: names, what they mean, and in a wide place a word at the end of the row."""

    DEFAULT_CSS = """
    Entries { height: auto; }
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._entries = entries

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The rows at a width."""
        return len(list(self._rows(width)))

    def render(self) -> RenderResult:
        """All rows."""
        return Content("\n").join(self._rows(self.content_size.width))

    def _rows(self, width: int) -> Iterator[Content]:
        first = max(1, min(34, width * 2 // 5))
        last = NAMES_WIDTH if width >= NAMES_FROM and any(word for _, _, word in self._entries) else 0
        middle = max(1, width - first - last)
        for left, right, word in self._entries:
            columns = left.wrap(first - 1), right.wrap(middle - 1), [word] if last else []
            for cells in zip_longest(*columns, fillvalue=Content()):
                yield Content().join(
                    cell.pad_right(max(0, wide - cell.cell_length)) for cell, wide in zip(cells, (first, middle, last), strict=True)
                )


class HelpScreen(ModalScreen[None]):
    """Everything there is to press, type and read; `keys` are the user's own, by action id."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="help.close", tooltip="Go back to the conversation."),
        Binding("f1", "close", "Close", id="help", tooltip="Go back to the conversation."),
    ]
    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & #box { width: 108; max-width: 100%; height: auto; max-height: 100%; border: round $primary; background: $surface; padding: 0 1; }
        & #box { border-title-color: $foreground; border-title-style: bold; border-subtitle-color: $foreground-muted; }
        & #help { height: auto; max-height: 100%; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
        & .group { width: 1fr; margin-top: 1; color: $text-primary; text-style: bold; }
        & .group.-first { margin-top: 0; }
        & .note { color: $text-muted; }
    }
    """

    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__()
        self._keys = effective_keys(keys)

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = "Help"
            box.border_subtitle = "Esc closes"
            with VerticalScroll(id="help"):
                for number, group in enumerate(get_args(Group)):
                    note = f", while one is selected ({key_text(self._keys['select_previous'])})" if group == "Message" else ""
                    yield Label(f"{group}{note}", classes="group" if number else "group -first", markup=False)
                    yield Entries([_entry(action, self._keys) for action in ACTIONS if action.group == group])
                yield Static(KEYS_HELP, classes="note group", markup=False)
                yield Label("Token marks", classes="group")
                yield Entries(
                    [
                        (Content.styled(mark.label, mark_style(source)), Content(MARK_HELP[source]), Content())
                        for source, mark in MARKS.items()
                    ]
                )
                yield Label("Statistics", classes="group")
                yield Entries([(Content.styled(word, STRONG), Content(sentence), Content()) for word, sentence in STATISTICS_HELP.items()])

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)


def _entry(action: Action, keys: Mapping[str, str]) -> Entry:
    command = f"/{action.slash} {action.arguments}".rstrip() if action.slash else ""
    pressed = key_text(keys[action.id])
    names = Content.assemble((pressed, STRONG), "  " if pressed and command else "", (command, "$text-accent"))
    return names, Content(action.help), Content.styled(action.id, MUTED)
