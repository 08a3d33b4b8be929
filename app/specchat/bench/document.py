"""The report of a benchmark: its tables, then what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from specchat.bench.measuring import Measurements
from specchat.bench.sections import Listing, Section
from specchat.bench.tables import tables
from specchat.bench.texts import Texts, listing
from specdec.benchmark.gap import explain_gap
from specdec.benchmark.plan import BenchPlan, Environment
from specdec.benchmark.summary import OVERALL, PLAIN, Figures, Key
from specdec.events import BenchStarted
from specdec.memory import size_text


def document(found: Measurements, started: BenchStarted, figures: Mapping[Key, Figures], texts: Texts) -> list[Section]:
    """Everything there is to tell, section by section; empty ones are left out."""
    plan = found.plan
    sections: list[Section] = [table for temperature in plan.temperatures for table in tables(plan, figures, temperature)]
    sections += [
        Listing("Predicted and realised more than 10% apart", tuple(_gaps(plan, figures))),
        listing(texts),
        Listing("Left out", tuple(f"{name}: {reason}" for name, reason in started.left_out.items())),
        Listing("Environment", tuple(_environment(started.environment, found, started))),
        Listing("Settings", tuple(_settings(plan, found, started))),
    ]
    return [section for section in sections if not isinstance(section, Listing) or section.items]


def _gaps(plan: BenchPlan, figures: Mapping[Key, Figures]) -> Iterator[str]:
    """Why a prediction is off, for every method whose prediction is off by more than a tenth."""
    for temperature in plan.temperatures:
        plain = figures.get(Key(temperature, PLAIN, OVERALL))
        for method in plan.methods:
            mine = figures.get(Key(temperature, method.name, OVERALL))
            gap = explain_gap(mine, plain) if mine and plain else None
            if gap and gap.reason:
                yield f"{method.name} at temperature {temperature:g}: {gap.reason}"


def _environment(place: Environment, found: Measurements, started: BenchStarted) -> Iterator[str]:
    yield f"processor: {place.processor}, {place.cores} cores; threads used: {place.threads}"
    yield f"device: {place.device}, {place.dtype}"
    yield f"exact: {'on' if place.exact else 'off'}: {place.exact_reason}"
    if place.int4_backend:
        yield f"INT4 backend: {place.int4_backend}"
    if found.measured:
        yield f"memory: {size_text(max(answer.memory_bytes for answer in found.measured))} at most, with everything loaded"
    needs = (f"{source or 'the target alone'} {size_text(ready.memory_bytes)}" for source, ready in started.loaded.items())
    yield f"memory needed, worked out: {', '.join(needs)}"
    yield f"versions: {', '.join(f'{name} {version}' for name, version in place.versions.items())}"


def _settings(plan: BenchPlan, found: Measurements, started: BenchStarted) -> Iterator[str]:
    yield f"target: {plan.load.target}"
    drafts = dict.fromkeys(method.draft for method in plan.methods if method.draft)
    yield f"draft models: {', '.join(drafts) or 'none'}"
    categories = dict.fromkeys(prompt.category for prompt in plan.prompts)
    cut = f" ({len(started.cut)} cut to the context)" if started.cut else ""
    yield f"prompts: {len(plan.prompts)}{cut}; categories: {', '.join(categories)}"
    yield f"repeats: {plan.repeats} and a warm-up; at most {plan.max_tokens} tokens an answer; seed {plan.seed}"
    ended = " (ended early)" if len(found.measured) < started.answers else ""
    yield f"answers: {len(found.measured)} of {started.answers}{ended}"
