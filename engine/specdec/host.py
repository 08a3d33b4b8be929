"""The engine's process: JSON lines in on stdin, JSON lines out on stdout, diagnostics on stderr.

It ends when stdin closes, in the middle of a load too, so it never outlives the app.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from typing import TYPE_CHECKING, BinaryIO

from specdec import __version__
from specdec.errors import ProtocolError, SpecError, UsageError
from specdec.events import (
    Bench,
    Chat,
    Count,
    Error,
    Event,
    Hello,
    Inspect,
    Inspected,
    Load,
    Progress,
    Request,
    Shutdown,
    Stop,
    Unload,
    Unloaded,
    parse_request,
)

if TYPE_CHECKING:
    from specdec.loading import Report
    from specdec.session import ChatSession

GRACE_SECONDS = 3.0
STOPPABLE = (Chat, Bench)
WEIGHT_STAGES = ("target", "draft")


class Inbox:
    """Reads requests on a thread of its own, so that `stop` is heard while an answer or a benchmark is under way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.SimpleQueue[Request | ProtocolError] = queue.SimpleQueue()
        self._received = 0
        self._taken = 0
        self._stopped = 0

    def start(self) -> None:
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Request | ProtocolError:
        """The next request, or the error that a line turned into; blocks. A closed pipe reads as Shutdown."""
        request = self._requests.get()
        self._taken += isinstance(request, STOPPABLE)
        return request

    def stopped(self) -> bool:
        """Whether the chat or benchmark taken last was asked to end."""
        return self._stopped >= self._taken

    def _read(self) -> None:
        for line in self._stream:
            try:
                request = parse_request(line)
            except ProtocolError as error:
                self._requests.put(error)
                continue
            if isinstance(request, Stop):
                self._stopped = self._received
                continue
            self._received += isinstance(request, STOPPABLE)
            self._requests.put(request)
        self._stopped = sys.maxsize
        self._requests.put(Shutdown())
        threading.Timer(GRACE_SECONDS, os._exit, (0,)).start()


class Host:
    """Carries out one request after the other with at most one pair loaded."""

    def __init__(self, inbox: Inbox, out: BinaryIO) -> None:
        self._inbox = inbox
        self._out = out
        self._session: ChatSession | None = None

    def send(self, event: Event) -> None:
        """Write an event as one line."""
        self._out.write(event.model_dump_json().encode() + b"\n")
        self._out.flush()

    def run(self) -> None:
        """Serve until shutdown."""
        self.send(Hello(version=__version__, pid=os.getpid()))
        while not isinstance(request := self._inbox.next(), Shutdown):
            if isinstance(request, ProtocolError):
                self.send(Error.of(request))
                continue
            try:
                self._carry_out(request)
            except SpecError as error:
                self.send(Error.of(error, request.id))
            except BrokenPipeError:
                raise
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                self.send(_unexpected(error, request.id))

    def _carry_out(self, request: Request) -> None:
        if isinstance(request, Load):
            self._load(request)
        elif isinstance(request, Chat):
            for event in self._loaded().chat(request, self._inbox.stopped):
                self.send(event)
        elif isinstance(request, Count):
            self.send(self._loaded().count(request))
        elif isinstance(request, Bench):
            self._bench(request)
        elif isinstance(request, Inspect):
            from specdec.machine import inspect_machine

            self.send(Inspected(id=request.id, facts=inspect_machine(request.device)))
        elif isinstance(request, Unload):
            self._session = None
            self.send(Unloaded(id=request.id))

    def _load(self, request: Load) -> None:
        from specdec.loading import load_pair
        from specdec.session import ChatSession

        self._session = None
        pair = load_pair(request.options, self._reporter(request))
        self._session = ChatSession(pair)
        self.send(pair.ready.model_copy(update={"id": request.id}))

    def _bench(self, request: Bench) -> None:
        """Measure in the memory of the loaded pair, which is gone afterwards."""
        from specdec.benchmark.runner import run

        self._session = None
        for event in run(request.plan, self._reporter(request), self._inbox.stopped):
            self.send(event.model_copy(update={"id": request.id}))

    def _reporter(self, request: Request) -> Report:
        """What turns the steps of a load into the request's `progress` lines."""

        def report(stage: str, done: int, total: int) -> None:
            unit = "bytes" if stage in WEIGHT_STAGES else ""
            self.send(Progress(id=request.id, stage=stage, done=done, total=total, unit=unit))

        return report

    def _loaded(self) -> ChatSession:
        if self._session is None:
            raise UsageError("No pair is loaded.", "Load one first.")
        return self._session


def _unexpected(error: Exception, request_id: int) -> Error:
    """The event for an error nobody foresaw; running out of GPU memory is the one that is not a bug."""
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if type(error).__name__ == "OutOfMemoryError":
        return Error(id=request_id, kind="memory", cause=f"Out of GPU memory: {words}", next_step="Load with a smaller context or draft.")
    return Error(id=request_id, kind="internal", cause=f"{type(error).__name__}: {words}", next_step="The engine's log has the details.")


def main() -> None:
    """Serve the pipes; whatever libraries print to stdout goes to stderr, since stdout is the protocol's."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox = Inbox(sys.stdin.buffer)
    inbox.start()
    try:
        Host(inbox, out).run()
    except BrokenPipeError:
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
