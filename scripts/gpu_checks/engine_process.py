"""The engine's own process under measurement, whose events come with the moment each arrived."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TypeVar

from specdec.events import Error, Event, Request, parse_event

LEAVE_SECONDS = 5.0
E = TypeVar("E")


class EngineError(Exception):
    """The engine refused a request, failed at it or ended."""


class Engine:
    """`specdec.host`, which shares nothing with this process: not the device's memory, and no compiler that can be left broken."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        path = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "specdec.host"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="engine", daemon=True).start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ask the process to leave, and kill it with all that it started if it stays; if something went wrong kill it unasked."""
        if error is None:
            self._close_input()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LEAVE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._close_input()

    def send(self, request: Request) -> None:
        """Hand over a request."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(request.model_dump_json().encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise EngineError("the engine's process has ended") from None

    def next(self, seconds: float) -> tuple[float, Event]:
        """The next event and the moment of time.perf_counter at which it arrived.

        Raises TimeoutError if there is none for so long, and EngineError if there will be none.
        """
        try:
            moment, line = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise TimeoutError(f"the engine said nothing for {seconds:.0f} s") from None
        if not line:
            raise EngineError("the engine's process has ended")
        event = parse_event(line)
        if isinstance(event, Error):
            raise EngineError(event.cause)
        return moment, event

    def until(self, kind: type[E], deadline: float, seen: Callable[[float, Event], None] = lambda moment, event: None) -> tuple[float, E]:
        """The next event of a kind, with its moment; `seen` gets every event up to it, and `deadline` is a moment too.

        Raises as `next` does.
        """
        while True:
            moment, event = self.next(deadline - time.perf_counter())
            seen(moment, event)
            if isinstance(event, kind):
                return moment, event

    def _close_input(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((time.perf_counter(), line))
        self._lines.put((time.perf_counter(), b""))
