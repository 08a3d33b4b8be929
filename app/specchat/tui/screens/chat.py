"""The chat: the conversation, the prompt below it and the figures beside it, kept in step with what the engine reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static, TextArea

from specchat.desk import Desk
from specchat.engine_thread import CallJob, ChatJob, Job
from specchat.live import LiveFigures
from specchat.marks import counts
from specchat.replay import Comparison, Step
from specchat.transcript import Turn
from specchat.tui.actions import BY_ID, Command, parse_prompt
from specchat.tui.commands import HANDLERS
from specchat.tui.commands.chat import require_idle
from specchat.tui.counting import PromptCount
from specchat.tui.greeting import greeting
from specchat.tui.hearing import Hearing
from specchat.tui.keys import bindings, effective_keys, key_text, keymap
from specchat.tui.status import status_of
from specchat.tui.transcript.view import Kind, TranscriptView
from specchat.tui.widgets.header import StatusHeader
from specchat.tui.widgets.inspector import RoundInspector
from specchat.tui.widgets.keybar import KeyBar
from specchat.tui.widgets.legend import Legend
from specchat.tui.widgets.prompt import Prompt, Suggestions
from specchat.tui.widgets.statistics import StatisticsLine, StatisticsPanel
from specchat.unexpected import unexpected
from specdec.errors import MemoryShortError, SpecError
from specdec.events import Progress

if TYPE_CHECKING:
    from specchat.tui.app import SpecchatApp

KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Watcher:
    """Who is told of a replay: of each step, and of its end with the error if there was one."""

    step: Callable[[Step], None]
    end: Callable[[SpecError | None], None]


class ChatScreen(Screen[None]):
    """One conversation. `answers` maps the chat jobs under way to the answers they fill."""

    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (40, "-tiny"), (60, "-narrow"), (100, "-wide")]  # noqa: RUF012  (Textual declares no class variable)
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (10, "-low"), (20, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("anywhere")]
    AUTO_FOCUS = "Prompt"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk: Desk = desk
        self.answers: dict[ChatJob, Turn] = {}
        self.figures: LiveFigures | None = None
        self.progress: Progress | None = None
        self.failure: SpecError | None = None
        self.stopping = False
        self.editing: Turn | None = None
        self._set_aside = ""
        self.watchers: dict[CallJob, Watcher] = {}
        self.measured: tuple[str, float] | None = None
        self.copied_block: tuple[str, int] = ("", -1)
        self.asked_to_quit = float("-inf")
        self.count = PromptCount(self)
        self.hearing = Hearing(self)

    def compose(self) -> ComposeResult:
        yield StatusHeader()
        with Horizontal(id="middle"):
            with Vertical(id="conversation"):
                yield TranscriptView()
                yield RoundInspector()
            yield StatisticsPanel()
        yield StatisticsLine()
        yield Legend()
        yield Suggestions()
        yield Prompt(self.specchat.history.entries)
        yield KeyBar()
        yield Static("This terminal is too small.\nspecchat needs 40 x 10.", id="too-small")

    @property
    def specchat(self) -> SpecchatApp:
        """The app, by its own type."""
        return cast("SpecchatApp", self.app)

    @property
    def transcript(self) -> TranscriptView:
        """The conversation as it is shown."""
        return self.query_one(TranscriptView)

    @property
    def prompt(self) -> Prompt:
        """Where the user writes."""
        return self.query_one(Prompt)

    @property
    def answering(self) -> Turn | None:
        """The answer of this conversation that is being decoded or waits for it."""
        turns = self.desk.conversation.session.turns
        return next((answer for answer in self.answers.values() if answer.id in turns), None)

    @property
    def selected(self) -> Turn | None:
        """The message that is selected."""
        return self.desk.conversation.session.turns.get(self.transcript.selected or "")

    def on_mount(self) -> None:
        self.transcript.hint = greeting(self.desk.settings.keys)
        self.show_conversation()
        self.show_settings()
        self.watch(self.transcript, "following", self._tell_below)
        self.watch(self.transcript, "selected", self.refresh_bindings)

    def key(self, action_id: str) -> str:
        """How to call an action: by the first of its keys, else its slash command, else its title among all commands."""
        action = BY_ID[action_id]
        first = effective_keys(self.desk.settings.keys)[action_id].split(",")[0]
        return key_text(first) or (f"/{action.slash}" if action.slash else f"“{action.title}” among the commands")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys of a message to the prompt while the conversation has the focus and no message is selected."""
        unselected = self.focused is self.transcript and self.transcript.selected is None
        return not (action == "do" and unselected and BY_ID[str(parameters[0])].where == "message")

    def on_key(self, event: events.Key) -> None:
        """What is typed elsewhere is meant for the prompt."""
        if event.is_printable and event.character:
            self.prompt.take(event.character)

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted elsewhere is meant for the prompt."""
        if self.focused is not self.prompt:
            self.prompt.take(event.text)

    def action_do(self, action_id: str) -> None:
        """Carry out an action of the registry."""
        self.perform(action_id, "")

    def perform(self, action_id: str, argument: str) -> None:
        """Carry out an action with what stood behind its slash command; an error becomes a line in the conversation."""
        if (error := self._failure_of(lambda: HANDLERS[action_id](self, argument))) is not None:
            self.say(error)

    def _failure_of(self, work: Callable[[], None]) -> SpecError | None:
        """Why some work of the user's failed; an error that nobody foresaw must not end the app either."""
        try:
            work()
        except SpecError as error:
            return error
        except Exception as error:
            return unexpected(error, self.desk.paths.app_log)
        return None

    @on(Prompt.Submitted)
    def _take_prompt(self, event: Prompt.Submitted) -> None:
        if (error := self._failure_of(lambda: self._obey(event.text))) is not None:
            self.say(error)
            self.prompt.give_back(event.text, chosen=event.text.startswith("/"))

    def _obey(self, text: str) -> None:
        taken = parse_prompt(text)
        self._remember(text)
        if isinstance(taken, Command):
            HANDLERS[taken.action.id](self, taken.argument)
        else:
            self.ask(taken)

    @on(TextArea.Changed)
    def _count_again(self) -> None:
        self.count.soon()

    @on(TranscriptView.RoundPicked)
    def _inspect_picked(self, event: TranscriptView.RoundPicked) -> None:
        self.inspect(event.turn_id, event.index)

    def _remember(self, text: str) -> None:
        complaint = self.specchat.history.add(text)
        if complaint:
            self.notice(complaint, "warning")

    def ask(self, text: str) -> None:
        """Send a prompt; raises UsageError while an answer is under way, and RegistryError for a pair that is not there."""
        require_idle(self)
        prompt, answer, job = self.desk.ask(text, self.editing)
        if self.editing is not None:
            self.end_editing()
            self.show_conversation()
        else:
            place = self.desk.conversation.session.place
            self.transcript.append(prompt, place(prompt.id))
            self.transcript.append(answer, place(answer.id))
        self.follow_answer(job, answer)

    def begin_editing(self, prompt: Turn) -> None:
        """Take an earlier prompt into the box; what stood there comes back afterwards."""
        if self.editing is None:
            self._set_aside = self.prompt.text
        self.editing = prompt
        self.prompt.load_text(prompt.text)
        self.prompt.focus()

    def end_editing(self) -> None:
        """Bring back what stood in the box before an earlier prompt was taken into it."""
        if self.editing is not None:
            self.editing = None
            self.prompt.load_text(self._set_aside)

    def follow_answer(self, job: ChatJob, answer: Turn) -> None:
        """Show an answer as the one under way."""
        self.answers[job] = answer
        self.stopping = False
        self.figures = LiveFigures.of(answer)
        self.transcript.follow()
        self.show_figures()

    def stop(self) -> None:
        """End the answer within a round; an engine that does not listen is ended by force."""
        job = self.desk.engine.current
        self.stopping = job is not None
        self.desk.engine.stop()
        self.set_timer(KILL_SECONDS, lambda: self._stop_by_force(job))
        self.show_status()

    def _stop_by_force(self, job: Job | None) -> None:
        if job is not None and self.desk.engine.current is job:
            self.hearing.ended_by_force = job
            self.desk.engine.kill()

    def load(self, restart: bool = False) -> None:
        """Load the pair of the settings."""
        self.failure = None
        try:
            self.desk.load(restart)
        except SpecError as error:
            self.failure = error
            self.say(error)
        self.show_status()

    def replay(self, job: CallJob, step: Callable[[Step], None], end: Callable[[SpecError | None], None]) -> None:
        """Give the engine an answer to decode again."""
        self.stopping = False
        self.watchers[job] = Watcher(step, end)
        self.desk.engine.submit(job)

    def keep_comparison(self, turn: Turn, comparison: Comparison | None) -> None:
        """Show a measured speedup beside the figures of its answer."""
        if comparison is not None:
            self.measured = (turn.id, comparison.ratio)
            self.show_figures()

    def say(self, error: SpecError) -> None:
        """An error as one line of cause and one next action, in the conversation; short memory leads to the pairs."""
        lighter = f" {self.key('pairs')} shows what fits." if isinstance(error, MemoryShortError) else ""
        self.notice(f"{error}{lighter}", "error")

    def notice(self, text: str, kind: Kind = "info") -> None:
        """A line in the conversation that is not part of it."""
        self.transcript.notice(text, kind)
        self.transcript.follow()

    def show_conversation(self) -> None:
        """Show the open conversation from its beginning to its head."""
        conversation = self.desk.conversation
        self.transcript.show(conversation.session.branch(), conversation.positions())
        last = conversation.last_answer()
        self.figures = LiveFigures.of(last) if last and self.answering is None else self.figures
        if last is None:
            self.figures = None
        self.inspect(None, None)
        self.show_figures()
        self.show_status()
        self.count.soon()

    def show_settings(self) -> None:
        """Bring everything that the settings decide in line with them."""
        view = self.desk.settings.view
        self.transcript.marks = view.marks
        self.transcript.markdown = view.markdown
        self.set_class(not view.statistics, "-no-statistics")
        if view.theme in self.app.available_themes:
            self.app.theme = view.theme
        self.app.set_keymap(keymap(self.desk.settings.keys))
        self.prompt.set_keys(self.desk.settings.keys)
        self.query_one(Legend).name_key(self.key("marks"))
        self._tell_below()
        self.show_figures()
        self.show_status()

    def show_figures(self) -> None:
        """The figures of the answer under way, else of the last one."""
        answer = self.answering or self.desk.conversation.last_answer()
        ratio = self.measured[1] if self.measured and answer and self.measured[0] == answer.id else None
        self.query_one(StatisticsPanel).show(self.figures, self.desk.ready, ratio)
        self.query_one(StatisticsLine).show(self.figures, self.desk.ready, ratio)
        counted = self.figures.tokens_by_source if self.figures else counts(())
        self.query_one(Legend).show(counted, self.desk.settings.view.marks)

    def _tell_below(self) -> None:
        self.query_one(Legend).tell_below("" if self.transcript.following else f"↓ more below, {self.key('bottom')}")

    def show_status(self) -> None:
        """The header."""
        self.query_one(StatusHeader).show(status_of(self))

    def inspect(self, turn_id: str | None, index: int | None) -> None:
        """Look into a round of an answer, or close the inspector."""
        turn = self.desk.conversation.session.turns.get(turn_id or "")
        inspector = self.query_one(RoundInspector)
        inspector.display = turn is not None and index is not None and bool(turn.rounds)
        if turn is not None and index is not None and turn.rounds:
            self.transcript.selected = turn.id
            self.transcript.selected_round = index
            inspector.show(turn, index)
        else:
            self.transcript.selected_round = None
