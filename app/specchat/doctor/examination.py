"""What is found out for a diagnosis: facts, figures, texts that changed, and what the book says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from specchat.answer import error_of
from specchat.bench.measuring import Measurements
from specchat.bench.record import WIRE_FIELDS, Problem, record
from specchat.bench.texts import Texts, compare
from specchat.client import EngineClient
from specchat.doctor.plan import GREEDY
from specchat.pairs import PairRow
from specdec.benchmark.diagnosis import Finding, diagnose
from specdec.benchmark.summary import PLAIN, Figures, Key, summarise
from specdec.events import Error, Inspect, Inspected
from specdec.machine_facts import MachineFacts


@dataclass(frozen=True)
class Gains:
    """What was measured and what it comes to."""

    measurements: Measurements
    figures: Mapping[Key, Figures]
    texts: Texts


@dataclass(frozen=True)
class Examination:
    """All that is known in the end; without `gains`, `not_measured` says why."""

    facts: MachineFacts
    pair: PairRow
    not_measured: str = ""
    gains: Gains | None = None
    findings: Sequence[Finding] = ()

    @property
    def well(self) -> bool:
        """Whether speculation was measured, changed no text and has nothing that holds it back."""
        if self.findings or self.gains is None or self.gains.texts.changed:
            return False
        return any(key.method != PLAIN and figures.speedup for key, figures in self.gains.figures.items())


def inspect(client: EngineClient) -> MachineFacts:
    """What the engine finds out about the machine; raises its error as a typed one."""
    for event in client.events(client.send(Inspect())):
        if isinstance(event, Error):
            raise error_of(event)
        if isinstance(event, Inspected):
            return event.facts
    raise AssertionError("an inspection ends with inspected or error")


def weigh(found: Measurements) -> Gains:
    """Measurements with their figures and the comparison of their texts."""
    return Gains(found, summarise(found.measured), compare(found.plan, found.measured))


def findings(facts: MachineFacts, pair: PairRow, gains: Gains | None) -> list[Finding]:
    """What holds the pair back, loaded as it is by default: with its first draft."""
    need = pair.drafts[0].need if pair.drafts else pair.need
    return diagnose(gains.figures if gains else {}, GREEDY, facts, need.total_bytes)


def as_object(found: Examination, engine: str) -> dict[str, Any]:
    """An examination as one JSON object; `engine` is the version of the engine that was asked."""
    error = found.gains.measurements.error if found.gains else None
    return {
        "machine": found.facts.model_dump(mode="json"),
        "pair": found.pair.model_dump(mode="json"),
        "not_measured": found.not_measured,
        "benchmark": _benchmark(found.gains, engine) if found.gains else None,
        "error": Problem(kind=error.kind, cause=error.cause, next_step=error.next_step).model_dump() if error else None,
        "findings": [asdict(finding) for finding in found.findings],
        "well": found.well,
    }


def _benchmark(gains: Gains, engine: str) -> dict[str, Any] | None:
    """The record of the benchmark without its single answers; None if it ended before it began."""
    found = gains.measurements
    if found.started is None:
        return None
    date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    kept = record(found, found.started, gains.figures, gains.texts, engine, date)
    return kept.model_dump(mode="json", exclude={"measured": True, "loaded": {"__all__": WIRE_FIELDS}})
