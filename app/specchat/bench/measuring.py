"""Having the engine carry out a benchmark, and keeping what it measured, however it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from specchat.answer import Watch, error_of
from specchat.client import EngineClient
from specchat.console import say
from specchat.interrupts import interrupts
from specdec.benchmark.plan import BenchPlan
from specdec.errors import EngineLostError, SpecError
from specdec.events import Bench, BenchDone, BenchStarted, Error, Measured


@dataclass
class Measurements:
    """What has arrived; the benchmark may have been ended by the user (`interrupted`) or by an `error`."""

    plan: BenchPlan
    started: BenchStarted | None = None
    measured: list[Measured] = field(default_factory=list)
    interrupted: bool = False
    error: SpecError | None = None


def measure(client: EngineClient, plan: BenchPlan, watch: Watch) -> Measurements:
    """Run a benchmark, showing each event to `watch`.

    Ctrl+C ends it after the answer under way, a second one at once; what was measured until then stays.
    """
    found = Measurements(plan)
    request_id = 0

    def stop() -> None:
        say("Ending after the answer under way; Ctrl+C again ends at once.")
        client.stop(request_id)

    with interrupts(ask=stop, force=client.kill) as presses:
        try:
            request_id = client.send(Bench(plan=plan))
            if presses.count:
                client.stop(request_id)
            for event in client.events(request_id):
                match event:
                    case BenchStarted():
                        found.started = event
                    case Measured():
                        found.measured.append(event)
                    case BenchDone():
                        found.interrupted = event.stopped
                    case Error():
                        found.error = error_of(event)
                watch(event)
        except EngineLostError as error:
            found.interrupted = presses.count > 1
            found.error = None if found.interrupted else error
    return found
