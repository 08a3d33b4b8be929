"""Where the user writes: a text of up to eight rows, the prompts typed before, and the slash commands that fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.actions import SkipAction
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Key
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import TextArea
from textual.widgets.text_area import EditResult

from specchat.tui.actions import ACTIONS, Action, commands_beginning
from specchat.tui.keys import bindings, effective_keys
from specchat.tui.widgets.styles import MUTED, WARNING
from specchat.visible import C0, C1, DELETE, DIRECTION, SURROGATES
from specdec.events import Counted

PLACEHOLDER = "Ask something, or / for the commands"
SUGGESTED = 6
NEARLY_FULL = 0.9
# One character for one, so that the cursor stays where the text is.
ONE_CELL = C0 | DELETE | dict.fromkeys((*C1, *DIRECTION, *SURROGATES), "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class Completion:
    """Slash commands that fit what is typed, and which of them Tab has put in; none of them for -1."""

    commands: tuple[tuple[str, Action], ...] = ()
    chosen: int = -1


class Prompt(TextArea):
    """The prompt; it posts `Submitted` with its text and is empty then, since the next letters may be there already.

    `earlier` are the prompts typed before, oldest first. What was typed comes back when the user walks back from them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("prompt"),
        Binding("tab", "complete", "Complete", show=False, id="complete", tooltip="Complete a slash command."),
    ]
    DEFAULT_CSS = """
    Prompt {
        height: auto;
        min-height: 3;
        max-height: 10;
        border: round $border-blurred;
        background: transparent;
        padding: 0 1;
        &:focus { border: round $border; }
        & .text-area--cursor-line { background: transparent; }
        & .text-area--placeholder { color: $text-muted; }
    }
    """

    completion: reactive[Completion] = reactive(Completion())

    @dataclass
    class Submitted(Message):
        """The user wants the text sent."""

        text: str

    def __init__(self, earlier: list[str] | None = None) -> None:
        super().__init__(placeholder=PLACEHOLDER, highlight_cursor_line=False)
        self.earlier = [] if earlier is None else earlier
        self._back = 0
        self._edits: dict[int, str] = {}
        self._actions: dict[str, str] = {}
        self.set_keys({})

    def set_keys(self, keys: dict[str, str]) -> None:
        """Take the user's keys, by action id, in place of the registry's."""
        effective = effective_keys(keys)
        own = [action.id for action in ACTIONS if action.where == "prompt"]
        self._actions = {key: action_id for action_id in own for key in effective[action_id].split(",") if key}

    async def _on_key(self, event: Key) -> None:
        action_id = self._actions.get(event.key)
        if action_id is not None:
            event.stop()
            event.prevent_default()
            self.action_do(action_id)

    def submit(self) -> None:
        """Ask for the text to be sent, if there is any, and make room for the next."""
        if self.text.strip():
            self.post_message(self.Submitted(self.text))
            self.clear()

    def take(self, text: str) -> None:
        """Put in what was typed while the focus was elsewhere, and get the focus."""
        self._replace_via_keyboard(text, *self.selection)
        self.focus()

    def show_count(self, counted: Counted | None, way_out: str = "") -> None:
        """Say below the text how many tokens the conversation has with it; `way_out` is what to do if they are too many."""
        if counted is None:
            self.border_subtitle = None
            return
        tokens, context = counted.tokens, counted.context
        shown = f"{tokens:,} of {context:,} tokens"
        if tokens >= context:
            self.border_subtitle = Content.styled(f"{shown}: too long, {way_out}", "bold $text-error")
        elif tokens >= NEARLY_FULL * context:
            self.border_subtitle = Content.styled(f"{shown}: nearly full", WARNING)
        else:
            self.border_subtitle = Content.styled(shown, MUTED)

    def give_back(self, text: str, chosen: bool = False) -> None:
        """Put a text that could not be used before what was typed since; if it is `chosen`, the next letter replaces it."""
        since = self.text
        self.load_text("\n".join(filter(None, (text, since))))
        if chosen and not since:
            self.select_all()

    def load_text(self, text: str) -> None:
        """Put another text in its place, the cursor at its end, and leave the earlier prompts."""
        super().load_text(text)
        self.move_cursor(self.document.end)
        self._leave_earlier()

    def clear(self) -> EditResult:
        """Empty it, in a way that can be undone, and leave the earlier prompts."""
        self._leave_earlier()
        return super().clear()

    def action_do(self, action_id: str) -> None:
        """Carry out one of the registry's actions for the prompt."""
        match action_id:
            case "send":
                self.submit()
            case "newline":
                self.action_newline()
            case "history_previous":
                self.action_history_previous()
            case "history_next":
                self.action_history_next()

    def action_newline(self) -> None:
        """Begin a new line."""
        self._replace_via_keyboard("\n", *self.selection)

    def action_history_previous(self) -> None:
        """Recall the prompt before; below the first row, move up."""
        if not self.navigator.is_first_wrapped_line(self.cursor_location):
            self.action_cursor_up()
        elif self._back < len(self.earlier):
            self._walk(self._back + 1)
            self.move_cursor((0, len(self.document[0])))

    def action_history_next(self) -> None:
        """Recall the prompt after, in the end what was being typed; above the last row, move down."""
        if not self.navigator.is_last_wrapped_line(self.cursor_location):
            self.action_cursor_down()
        elif self._back > 0:
            self._walk(self._back - 1)
            self.move_cursor(self.document.end)

    def action_complete(self) -> None:
        """Complete a slash command; once more takes the next that fits."""
        commands = self.completion.commands
        argument_begun = self.completion.chosen < 0 and any(map(str.isspace, self.text))
        if not commands or argument_begun:
            raise SkipAction
        chosen = (self.completion.chosen + 1) % len(commands)
        slash, action = commands[chosen]
        self.completion = Completion(commands, chosen)
        self._put(f"/{slash} " if action.arguments else f"/{slash}")

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: control characters are shown, not obeyed."""
        return Text(self.document.get_line(line_index).translate(ONE_CELL), end="", no_wrap=True)

    def update_suggestion(self) -> None:
        """Look anew for the slash commands that fit; what Tab has put in changes nothing."""
        commands, chosen = self.completion.commands, self.completion.chosen
        if chosen < 0 or self.text.rstrip(" ") != f"/{commands[chosen][0]}":
            self.completion = Completion(tuple(commands_beginning(self.text)))

    def _walk(self, back: int) -> None:
        self._edits[self._back] = self.text
        self._back = back
        self._put(self._edits.get(back, self.earlier[-back] if back else ""))

    def _leave_earlier(self) -> None:
        self._back = 0
        self._edits.clear()

    def _put(self, text: str) -> None:
        """Replace the text in a way that can be undone."""
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)


class Suggestions(Widget):
    """The slash commands that fit the screen's prompt, in the rows above it, while one is being typed."""

    DEFAULT_CSS = """
    Suggestions {
        height: auto;
        padding: 0 2;
        color: $text-muted;
        display: none;
        &.-some { display: block; }
    }
    """

    completion: reactive[Completion] = reactive(Completion(), layout=True)

    def on_mount(self) -> None:
        self.watch(self.screen.query_one(Prompt), "completion", self._follow)

    def _follow(self, completion: Completion) -> None:
        self.completion = completion
        self.set_class(bool(completion.commands), "-some")

    def render(self) -> RenderResult:
        """One command a row, the chosen one marked; at the end how many more there are."""
        commands, chosen = self.completion.commands, self.completion.chosen
        first = max(chosen, 0) // SUGGESTED * SUGGESTED
        page = commands[first : first + SUGGESTED]
        calls = [f"/{slash} {action.arguments}".rstrip() for slash, action in page]
        width = max(map(len, calls), default=0)
        rows = [
            Content.assemble(
                ("▸ " if index == chosen else "  ", "bold"),
                (f"{call:<{width}}", "bold $text" if index == chosen else "$text"),
                f"  {action.help}",
            ).truncate(max(self.size.width, 1), ellipsis=True)
            for index, (call, (_, action)) in enumerate(zip(calls, page, strict=True), first)
        ]
        if more := len(commands) - len(page):
            rows.append(Content(f"  {more} more; Tab walks through them"))
        return Content("\n").join(rows)
