"""All settings on one screen: typed or picked, checked at once, kept on saving only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, get_args

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Static, TextArea

from specchat.settings import Dtype, Marks, Settings, flatten
from specchat.settings_file import set_value, value_text
from specchat.tui.widgets.choice import Choice
from specchat.visible import visible
from specdec.errors import UsageError
from specdec.options import DraftChoice, ExactChoice

LOSSY = "Lossy: the answer may differ from the target's own. The other two rules never change it."


@dataclass(frozen=True)
class Row:
    """One setting on the screen; without `values` it is typed, and `empty` stands where nothing is, or for the empty value."""

    name: str
    label: str
    hint: str
    values: tuple[str, ...] = ()
    empty: str = "the model's own"


ROWS: dict[str, tuple[Row, ...]] = {
    "Sampling": (
        Row("sampling.temperature", "Temperature", "0 takes the likeliest token, more varies more"),
        Row("sampling.top_k", "Top-k", "The k likeliest tokens; 0 takes all"),
        Row("sampling.top_p", "Top-p", "The likeliest tokens that make up this share"),
        Row("sampling.min_p", "Min-p", "Tokens this likely, against the likeliest one"),
        Row("sampling.repetition_penalty", "Repetition penalty", "Above 1 discourages repetition"),
        Row("sampling.seed", "Seed", "The same seed gives the same answer", empty="new each answer"),
    ),
    "Answer": (
        Row("max_tokens", "Longest answer", "In tokens", empty="no limit"),
        Row("thinking", "Thinking", "Let the model reason first, if it can", ("auto", "on", "off")),
        Row("system", "System prompt", "What new conversations begin with", empty="none"),
    ),
    "Drafting": (
        Row("drafting.draft", "Who drafts", "auto measures, and picks round by round", get_args(DraftChoice)),
        Row("drafting.draft_tokens", "Draft tokens", "In a round, up to 15", empty="controller's pick"),
        Row("drafting.accept", "Accept rule", "What lets a drafted token stay", ("coupled", "rejection", "threshold")),
        Row("exact", "Exact mode", "The same bits with and without drafts", get_args(ExactChoice)),
        Row("dtype", "Precision", "int8 takes less memory; its text is another", get_args(Dtype), empty="the pair's own"),
    ),
    "View": (
        Row("view.marks", "Token marks", "Where each token came from", get_args(Marks)),
        Row("view.markdown", "Markdown", "For settled messages", ("on", "off")),
        Row("view.statistics", "Statistics", "The panel, where there is room", ("on", "off")),
        Row("view.theme", "Theme", "Shown at once"),
    ),
}


class Field(Vertical):
    """One setting: its label, what changes it, a hint, and below them what is wrong with the value."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "Up", id="field.up", tooltip="Go to the setting above.", show=False),
        Binding("down", "app.focus_next", "Down", id="field.down", tooltip="Go to the setting below.", show=False),
    ]
    DEFAULT_CSS = """
    Field {
        height: auto;
        & Horizontal { height: auto; }
        & .label { width: 20; }
        & .control { width: 45; height: auto; }
        & .hint { width: 1fr; height: auto; color: $text-muted; }
        & Input { width: 1fr; max-width: 20; background: $panel; }
        & Input.-part { width: 8; margin: 0 1; }
        & TextArea { width: 1fr; height: 4; padding: 0; margin-right: 2; background: $panel; }
        & .wrong { height: auto; padding-left: 20; color: $text-error; text-style: bold; display: none; }
        & .lossy { height: auto; padding-left: 20; color: $text-warning; text-style: bold; display: none; }
        &.-wrong .wrong, &.-lossy .lossy { display: block; }
    }
    """

    def __init__(self, row: Row, value: str) -> None:
        super().__init__()
        self.row = row
        self._value = value

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label(self.row.label, classes="label")
            with Horizontal(classes="control"):
                yield from self._controls()
            yield Label(self.row.hint, classes="hint")
        yield Static(classes="wrong", markup=False)
        if self.row.name == "drafting.accept":
            yield Static(LOSSY, classes="lossy")

    def _controls(self) -> Iterator[Input | TextArea | Choice]:
        if self.row.name == "drafting.accept":
            rule, _, limit = self._value.partition(":")
            yield Choice(self.row.values, rule)
            yield Input(limit or "0.3", compact=True, classes="-part")
        elif self.row.name == "system":
            yield TextArea(self._value, compact=True, placeholder=self.row.empty)
        elif self.row.name == "view.theme":
            yield Choice(sorted(self.app.available_themes), self._value)
        elif self.row.values:
            yield Choice([value or self.row.empty for value in self.row.values], self._value or self.row.values[0] or self.row.empty)
        else:
            yield Input(self._value, placeholder=self.row.empty, compact=True)

    def on_mount(self) -> None:
        self._show_part()

    @property
    def text(self) -> str:
        """The value as a user types it."""
        if self.row.name == "system":
            return self.query_one(TextArea).text
        if not self.query(Choice):
            return self.query_one(Input).value
        chosen = self.query_one(Choice).value
        if chosen == "threshold":
            return f"threshold:{self.query_one(Input).value}"
        return "" if chosen == self.row.empty else chosen

    def say(self, wrong: str) -> None:
        """Show what is wrong with the value; nothing for an empty text."""
        self.query_one(".wrong", Static).update(visible(wrong))
        self.set_class(bool(wrong), "-wrong")

    @on(Choice.Changed)
    def _show_part(self) -> None:
        if self.row.name == "drafting.accept":
            lossy = self.query_one(Choice).value == "threshold"
            self.query_one(Input).display = lossy
            self.set_class(lossy, "-lossy")


