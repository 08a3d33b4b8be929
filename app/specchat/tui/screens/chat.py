"""The chat: the conversation, the prompt below it and the figures beside it, kept in step with what the engine reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Static

from specchat.conversation import apply
from specchat.desk import Desk
from specchat.engine_thread import Begun, CallJob, ChatJob, Ended, LoadJob, Report, Said, Stepped
from specchat.live import LiveFigures
from specchat.marks import counts
from specchat.replay import Comparison, Step
from specchat.transcript import Turn
from specchat.tui.actions import Command, parse_prompt
from specchat.tui.commands import HANDLERS
from specchat.tui.commands.chat import require_idle
from specchat.tui.keys import bindings, keymap
from specchat.tui.status import status_of
from specchat.tui.transcript.view import Kind, TranscriptView
from specchat.tui.widgets.header import StatusHeader
from specchat.tui.widgets.inspector import RoundInspector
from specchat.tui.widgets.legend import Legend
from specchat.tui.widgets.prompt import Prompt, Suggestions
from specchat.tui.widgets.statistics import StatisticsLine, StatisticsPanel
from specdec.errors import ContextFullError, EngineLostError, SpecError
from specdec.events import Done, Error, Event, Progress, Ready, Round, Started

if TYPE_CHECKING:
    from specchat.tui.app import SpecchatApp

FRAME_SECONDS = 1 / 20
KILL_SECONDS = 10.0
GREETING = "\n".join(
    (
        "Ask something. The draft guesses, the target checks: what was guessed right is underlined.",
        "",
        "F1 shows the keys, Ctrl+O the models, Ctrl+R earlier conversations; /compare measures what the drafts gain.",
    )
)


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
        self.watchers: dict[CallJob, Watcher] = {}
        self.measured: tuple[str, float] | None = None
        self.copied_block: tuple[str, int] = ("", -1)
        self.asked_to_quit = float("-inf")
        self._drained = 0.0
        self._drain_timer: Timer | None = None

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
        yield Footer(show_command_palette=False)
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

    def on_mount(self) -> None:
        self.transcript.empty_text = GREETING
        self.show_conversation()
        self.show_settings()

    def action_do(self, action_id: str) -> None:
        """Carry out an action of the registry."""
        self.perform(action_id, "")

    def perform(self, action_id: str, argument: str) -> None:
        """Carry out an action with what stood behind its slash command; an error becomes a line in the conversation."""
        try:
            HANDLERS[action_id](self, argument)
        except SpecError as error:
            self.say(error)

    @on(Prompt.Submitted)
    def _take_prompt(self, event: Prompt.Submitted) -> None:
        try:
            taken = parse_prompt(event.text)
            self._remember(event.text)
            if isinstance(taken, Command):
                HANDLERS[taken.action.id](self, taken.argument)
            else:
                self.ask(taken)
        except SpecError as error:
            self.say(error)
            self.prompt.give_back(event.text)

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
            self.editing = None
            self.show_conversation()
        else:
            place = self.desk.conversation.session.place
            self.transcript.append(prompt, place(prompt.id))
            self.transcript.append(answer, place(answer.id))
        self.follow_answer(job, answer)

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
        self.set_timer(KILL_SECONDS, lambda: self.desk.engine.kill() if job and self.desk.engine.current is job else None)
        self.show_status()

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
        """An error as one line of cause and one next action, in the conversation."""
        self.notice(f"{error.cause} {error.next_step}".strip(), "error")

    def notice(self, text: str, kind: Kind = "info") -> None:
        """A line in the conversation that is not part of it."""
        self.transcript.notice(text, kind)
        self.transcript.follow()

    def engine_spoke(self) -> None:
        """Take what the engine reported, at most once a frame."""
        if self._drain_timer is not None:
            return
        wait = self._drained + FRAME_SECONDS - time.monotonic()
        if wait > 0:
            self._drain_timer = self.set_timer(wait, self._drain)
        else:
            self._drain()

    def _drain(self) -> None:
        self._drain_timer = None
        self._drained = time.monotonic()
        grown: set[str] = set()
        for report in self.desk.engine.take():
            self._hear(report, grown)
        for answer in list(self.answers.values()):
            if answer.id in grown and answer is self.answering:
                self.transcript.grow(answer)
        self.show_status()
        if grown:
            self.show_figures()

    def _hear(self, report: Report, grown: set[str]) -> None:
        job = report.job
        if isinstance(report, Ended):
            self._hear_end(report)
        elif isinstance(report, Begun):
            self.failure = None
        elif isinstance(report, Stepped):
            if isinstance(job, CallJob) and job in self.watchers:
                self.watchers[job].step(report.step)
        elif isinstance(job, ChatJob) and isinstance(report.event, Started | Round | Done | Error):
            answer = self.answers.get(job)
            if answer is not None:
                apply(answer, report.event)
                self._count(answer, report.event)
                grown.add(answer.id)
        elif isinstance(report, Said):
            self._hear_load(report.event)

    def _count(self, answer: Turn, event: Event) -> None:
        if answer is not self.answering or self.figures is None:
            return
        match event:
            case Started():
                self.progress = None
                self.figures.started(event, time.monotonic())
            case Round():
                self.figures.rounds(answer.rounds[-1:], time.monotonic())
            case Done():
                self.figures.done(event)

    def _hear_load(self, event: Event) -> None:
        match event:
            case Progress():
                self.progress = event
            case Ready():
                self.progress = None
                self.desk.ready = event
                for warning in event.warnings:
                    self.notice(warning, "warning")
                self.show_figures()

    def _hear_end(self, report: Ended) -> None:
        self.progress = None
        self.stopping = False
        match report.job:
            case ChatJob() as job:
                answer = self.answers.pop(job, None)
                if answer is not None:
                    self._settle(answer, report)
            case CallJob() as job:
                watcher = self.watchers.pop(job, None)
                if watcher is not None:
                    watcher.end(report.error)
            case LoadJob() as job:
                if job is not self.desk.last_load:
                    return
                if report.error is not None:
                    self.desk.last_load = None
                    self.say(report.error)
        if report.error is not None and (isinstance(report.error, EngineLostError) or isinstance(report.job, LoadJob)):
            self.desk.ready = self.desk.last_load = None
            self.failure = report.error

    def _settle(self, answer: Turn, report: Ended) -> None:
        conversation = self.desk.conversation
        if answer.id not in conversation.session.turns:
            return
        if not answer.text and answer.finish in (None, "stopped"):
            self.prompt.give_back(conversation.withdraw(answer))
            self.show_conversation()
        else:
            conversation.catch_up()
            self.transcript.settle(answer)
        self.show_figures()
        if report.error is not None:
            self._explain(report.error)

    def _explain(self, error: SpecError) -> None:
        if isinstance(error, EngineLostError):
            log = self.desk.paths.engine_log
            self.notice(f"{error.cause} What it said is kept. The next prompt, or /restart, starts it again; its log is {log}.", "error")
        elif isinstance(error, ContextFullError):
            self.notice(f"{error.cause} Nothing was sent; shorten the prompt, or begin anew with Ctrl+N.", "error")
        else:
            self.say(error)

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
        self.show_figures()
        self.show_status()

    def show_figures(self) -> None:
        """The figures of the answer under way, else of the last one."""
        answer = self.answering or self.desk.conversation.last_answer()
        ratio = self.measured[1] if self.measured and answer and self.measured[0] == answer.id else None
        self.query_one(StatisticsPanel).show(self.figures, self.desk.ready, ratio)
        self.query_one(StatisticsLine).show(self.figures, self.desk.ready)
        counted = self.figures.tokens_by_source if self.figures else counts(())
        self.query_one(Legend).show(counted, self.desk.settings.view.marks)

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
