"""The engine beside a screen: jobs run one after the other on a thread, and what they report waits until the screen takes it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from specchat.answer import Watch, error_of, load
from specchat.client import EngineClient
from specchat.replay import Step
from specchat.unexpected import unexpected
from specdec.errors import SpecError, UsageError
from specdec.events import Chat, Count, Error, Event, Ready
from specdec.options import LoadOptions

Stopped = Callable[[], bool]


@dataclass(eq=False)
class LoadJob:
    """Load a pair; the engine is started first if it does not run, or anew if `restart`."""

    options: LoadOptions
    restart: bool = False


@dataclass(eq=False)
class ChatJob:
    """Decode one answer; `record` sees what is loaded, then every event, an error included, before the screen does."""

    chat: Chat
    record: Watch


@dataclass(eq=False)
class CallJob:
    """An answer decoded again, in several requests; `work` gets the client, whom to show each step, and whether to stop."""

    work: Callable[[EngineClient, Callable[[Step], None], Stopped], None]


@dataclass(eq=False)
class CountJob:
    """Count the tokens of a conversation; dropped unless a pair is loaded and no other job waits.

    Nobody waits for it, so it is never `current`.
    """

    count: Count


Job = LoadJob | ChatJob | CallJob | CountJob


@dataclass(frozen=True)
class Begun:
    """A job's turn has come."""

    job: Job


@dataclass(frozen=True)
class Said:
    """An event of a job."""

    job: Job
    event: Event


@dataclass(frozen=True)
class Stepped:
    """How far a CallJob is."""

    job: Job
    step: Step


@dataclass(frozen=True)
class Ended:
    """A job is over; `error` says why it failed, `dropped` that it never began."""

    job: Job
    error: SpecError | None = None
    dropped: bool = False


Report = Begun | Said | Stepped | Ended


class EngineThread:
    """Runs jobs in order; `wake` is called, from any thread, when there are reports and `take` has not been called since.

    A lost engine is started, and its pair loaded, again by the next job that needs it. An error that nobody foresaw ends its job like
    any other, and its traceback goes to `log`.
    """

    def __init__(self, client: EngineClient, wake: Callable[[], None], log: Path) -> None:
        self._client = client
        self._wake = wake
        self._log = log
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._reports: deque[Report] = deque()
        self._lock = threading.Lock()
        self._woken = False
        self._current: Job | None = None
        self._wanted: LoadOptions | None = None
        self._loaded: Ready | None = None
        self._request = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="engine-jobs", daemon=True)
        self._thread.start()

    @property
    def current(self) -> Job | None:
        """The job that runs."""
        return self._current

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue; a load takes the place of all that waits or runs."""
        if isinstance(job, LoadJob):
            self._drop_waiting()
            if job.restart or isinstance(self._current, LoadJob):
                self.kill()
            elif self._current is not None:
                self.stop()
        self._jobs.put(job)

    def take(self) -> list[Report]:
        """All reports since the last call."""
        with self._lock:
            taken = list(self._reports)
            self._reports.clear()
            self._woken = False
        return taken

    def stop(self) -> None:
        """End the running answer within a round and drop those that wait; a load goes on."""
        self._drop_waiting()
        if self._current is None or isinstance(self._current, LoadJob):
            return
        self._stop.set()
        if self._request:
            self._client.stop(self._request)

    def kill(self) -> None:
        """End the engine by force, without waiting for it; the running job fails."""
        threading.Thread(target=self._client.kill, name="engine-kill", daemon=True).start()

    def close(self, seconds: float = 2.0) -> None:
        """End thread and engine; a job that does not stop within `seconds` is ended by force."""
        self.stop()
        self._jobs.put(None)
        if isinstance(self._current, LoadJob):
            self._client.kill()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._client.kill()
        self._client.close()

    def _drop_waiting(self) -> None:
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    self._report(Ended(job, dropped=True))

    def _report(self, report: Report) -> None:
        with self._lock:
            self._reports.append(report)
            wake, self._woken = not self._woken, True
        if wake:
            self._wake()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if isinstance(job, CountJob):
                self._count(job)
                continue
            self._stop.clear()
            self._current = job
            self._report(Begun(job))
            error = self._failure(partial(self._do, job))
            self._current = None
            self._report(Ended(job, error))

    def _count(self, job: CountJob) -> None:
        if self._loaded is None or not self._client.alive or not self._jobs.empty():
            self._report(Ended(job, dropped=True))
            return

        def count() -> None:
            for event in self._client.events(self._client.send(job.count)):
                self._report(Said(job, event))

        self._report(Ended(job, self._failure(count)))

    def _failure(self, work: Callable[[], None]) -> SpecError | None:
        """Why something failed, None if it did not."""
        try:
            work()
        except Exception as error:
            return self._typed(error)
        return None

    def _typed(self, error: Exception) -> SpecError:
        return error if isinstance(error, SpecError) else unexpected(error, self._log)

    def _do(self, job: LoadJob | ChatJob | CallJob) -> None:
        def watch(event: Event) -> None:
            self._report(Said(job, event))

        match job:
            case LoadJob():
                self._wanted = job.options
                if job.restart:
                    self._client.kill()
                self._load(watch)
            case ChatJob():
                self._need_pair(watch)
                self._chat(job, watch)
            case CallJob():
                self._need_pair(watch)
                job.work(self._client, lambda step: self._report(Stepped(job, step)), self._stop.is_set)

    def _load(self, watch: Watch) -> None:
        if self._wanted is None:
            raise UsageError("No pair is loaded.", "Pick one with /pair.")
        self._loaded = None
        if not self._client.alive:
            watch(self._client.start())
        self._loaded = load(self._client, self._wanted, watch)

    def _need_pair(self, watch: Watch) -> None:
        if self._loaded is None or not self._client.alive:
            self._load(watch)

    def _chat(self, job: ChatJob, watch: Watch) -> None:
        try:
            if self._loaded is not None:
                job.record(self._loaded)
            self._request = self._client.send(job.chat)
            if self._stop.is_set():
                self._client.stop(self._request)
            for event in self._client.events(self._request):
                if isinstance(event, Error):
                    raise error_of(event)
                job.record(event)
                watch(event)
        except Exception as error:
            failure = self._typed(error)
            if failure is not error:
                self._client.stop(self._request)
            job.record(Error.of(failure))
            raise failure from error
        finally:
            self._request = 0