class SettingsScreen(ModalScreen[Settings | None]):
    """Change the settings; gives the changed ones, or `None` if the user leaves. `path` is where they are kept."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", id="settings.save", tooltip="Keep the settings.", priority=True),
        Binding("escape", "leave", "Leave", id="settings.leave", tooltip="Leave the settings as they were.", priority=True),
    ]
    DEFAULT_CSS = """
    SettingsScreen {
        align: center middle;
        & #box { width: 116; max-width: 100%; height: auto; max-height: 100%; border: round $primary; background: $surface; padding: 0 1; }
        & #box { border-title-color: $foreground; border-title-style: bold; }
        & #fields { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
        & #hint { display: none; height: auto; }
        &.-narrow #hint { display: block; }
        &.-narrow .hint { display: none; }
        &.-narrow .control { width: 1fr; }
        & .group { margin-top: 1; color: $text-primary; text-style: bold; }
        & .group.-first { margin-top: 0; }
        & #foot { dock: bottom; height: auto; border-top: solid $panel; }
        & #where { height: auto; color: $text-muted; }
        & #buttons { height: 1; align-horizontal: right; }
        & Button { margin-left: 2; }
    }
    """

    def __init__(self, settings: Settings, path: Path) -> None:
        super().__init__()
        self._settings = settings
        self._path = path

    def compose(self) -> ComposeResult:
        values = flatten(self._settings)
        with Vertical(id="box") as box:
            box.border_title = "Settings"
            with VerticalScroll(id="fields", can_focus=False):
                for number, (group, rows) in enumerate(ROWS.items()):
                    yield Label(group, classes="group" if number else "group -first")
                    for row in rows:
                        yield Field(row, value_text(values[row.name]))
            with Vertical(id="foot"):
                yield Static(id="hint", markup=False)
                yield Static(
                    f"Kept in {visible(_short(self._path))}. A change of exact mode or precision needs the pair loaded anew.",
                    id="where",
                    markup=False,
                )
                with Horizontal(id="buttons"):
                    yield Button("Save  Ctrl+S", id="save", variant="primary", compact=True)
                    yield Button("Leave  Esc", id="leave", compact=True)

    def on_mount(self) -> None:
        self._theme_before = self.app.theme

    @on(DescendantFocus)
    def _show_hint(self, event: DescendantFocus) -> None:
        field = _field_of(event.widget)
        self.query_one("#hint", Static).update(f"{field.row.label}: {field.row.hint}" if field else "")

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Choice.Changed)
    def _check(self, event: Input.Changed | TextArea.Changed | Choice.Changed) -> None:
        field = _field_of(event.control)
        assert field is not None
        self._with(field, self._settings)
        if field.row.name == "view.theme":
            self.app.theme = field.text

    @on(Button.Pressed, "#save")
    def action_save(self) -> None:
        """Give the settings back, or go to the first value that is wrong."""
        settings = self._settings
        for field in self.query(Field):
            settings = self._with(field, settings)
        wrong = self.query(".-wrong").first(Field) if self.query(".-wrong") else None
        if wrong is None:
            self.dismiss(settings)
        else:
            wrong.query_one(Input).focus()

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Leave everything as it was."""
        self.app.theme = self._theme_before
        self.dismiss(None)

    def _with(self, field: Field, settings: Settings) -> Settings:
        """The settings with the value of a field; those as they are, and a sentence in the field, if it is wrong."""
        try:
            settings = set_value(settings, field.row.name, field.text)
        except UsageError as error:
            field.say(error.cause)
        else:
            field.say("")
        return settings


def _field_of(widget: Widget) -> Field | None:
    return next((node for node in widget.ancestors if isinstance(node, Field)), None)


def _short(path: Path) -> str:
    """The path with `~` for the user's home."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
