"""Downloads in the background, one pair after the other: started, paused and resumed by the user, and polled for their progress."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from specchat.pull import sources
from specdec.download import DownloadCancelled, download
from specdec.errors import HubError, SpecError
from specdec.hub import disk_state
from specdec.registry import PairSpec

State = Literal["queued", "running", "paused", "done", "failed"]
SPEED_MARKS = 50
CLOSE_SECONDS = 1.0


@dataclass(frozen=True)
class Download:
    """How far the download of a pair is: `done` and `total` in bytes of all its models, guessed until the hub has listed them.

    `seconds_left` is None while no speed is known; `error` says why it failed.
    """

    state: State
    file: str = ""
    done: int = 0
    total: int = 0
    bytes_per_second: float = 0.0
    seconds_left: float | None = None
    error: SpecError | None = None

    @property
    def live(self) -> bool:
        """Whether it goes on by itself."""
        return self.state in ("queued", "running")


@dataclass
class _Source:
    """One model of a pair, in bytes; `marks` are its last (seconds, bytes) seen, about five seconds' worth."""

    done: int
    total: int
    complete: bool = False
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SPEED_MARKS))

    @property
    def bytes_per_second(self) -> float:
        """Its speed over the marks, 0 before there are two."""
        if not self.marks:
            return 0.0
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) / (end - start) if end > start else 0.0


@dataclass
class _Job:
    """What was asked for one pair; changed under the lock of `Downloads` only."""

    state: State = "queued"
    file: str = ""
    sources: dict[str, _Source] = field(default_factory=dict)
    error: SpecError | None = None

    def missing(self) -> str | None:
        """The next source to fetch."""
        return next((name for name, source in self.sources.items() if not source.complete), None)

    def snapshot(self) -> Download:
        """How far it is."""
        done = sum(source.done for source in self.sources.values())
        total = sum(source.total for source in self.sources.values())
        current = self.sources.get(self.missing() or "")
        speed = current.bytes_per_second if current is not None and self.state == "running" else 0.0
        left = (total - done) / speed if speed > 0 else None
        return Download(self.state, self.file, done, total, speed, left, self.error)


class Downloads:
    """One background thread that fetches what was asked for, in order; its methods return at once and may be called anywhere.

    Partial files always stay on disk, so that whatever is asked for again goes on from there.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self, pair: PairSpec, draft: str) -> None:
        """Fetch the target and a draft of the pair, none with `""`; joins what is asked for the pair already, and resumes it.

        Raises RegistryError for a draft that the pair has not.
        """
        sizes = {pair.target: pair.download_bytes} | {other.source: other.download_bytes for other in pair.drafts if other.source}
        with self._changed:
            job = self._jobs.setdefault(pair.name, _Job())
            for name in sources(pair, draft) if draft else [pair.target]:
                job.sources.setdefault(name, _Source(0, sizes[name]))
            if job.state != "running":
                self._queue(job)

    def pause(self, pair_name: str) -> None:
        """Hold a queued or running download."""
        with self._changed:
            job = self._jobs.get(pair_name)
            if job is not None and job.state in ("queued", "running"):
                job.state = "paused"

    def resume(self, pair_name: str) -> None:
        """Go on with a paused or failed download."""
        with self._changed:
            job = self._jobs.get(pair_name)
            if job is not None and job.state in ("paused", "failed"):
                self._queue(job)

    def cancel(self, pair_name: str) -> None:
        """End a download in any state and forget it."""
        with self._changed:
            job = self._jobs.pop(pair_name, None)
            if job is not None:
                job.state = "paused"

    def all(self) -> dict[str, Download]:
        """The downloads by the name of their pair, in the order they were asked for."""
        with self._changed:
            return {name: job.snapshot() for name, job in self._jobs.items()}

    def close(self) -> None:
        """Pause everything and end the thread, within about a second."""
        with self._changed:
            self._closing = True
            for job in self._jobs.values():
                if job.state in ("queued", "running"):
                    job.state = "paused"
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _queue(self, job: _Job) -> None:
        job.state, job.error = "queued", None
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="downloads", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._fetch(job)
            except DownloadCancelled:
                continue
            except SpecError as error:
                self._fail(job, error)
            except OSError as error:
                self._fail(job, HubError(f"{error.filename or 'The disk'}: {error.strerror}.", "Mend that, then try again."))

    def _next(self) -> _Job | None:
        """The first job in the queue, from now on running; waits for one, and is None at the end."""

        def queued() -> _Job | None:
            return next((job for job in self._jobs.values() if job.state == "queued"), None)

        with self._changed:
            self._changed.wait_for(lambda: self._closing or queued() is not None)
            job = None if self._closing else queued()
            if job is not None:
                job.state = "running"
            return job

    def _fetch(self, job: _Job) -> None:
        while (name := self._next_source(job)) is not None:
            download(name, partial(self._report, job, name), lambda: job.state != "running")
            with self._changed:
                job.sources[name].complete = True

    def _next_source(self, job: _Job) -> str | None:
        """What to fetch next; None once nothing is missing, which ends the job, or when it was paused.

        What is complete on disk already is left out of the count.
        """
        missing = {name: disk_state(name) for name, source in list(job.sources.items()) if not source.complete}
        with self._changed:
            for name, state in missing.items():
                source = job.sources[name]
                source.complete = state.complete
                source.total = 0 if state.complete else source.total
                source.done = min(state.bytes_on_disk, source.total)
                source.marks.clear()
            following = job.missing()
            if job.state == "running" and following is None:
                job.state = "done"
            return following if job.state == "running" else None

    def _report(self, job: _Job, name: str, file: str, done: int, total: int) -> None:
        with self._changed:
            job.file = f"{name} {file}"
            if total:
                source = job.sources[name]
                source.done, source.total = done, total
                source.marks.append((time.monotonic(), done))

    def _fail(self, job: _Job, error: SpecError) -> None:
        with self._changed:
            if job.state == "running":
                job.state, job.error = "failed", error
