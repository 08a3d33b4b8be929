"""Asking the engine: load a pair, stream one answer, and keep what it came to, however it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from specchat.client import EngineClient
from specchat.interrupts import interrupts
from specdec.errors import EngineLostError, SpecError
from specdec.events import Chat, Done, Error, Event, Hello, Load, Ready, Round, Run, Started
from specdec.options import LoadOptions

Watch = Callable[[Event], None]


@dataclass
class Answer:
    """What has arrived so far; without `done` the answer is partial, and `error` says why."""

    hello: Hello | None = None
    ready: Ready | None = None
    started: Started | None = None
    runs: list[Run] = field(default_factory=list)
    done: Done | None = None
    error: SpecError | None = None

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(run.text for run in self.runs)

    @property
    def interrupted(self) -> bool:
        """Whether the user ended it."""
        return self.done is not None and self.done.finish == "stopped"

    def record(self, event: Event) -> None:
        """Add what an event brings."""
        match event:
            case Hello():
                self.hello = event
            case Ready():
                self.ready = event
            case Started():
                self.started = event
            case Round():
                self.runs += event.runs
            case Done():
                self.done = event


def load(client: EngineClient, options: LoadOptions, watch: Watch) -> Ready:
    """Load a pair, showing each event to `watch`; raises the engine's error as a typed one."""
    for event in client.events(client.send(Load(options=options))):
        if isinstance(event, Error):
            raise error_of(event)
        watch(event)
        if isinstance(event, Ready):
            return event
    raise AssertionError("a load ends with ready or error")


def ask(client: EngineClient, chat: Chat, watch: Watch) -> None:
    """Stream one answer to `watch`. Ctrl+C stops it within a round; a second one kills the engine and raises KeyboardInterrupt.

    Raises the engine's error as a typed one, and EngineLostError at once when the engine ends.
    """
    request_id = 0
    with interrupts(ask=lambda: client.stop(request_id), force=client.kill) as presses:
        try:
            request_id = client.send(chat)
            if presses.count:
                client.stop(request_id)
            for event in client.events(request_id):
                if isinstance(event, Error):
                    raise error_of(event)
                watch(event)
        except EngineLostError:
            if presses.count > 1:
                raise KeyboardInterrupt from None
            raise


def error_of(event: Error) -> SpecError:
    """The typed error an `error` event stands for; a kind this app does not know is a plain SpecError."""
    kinds = {sort.kind: sort for sort in _sorts(SpecError)}
    return kinds.get(event.kind, SpecError)(event.cause, event.next_step)


def _sorts(sort: type[SpecError]) -> list[type[SpecError]]:
    return [sort, *(below for child in sort.__subclasses__() for below in _sorts(child))]
