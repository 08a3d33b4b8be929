"""The whole app on an engine inside the test: what it says, and when by its clock, is the test's, so that pictures never differ."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.app.fake_engine import MARKDOWN, paced_statistics
from tests.app.tui_harness import Driver
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from specchat.client import EngineClient
from specchat.engine_thread import Begun, ChatJob, Ended, Job, LoadJob, Report, Said
from specchat.paths import Paths, find_paths
from specchat.tui import app as app_module
from specchat.tui import hearing as hearing_module
from specchat.tui.app import SpecchatApp
from specchat.tui.run import open_app
from specdec.errors import SpecError
from specdec.events import Done, Error, Event, Ready, Round, Run, Source, Started

PROMPT = "Count the words of a text in Python, and tell me how that works."
READY = Ready(
    target="builtin:demo/target",
    draft="builtin:demo/sibling",
    draft_kind="sibling",
    dtype="float32",
    device="cpu",
    threads=2,
    context=1024,
    exact=True,
    exact_reason="fixed rows cost 3%",
    load_ms=150,
    memory_bytes=61_300_000,
)
ROUND_SECONDS = 0.02
# Drafter, drafted, tested, accepted, source of the target's token, rejected text.
PATTERNS: tuple[tuple[str, int, int, int, Source, str], ...] = (
    ("sibling", 4, 4, 4, "bonus", ""),
    ("sibling", 4, 3, 2, "corrected", " the list"),
    ("ngram", 6, 6, 6, "bonus", ""),
    ("sibling", 4, 1, 0, "corrected", " a text of it"),
    ("none", 0, 0, 0, "target", ""),
    ("ngram", 6, 4, 3, "corrected", " was seen first"),
    ("sibling", 3, 3, 3, "bonus", ""),
)
Play = Callable[[Driver], Awaitable[None]]


class ScriptedEngine:
    """In the place of an EngineThread: loads at once, and answers what `answer` is told."""

    def __init__(self, _client: EngineClient, wake: Callable[[], None], _log: Path) -> None:
        self._wake = wake
        self._reports: deque[Report] = deque()
        self.current: Job | None = None

    @property
    def idle(self) -> bool:
        """Whether the screen has taken everything."""
        return not self._reports

    def submit(self, job: Job) -> None:
        """Load, or begin an answer."""
        self._report(Begun(job))
        if isinstance(job, LoadJob):
            self._report(Said(job, READY), Ended(job))
        elif isinstance(job, ChatJob):
            self.current = job
            prompt_tokens = sum(len(message.content.split()) for message in job.chat.messages) + 8
            sampling = job.chat.sampling.model_copy(update={"seed": 7})
            self.say(Started(prompt_tokens=prompt_tokens, reused_tokens=0, prefill_ms=12.5, sampling=sampling))

    def say(self, *events: Event) -> None:
        """Say something of the answer under way."""
        assert isinstance(self.current, ChatJob)
        for event in events:
            self.current.record(event)
            self._report(Said(self.current, event))

    def end(self, error: SpecError | None = None) -> None:
        """Be done with it, by an error if there is one."""
        assert isinstance(self.current, ChatJob)
        job, self.current = self.current, None
        if error is not None:
            job.record(Error.of(error))
        self._report(Ended(job, error))

    def take(self) -> list[Report]:
        taken = list(self._reports)
        self._reports.clear()
        return taken

    def stop(self) -> None:
        """Answers end by `end` only."""

    def close(self) -> None:
        """There is no process to end."""

    def _report(self, *reports: Report) -> None:
        self._reports.extend(reports)
        self._wake()


class FixedLog(Paths):
    """Folders of the test, with a name for the log that is the same every time."""

    @property
    def engine_log(self) -> Path:
        return Path("/home/you/.local/state/specchat/logs/engine.log")


class Clock:
    """The time that the chat goes by."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Stage:
    """An app with a scripted engine, and a run of the story for its picture."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first_run: bool = False, **changes: object) -> None:
        self.clock = Clock()
        monkeypatch.setattr(app_module, "EngineThread", ScriptedEngine)
        monkeypatch.setattr(hearing_module, "time", SimpleNamespace(monotonic=self.clock.monotonic))
        found = find_paths()
        self.app: SpecchatApp = open_app(FixedLog(found.config, found.sessions, found.logs), (), changes)
        self.app._first_run = first_run

    @property
    def engine(self) -> ScriptedEngine:
        assert isinstance(self.app.desk.engine, ScriptedEngine)
        return self.app.desk.engine

    async def ask(self, user: Driver, rounds: Sequence[Round], prompt: str = PROMPT, done: bool = True) -> None:
        """Send a prompt and let the engine answer it, to the end unless it is not `done`."""
        await user.ready()
        await user.say(prompt)
        await user.until(lambda: self.engine.current)
        await self.taken(user)
        self.clock.now += ROUND_SECONDS
        self.engine.say(*rounds[:1])
        await self.taken(user)
        self.clock.now += ROUND_SECONDS * (len(rounds) - 1)
        self.engine.say(*rounds[1:])
        if done:
            statistics = paced_statistics(20, list(rounds), ROUND_SECONDS * len(rounds))
            self.engine.say(Done(finish="eos", statistics=statistics))
            self.engine.end()
        await self.taken(user)

    async def taken(self, user: Driver) -> None:
        """Wait until the screen has taken what the engine said."""
        await user.until(lambda: self.engine.idle)

    def before(self, play: Play) -> Callable[[Pilot[int]], Awaitable[None]]:
        """What a picture is taken after: the app is up, the story is played, and nothing blinks."""

        async def run(pilot: Pilot[int]) -> None:
            user = Driver(self.app, pilot)
            await user.until(lambda: self.app.chat.is_mounted and self.app.screen is not self.app.screen_stack[0])
            await self.taken(user)
            await play(user)
            for field in self.app.screen.query("TextArea, Input"):
                assert isinstance(field, TextArea | Input)
                field.cursor_blink = False
            await pilot.pause()

        return run


def rounds_of(text: str = MARKDOWN) -> list[Round]:
    """A text as rounds in which drafters fare well and badly by turns."""
    return list(_rounds(re.findall(r"\s*\S{1,6}", text.strip())))


def _rounds(words: list[str]) -> Iterator[Round]:
    at = index = 0
    while at < len(words):
        drafter, drafted, tested, accepted, last, rejected = PATTERNS[index % len(PATTERNS)]
        guessed, own = words[at : at + accepted], words[at + accepted : at + accepted + 1]
        parts: list[tuple[Source, list[str]]] = [("ngram" if drafter == "ngram" else "draft", guessed), (last, own)]
        at, index = at + accepted + 1, index + 1
        yield Round(
            index=0,
            drafter=drafter,
            drafted=drafted,
            tested=min(tested, len(guessed) + len(own)),
            accepted=len(guessed),
            runs=tuple(Run(source=source, text="".join(part), tokens=tuple(range(len(part)))) for source, part in parts if part),
            rejected=rejected,
            draft_ms=1.2 * drafted if drafter == "sibling" else 0.1,
            verify_ms=11.5,
        )
