"""Asks in which format and where to write the conversation, and writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList
from textual.widgets.option_list import Option

from specchat.export import FORMATS, Format
from specchat.export.errors import ExistsError
from specchat.export.files import export_path, target_path, write_file
from specchat.transcript import Session
from specchat.tui.widgets.styles import MUTED
from specchat.visible import visible
from specdec.errors import SpecError

NAME_WIDTH = max(map(len, FORMATS)) + 2


class ExportScreen(ModalScreen[Path | None]):
    """Formats above the path to write to; ends with the file that was written, or None.

    The screenshot is taken when this is made, so that it shows what lies below. A relative path starts at the folder.
    """

    class Written(Message):
        """The file is there."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class Failed(Message):
        """The file could not be written."""

        def __init__(self, error: SpecError) -> None:
            super().__init__()
            self.error = error

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Format above", id="export.up", tooltip="Choose the format above."),
        Binding("down", "choose(1)", "Format below", id="export.down", tooltip="Choose the format below."),
        Binding("escape", "close", "Close", id="export.close", tooltip="Keep the file that is in the way, or close without writing."),
    ]
    DEFAULT_CSS = """
    ExportScreen {
        align: center middle;
        & > Vertical {
            width: 90%;
            max-width: 72;
            height: auto;
            max-height: 100%;
            padding: 0 1;
            background: $surface;
            border: round $primary;
            border-title-color: $foreground;
            border-title-style: bold;
            border-subtitle-color: $text-muted;
        }
        & OptionList {
            height: auto;
            padding: 0;
            background: $surface;
            border: none;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        & Input {
            margin-top: 1;
            background: $panel;
        }
        & Label { width: 100%; }
        & #export-folder { color: $text-muted; }
    }
    """

    def __init__(self, session: Session, folder: Path, screenshot: Callable[[], str]) -> None:
        super().__init__()
        picture = screenshot()
        self._session = session
        self._folder = folder
        self._formats = (*FORMATS.values(), Format("svg", ".svg", "The screen as it is seen", lambda _: picture))
        self._format = self._formats[0]
        self._list = OptionList(*(Option(_line(format_)) for format_ in self._formats))
        self._list.can_focus = False
        self._path = Input(str(export_path(session, self._format.suffix, Path())), select_on_focus=False, compact=True)
        self._status = Label(markup=False)
        self._question = _Question()

    def compose(self) -> ComposeResult:
        """The formats, the path, the folder it starts at, and what is in the way."""
        with Vertical() as box:
            box.border_title = "Export the conversation"
            box.border_subtitle = "↑↓ format · Enter write · Esc close"
            yield self._list
            yield self._path
            yield Label(visible(f"in {self._folder}"), id="export-folder", markup=False)
            yield self._status
            yield self._question

    def on_mount(self) -> None:
        """Begin with the first format, in the path."""
        self._list.highlighted = 0
        self._path.focus()

    def action_choose(self, step: int) -> None:
        """Choose the format above or below."""
        self._list.highlighted = ((self._list.highlighted or 0) + step) % len(self._formats)

    def action_close(self) -> None:
        """Take back the question if there is one, or else end without a file."""
        if self._question.display:
            self._ask(False)
        else:
            self.dismiss(None)

    @on(OptionList.OptionHighlighted)
    def _chosen(self, event: OptionList.OptionHighlighted) -> None:
        """Give the path the suffix of the format, if it had that of the one before."""
        before, self._format = self._format, self._formats[event.option_index]
        if self._path.value.endswith(before.suffix):
            self._path.value = self._path.value.removesuffix(before.suffix) + self._format.suffix
            self._path.cursor_position = len(self._path.value)

    @on(OptionList.OptionSelected)
    def _clicked(self) -> None:
        self._path.focus()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._ask(False)
        self._status.update("")

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._start(overwrite=False)

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        self._ask(False)
        if event.button.id == "overwrite":
            self._start(overwrite=True)

    def _start(self, overwrite: bool) -> None:
        """Write in a thread, from a copy that the answer under way does not reach."""
        turns = {name: replace(turn, rounds=list(turn.rounds)) for name, turn in self._session.turns.items()}
        session, format_, typed = replace(self._session, turns=turns), self._format, self._path.value.strip()
        self._status.update("Writing")
        self.run_worker(lambda: self._write(session, format_, typed, overwrite), thread=True, exclusive=True)

    def _write(self, session: Session, format_: Format, typed: str, overwrite: bool) -> None:
        path = target_path(session, format_.suffix, typed, self._folder)
        try:
            write_file(path, format_.write(session), overwrite)
        except SpecError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Written(path))

    @on(Written)
    def _written(self, event: Written) -> None:
        self.dismiss(event.path)

    @on(Failed)
    def _failed(self, event: Failed) -> None:
        if isinstance(event.error, ExistsError):
            self._status.update("It exists already.")
            self._ask(True)
        else:
            self._status.update(Content.styled(visible(str(event.error)), "bold $text-error"))

    def _ask(self, asking: bool) -> None:
        """Show the question and go to its careful answer, or hide it and go back to the path."""
        if asking:
            self._question.display = True
            self._question.query_one("#keep", Button).focus()
        elif self._question.display:
            self._question.display = False
            self._status.update("")
            self._path.focus()


class _Question(Horizontal):
    """Whether the file in the way is replaced; answered by its buttons or their letters."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('overwrite')", "Overwrite", id="export.overwrite", tooltip="Replace the file."),
        Binding("n", "answer('keep')", "Keep", id="export.keep", tooltip="Keep the file and choose another name."),
        Binding("left", "reach('keep')", "Left", id="export.left", tooltip="Go to the answer at the left."),
        Binding("right", "reach('overwrite')", "Right", id="export.right", tooltip="Go to the answer at the right."),
    ]
    DEFAULT_CSS = """
    _Question {
        height: 1;
        display: none;
        & Label { width: auto; }
        & Button {
            width: auto;
            min-width: 0;
            margin-left: 2;
        }
    }
    """

    def compose(self) -> ComposeResult:
        yield Label("Overwrite?")
        yield Button("Keep (n)", id="keep", compact=True)
        yield Button("Overwrite (y)", id="overwrite", variant="warning", compact=True)

    def action_answer(self, button: str) -> None:
        """Press a button by its id."""
        self.query_one(f"#{button}", Button).press()

    def action_reach(self, button: str) -> None:
        """Go to a button by its id."""
        self.query_one(f"#{button}", Button).focus()


def _line(format_: Format) -> Content:
    return Content.assemble((f"{format_.name:<{NAME_WIDTH}}", "bold"), (format_.title, MUTED))
