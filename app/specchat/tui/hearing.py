"""What the engine reports, brought to the screen: at most once a frame, however fast it comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.timer import Timer

from specchat.conversation import apply
from specchat.engine_thread import Begun, CallJob, ChatJob, CountJob, Ended, Job, LoadJob, Report, Stepped
from specchat.transcript import Turn
from specdec.errors import ContextFullError, EngineLostError, SpecError
from specdec.events import Done, Event, Progress, Ready, Round, Started

if TYPE_CHECKING:
    from specchat.tui.screens.chat import ChatScreen

FRAME_SECONDS = 1 / 15
FIGURES_SECONDS = 1 / 5
FORCED = EngineLostError("The engine did not stop when it was asked to, and was ended.", "The next prompt starts it again.")


class Hearing:
    """Takes the reports for a chat screen. `ended_by_force` is the job whose engine was killed for not stopping."""

    def __init__(self, screen: ChatScreen) -> None:
        self.ended_by_force: Job | None = None
        self._screen = screen
        self._drained = 0.0
        self._counted = 0.0
        self._timer: Timer | None = None

    def wake(self) -> None:
        """Take what the engine reported, now or with the next frame."""
        if self._timer is not None:
            return
        wait = self._drained + FRAME_SECONDS - time.monotonic()
        if wait > 0:
            self._timer = self._screen.set_timer(wait, self.drain)
        else:
            self.drain()

    def drain(self) -> None:
        """Take all reports and show what they changed."""
        screen = self._screen
        self._timer = None
        self._drained = time.monotonic()
        grown: set[str] = set()
        for report in screen.desk.engine.take():
            self._hear(report, grown)
        answer = screen.answering
        if answer is not None and answer.id in grown:
            screen.transcript.grow(answer)
        screen.show_status()
        if grown and self._drained - self._counted >= FIGURES_SECONDS:
            self._counted = self._drained
            screen.show_figures()

    def _hear(self, report: Report, grown: set[str]) -> None:
        screen, job = self._screen, report.job
        if isinstance(job, CountJob):
            screen.count.hear(report)
        elif isinstance(report, Ended):
            self._hear_end(report)
        elif isinstance(report, Begun):
            screen.failure = None
        elif isinstance(report, Stepped):
            if isinstance(job, CallJob) and job in screen.watchers:
                screen.watchers[job].step(report.step)
        elif isinstance(job, ChatJob) and isinstance(report.event, Started | Round | Done):
            answer = screen.answers.get(job)
            if answer is not None:
                self._grow(answer, report.event)
                grown.add(answer.id)
        else:
            self._hear_load(report.event)

    def _grow(self, answer: Turn, event: Event) -> None:
        screen = self._screen
        if isinstance(event, Started) and screen.desk.ready is not None:
            apply(answer, screen.desk.ready)
        apply(answer, event)
        if answer is not screen.answering or screen.figures is None:
            return
        match event:
            case Started():
                screen.progress = None
                screen.figures.started(event, time.monotonic())
            case Round():
                screen.figures.rounds(answer.rounds[-1:], time.monotonic())
            case Done():
                screen.figures.done(event)

    def _hear_load(self, event: Event) -> None:
        screen = self._screen
        match event:
            case Progress():
                screen.progress = event
            case Ready():
                screen.progress = None
                screen.desk.ready = event
                for warning in event.warnings:
                    screen.notice(warning, "warning")
                screen.show_figures()

    def _hear_end(self, report: Ended) -> None:
        screen = self._screen
        screen.progress = None
        screen.stopping = False
        match report.job:
            case ChatJob() as job:
                answer = screen.answers.pop(job, None)
                if answer is not None:
                    self._settle(answer, report)
            case CallJob() as job:
                watcher = screen.watchers.pop(job, None)
                if watcher is not None:
                    watcher.end(report.error)
            case LoadJob() as job:
                if job is not screen.desk.last_load:
                    return
                if report.error is not None:
                    screen.say(report.error)
        if report.error is not None and (isinstance(report.error, EngineLostError) or isinstance(report.job, LoadJob)):
            screen.desk.ready = screen.desk.last_load = None
            screen.failure = report.error
        screen.count.soon()

    def _settle(self, answer: Turn, report: Ended) -> None:
        """Show an answer as one that ended; one without any text is taken back, and its prompt with it."""
        screen = self._screen
        conversation = screen.desk.conversation
        if answer.id not in conversation.session.turns:
            return
        cause = FORCED if report.error is not None and report.job is self.ended_by_force else report.error
        if not answer.text and answer.finish in (None, "stopped"):
            screen.prompt.give_back(conversation.withdraw(answer))
            screen.show_conversation()
            if cause is not None:
                self._refuse(cause)
            return
        if cause is not None:
            answer.error = str(cause)
        conversation.catch_up()
        screen.transcript.settle(answer)
        screen.show_figures()
        if isinstance(cause, EngineLostError):
            screen.notice("What it said is kept; /continue goes on with it. The engine starts again by itself.")

    def _refuse(self, error: SpecError) -> None:
        screen = self._screen
        if isinstance(error, ContextFullError):
            screen.notice(f"{error.cause} Nothing was sent; shorten the prompt, or begin anew with {screen.key('new')}.", "error")
        else:
            screen.say(error)
