"""The engine beside a screen: order, waking, stopping, loss and return, on the scripted engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.app.harness import FAKE_ENGINE

from specchat.client import EngineClient
from specchat.engine_thread import Begun, CallJob, ChatJob, CountJob, Ended, EngineThread, LoadJob, Report, Said, Stepped
from specchat.live import LiveFigures
from specchat.replay import Step
from specdec.errors import EngineLostError, SpecError
from specdec.events import Chat, Count, Counted, Done, Event, Ready, Round
from specdec.options import LoadOptions, Message

STEP = Step("plain", 1, 1, 1, LiveFigures(), "")
LOAD = LoadOptions(target="builtin:demo/target")
Sort = TypeVar("Sort", bound=Event)


class Listener:
    """Takes reports as they come, the way a screen does."""

    def __init__(self, tmp_path: Path, mode: str, argument: str = "") -> None:
        self.woken = threading.Semaphore(0)
        self.wakes = 0
        self.reports: list[Report] = []
        self.recorded: list[Event] = []
        self.thread = EngineThread(EngineClient(tmp_path / "engine.log", (*FAKE_ENGINE, mode, argument)), self.wake, tmp_path / "app.log")

    def wake(self) -> None:
        self.wakes += 1
        self.woken.release()

    def until(self, predicate: Callable[[Report], bool]) -> Report:
        """The first report of all that the predicate holds of, as soon as it is there."""
        while (found := next(filter(predicate, self.reports), None)) is None:
            assert self.woken.acquire(timeout=30), f"nothing happens after {self.reports}"
            self.reports += self.thread.take()
        return found

    def ended(self, job: object) -> Ended:
        found = self.until(lambda report: isinstance(report, Ended) and report.job is job)
        assert isinstance(found, Ended)
        return found

    def said(self, sort: type[Sort]) -> list[Sort]:
        return [report.event for report in self.reports if isinstance(report, Said) and isinstance(report.event, sort)]

    def count(self, messages: int = 2) -> CountJob:
        job = CountJob(Count(messages=(Message(role="user", content="x"),) * messages))
        self.thread.submit(job)
        return job

    def chat(self, text: str = "hello") -> ChatJob:
        job = ChatJob(Chat(messages=(Message(role="user", content=text),)), self.recorded.append)
        self.thread.submit(job)
        return job


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(mode: str, argument: str = "") -> Listener:
        made.append(Listener(tmp_path, mode, argument))
        return made[-1]

    yield make
    for listener in made:
        listener.thread.close()


def test_an_answer_is_recorded_and_reported_in_order(listen: Callable[..., Listener]) -> None:
    listener = listen("stream", "40")
    listener.thread.submit(LoadJob(LOAD))
    job = listener.chat()
    assert listener.ended(job).error is None
    assert next(type(report) for report in listener.reports if report.job is job) is Begun
    assert len(listener.said(Ready)) == 1
    assert [round_.index for round_ in listener.said(Round)] == list(range(40))
    assert [event for event in listener.recorded if isinstance(event, Round)] == listener.said(Round)


def test_reports_that_wait_wake_the_screen_once(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    listener = listen("stream", "500")
    listener.thread.submit(LoadJob(LOAD))
    done = threading.Event()
    job = ChatJob(Chat(messages=(Message(role="user", content="x"),)), lambda event: done.set() if isinstance(event, Done) else None)
    listener.thread.submit(job)
    assert done.wait(30)
    assert listener.wakes == 1
    listener.ended(job)
    assert len(listener.said(Round)) == 500


def test_stop_ends_the_answer_and_drops_what_waits(listen: Callable[..., Listener]) -> None:
    listener = listen("stall")
    listener.thread.submit(LoadJob(LOAD))
    first = listener.chat()
    listener.until(lambda report: isinstance(report, Said) and isinstance(report.event, Round) and report.event.index == 2)
    second = listener.chat()
    listener.thread.stop()
    assert not listener.ended(first).dropped
    assert listener.ended(second).dropped
    assert [done.finish for done in listener.said(Done)] == ["stopped"]


def test_a_lost_engine_is_started_and_loaded_again_by_the_next_prompt(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    listener = listen("crash-once", str(tmp_path / "crashed"))
    listener.thread.submit(LoadJob(LOAD))
    lost = listener.ended(listener.chat())
    assert isinstance(lost.error, EngineLostError)
    assert listener.recorded[-1].type == "error"
    assert listener.ended(listener.chat("again")).error is None
    assert len(listener.said(Ready)) == 2


def test_a_newer_load_takes_the_place_of_one_that_hangs(listen: Callable[..., Listener]) -> None:
    listener = listen("slow-load")
    first = LoadJob(LOAD)
    listener.thread.submit(first)
    listener.until(lambda report: isinstance(report, Said) and report.event.type == "progress")
    waiting = listener.chat()
    listener.thread.submit(LoadJob(LoadOptions(target="builtin:other")))
    assert isinstance(listener.ended(first).error, EngineLostError)
    assert listener.ended(waiting).dropped


def test_a_restart_ends_an_engine_that_hears_nothing(listen: Callable[..., Listener]) -> None:
    listener = listen("ignore-stop")
    listener.thread.submit(LoadJob(LOAD))
    job = listener.chat()
    listener.until(lambda report: isinstance(report, Said) and isinstance(report.event, Round))
    again = LoadJob(LOAD, restart=True)
    listener.thread.submit(again)
    assert isinstance(listener.ended(job).error, EngineLostError)
    assert listener.ended(again).error is None


def test_without_a_pair_there_is_an_error_with_a_next_step(listen: Callable[..., Listener]) -> None:
    listener = listen("echo")
    error = listener.ended(listener.chat()).error
    assert isinstance(error, SpecError)
    assert "No pair" in error.cause
    assert error.next_step


def test_work_of_several_requests_gets_the_client_and_hears_stop(listen: Callable[..., Listener]) -> None:
    listener = listen("echo")
    listener.thread.submit(LoadJob(LOAD))
    running = threading.Event()
    seen: list[bool] = []

    def work(client: EngineClient, show: Callable[[Step], None], stopped: Callable[[], bool]) -> None:
        for _ in client.events(client.send(Chat(messages=(Message(role="user", content="x"),)))):
            show(STEP)
        running.set()
        while not stopped():
            pass
        seen.append(stopped())

    job = CallJob(work)
    listener.thread.submit(job)
    assert running.wait(30)
    listener.thread.stop()
    assert listener.ended(job).error is None
    assert seen == [True]
    assert [report.step for report in listener.reports if isinstance(report, Stepped)] == [STEP] * 3


def test_tokens_are_counted_beside_the_jobs(listen: Callable[..., Listener]) -> None:
    listener = listen("echo")
    load = LoadJob(LOAD)
    listener.thread.submit(load)
    listener.ended(load)
    job = listener.count()
    assert listener.ended(job) == Ended(job)
    assert [(counted.tokens, counted.context) for counted in listener.said(Counted)] == [(10, 4096)]
    assert not any(isinstance(report, Begun) and report.job is job for report in listener.reports)
    assert listener.thread.current is None


def test_a_count_is_dropped_while_no_pair_is_loaded_and_loads_none(listen: Callable[..., Listener]) -> None:
    listener = listen("echo")
    assert listener.ended(listener.count()).dropped
    assert not listener.said(Ready)


def test_a_count_after_a_loss_starts_no_engine(listen: Callable[..., Listener]) -> None:
    listener = listen("crash")
    listener.thread.submit(LoadJob(LOAD))
    assert isinstance(listener.ended(listener.chat()).error, EngineLostError)
    assert listener.ended(listener.count()).dropped
    assert len(listener.said(Ready)) == 1


def test_a_count_gives_way_to_what_waits(listen: Callable[..., Listener]) -> None:
    listener = listen("stall")
    listener.thread.submit(LoadJob(LOAD))
    answer = listener.chat()
    listener.until(lambda report: isinstance(report, Said) and isinstance(report.event, Round) and report.event.index == 2)
    first, second = listener.count(), listener.count(3)
    listener.thread.submit(LoadJob(LOAD))
    last = listener.count(4)
    assert listener.ended(answer).error is None
    assert listener.ended(first).dropped
    assert listener.ended(second).dropped
    assert not listener.ended(last).dropped
    assert [counted.tokens for counted in listener.said(Counted)] == [20]


def test_an_error_nobody_foresaw_ends_its_job_and_the_next_one_runs(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    listener = listen("echo")
    listener.thread.submit(LoadJob(LOAD))
    recorded: list[Event] = []

    def record(event: Event) -> None:
        recorded.append(event)
        if isinstance(event, Round):
            raise ValueError("a full moon")

    broken = ChatJob(Chat(messages=(Message(role="user", content="hello"),)), record)
    listener.thread.submit(broken)
    error = listener.ended(broken).error
    assert error is not None
    assert "ValueError: a full moon" in error.cause
    assert "a full moon" in (tmp_path / "app.log").read_text()
    assert recorded[-1].type == "error"
    listener.reports.clear()
    assert listener.ended(listener.chat()).error is None
    assert len(listener.said(Done)) == 1
    assert len({round_.id for round_ in listener.said(Round)}) == 1


def test_closing_leaves_no_process_behind(tmp_path: Path) -> None:
    client = EngineClient(tmp_path / "engine.log", (*FAKE_ENGINE, "ignore-stop"))
    thread = EngineThread(client, lambda: None, tmp_path / "app.log")
    thread.submit(LoadJob(LOAD))
    thread.submit(ChatJob(Chat(messages=(Message(role="user", content="x"),)), lambda event: None))
    thread.close(seconds=0.5)
    assert not client.alive
