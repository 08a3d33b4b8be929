"""Owns the engine process: typed requests go in, typed events come out, and no child is left behind."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from specchat.answer_log import AnswerLog
from specchat.engine_log import last_line, open_log_or_none
from specdec.errors import EngineLostError, ProtocolError
from specdec.events import (
    PROTOCOL_VERSION,
    Bench,
    BenchDone,
    Chat,
    Count,
    Counted,
    Done,
    Error,
    Event,
    Hello,
    Inspect,
    Inspected,
    Load,
    Ready,
    Request,
    Shutdown,
    Stop,
    Unload,
    Unloaded,
    parse_event,
)

# -P keeps the folder the user happens to be in off the engine's import path.
ENGINE_COMMAND = (sys.executable, "-P", "-m", "specdec.host")
LAST = (Done, Ready, Counted, BenchDone, Inspected, Unloaded, Error)
HELLO_SECONDS = 60.0
GRACE_SECONDS = 2.0
ANSWER_LOG = "answers.jsonl"


@dataclass
class _Engine:
    """One process with everything it said; `ending` is set, and is the last thing in the inbox, once it is gone."""

    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    log_start: int
    inbox: queue.SimpleQueue[Event | ProtocolError | EngineLostError] = field(default_factory=queue.SimpleQueue)
    ending: EngineLostError | None = None


class EngineClient:
    """One engine process at a time; as a context manager it starts on entry, and leaving by an exception kills it.

    `log` takes the engine's stderr; a file beside it gets a line of figures for each answer. The process has a session of its own,
    so that Ctrl+C reaches only the app, and it ends by itself when its stdin closes, so that it cannot outlive the app. One thread
    may read events while others send.
    """

    hello: Hello

    def __init__(self, log: Path, command: Sequence[str] = ENGINE_COMMAND) -> None:
        self._log = log
        self._answers = AnswerLog(log.with_name(ANSWER_LOG))
        self._command = tuple(command)
        self._write_lock = threading.Lock()
        self._last_id = 0
        self._engine: _Engine | None = None

    def __enter__(self) -> EngineClient:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    @property
    def alive(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._engine is not None and self._engine.process.poll() is None

    def start(self, timeout: float = HELLO_SECONDS) -> Hello:
        """Start the process and wait `timeout` seconds for its greeting.

        Raises EngineLostError if it ends or stays silent, ProtocolError if it speaks anything but this protocol version.
        """
        with open_log_or_none(self._log) as log:
            log_start = log.tell()
            try:
                process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
            except OSError as error:
                raise EngineLostError(f"The engine cannot be started: {error.strerror}.", "Install specchat anew.") from error
            assert process.stdin is not None
            assert process.stdout is not None
            engine = _Engine(process, process.stdin, process.stdout, log_start)
        reader = threading.Thread(target=self._read, args=(engine,), name="engine-reader", daemon=True)
        reader.start()
        self._reader, self._engine = reader, engine
        try:
            self.hello = self._greeting(engine, timeout)
        except BaseException:
            self.kill()
            raise
        return self.hello

    def restart(self) -> Hello:
        """End whatever runs and start anew; nothing is loaded then."""
        self.kill()
        return self.start()

    def send(self, request: Load | Chat | Count | Bench | Inspect | Unload) -> int:
        """Write a request and return the id that its events will carry; raises EngineLostError if nobody reads it."""
        self._last_id += 1
        numbered = request.model_copy(update={"id": self._last_id})
        if isinstance(numbered, Chat):
            self._answers.asked(numbered)
        self._write(numbered)
        return self._last_id

    def stop(self, request_id: int) -> None:
        """Ask for the end of an answer or a benchmark; its events then end with one that says so."""
        with suppress(EngineLostError):
            self._write(Stop(id=request_id))

    def events(self, request_id: int) -> Iterator[Event]:
        """The events of a request as they arrive; one that ends a request, such as `done` or `error`, is the last.

        A line that is not the protocol ends the request with an `error` of kind `protocol`, and the engine is asked to stop.
        Raises EngineLostError as soon as the process ends.
        """
        engine = self._running()
        while True:
            item = engine.inbox.get()
            if isinstance(item, EngineLostError):
                engine.inbox.put(item)
                self._answers.lost(Error.of(item))
                raise item
            if isinstance(item, ProtocolError):
                self.stop(request_id)
                self._answers.heard(Error.of(item, request_id))
                yield Error.of(item, request_id)
                return
            self._answers.heard(item)
            if item.id == request_id or (isinstance(item, Error) and item.id == 0):
                yield item
                if isinstance(item, LAST):
                    return

    def close(self) -> None:
        """End the process politely, then by force; returns when it is gone."""
        if self._engine is None:
            return
        process = self._engine.process
        with suppress(EngineLostError):
            self._write(Shutdown())
        _close(self._engine.requests)
        for last_resort in (process.terminate, self.kill):
            try:
                process.wait(GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                last_resort()
        self._reader.join(GRACE_SECONDS)

    def kill(self) -> None:
        """End the process, and whatever it started, at once."""
        if self._engine is None:
            return
        process = self._engine.process
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        self._reader.join(GRACE_SECONDS)
        _close(self._engine.requests)

    def _running(self) -> _Engine:
        if self._engine is None:
            raise EngineLostError("The engine was never started.", "Start it first.")
        return self._engine

    def _write(self, request: Request) -> None:
        engine = self._running()
        try:
            with self._write_lock:
                engine.requests.write(request.model_dump_json().encode() + b"\n")
                engine.requests.flush()
        except (OSError, ValueError):
            self.kill()
            raise engine.ending or EngineLostError("The engine reads no more requests.", f"Try again; its log is {self._log}.") from None

    def _greeting(self, engine: _Engine, timeout: float) -> Hello:
        try:
            item = engine.inbox.get(timeout=timeout)
        except queue.Empty:
            raise EngineLostError(f"The engine said nothing for {timeout:.0f} seconds.", f"Try again; its log is {self._log}.") from None
        if isinstance(item, ProtocolError | EngineLostError):
            raise item
        if not isinstance(item, Hello) or item.protocol != PROTOCOL_VERSION:
            spoken = f"version {item.protocol}" if isinstance(item, Hello) else f"no greeting but `{item.type}`"
            raise ProtocolError(f"The engine speaks protocol {spoken}, this app version {PROTOCOL_VERSION}.", "Install specchat anew.")
        return item

    def _read(self, engine: _Engine) -> None:
        """Turn lines into events until the pipe closes, then say how the process ended; runs in a thread of its own."""
        with engine.answers as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                try:
                    engine.inbox.put(parse_event(line))
                except ProtocolError as error:
                    engine.inbox.put(error)
        try:
            code = engine.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            engine.process.kill()
            code = engine.process.wait()
        engine.ending = self._ending(code, engine.log_start)
        engine.inbox.put(engine.ending)

    def _ending(self, code: int, log_start: int) -> EngineLostError:
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        words = last_line(self._log, log_start)
        cause = f'The engine {how}; its last words were "{words}".' if words else f"The engine {how}."
        return EngineLostError(cause, f"Try again; its log is {self._log}.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _close(pipe: IO[bytes]) -> None:
    with suppress(OSError, ValueError):
        pipe.close()
