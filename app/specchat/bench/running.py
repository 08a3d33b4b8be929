"""A benchmark from its plan to its reports and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from specchat.bench.document import document
from specchat.bench.measuring import Measurements, measure
from specchat.bench.outputs import Outputs, write
from specchat.bench.plots import write_plots
from specchat.bench.progress import shown_progress
from specchat.bench.record import as_json, record
from specchat.bench.rendering import print_sections
from specchat.bench.texts import Texts, compare, sentence
from specchat.client import EngineClient
from specchat.console import note, report, say
from specchat.guard import INTERRUPTED, OK
from specdec.benchmark.plan import BenchPlan
from specdec.benchmark.summary import summarise
from specdec.errors import SpecError
from specdec.events import BenchStarted, Event


def run(plan: BenchPlan, wanted: Outputs, check: bool, engine: Sequence[str], log: Path) -> int:
    """Measure, write what was asked for, and return the exit code: 1 for a changed text if that is to be checked.

    What ends the benchmark early, an error or Ctrl+C, leaves the reports of what was measured until then.
    """
    if not any(method.draft for method in plan.methods):
        note("There is no draft model: plain decoding, n-gram lookup and the engine's choice between the two are measured.")
    with EngineClient(log, engine) as client, shown_progress() as show:

        def watch(event: Event) -> None:
            if isinstance(event, BenchStarted):
                _tell(event)
            show(event)

        found = measure(client, plan, watch)
    texts = compare(plan, found.measured)
    errors = [found.error] if found.error else []
    if found.started is not None:
        errors += _publish(wanted, found, found.started, texts, client.hello.version)
    for error in errors:
        report(error)
    if check and texts.changed:
        say(f"A text is not plain decoding's. {sentence(texts.changed[0])}")
        return 1
    if errors:
        return errors[0].exit_code
    return INTERRUPTED if found.interrupted else OK


def _publish(wanted: Outputs, found: Measurements, started: BenchStarted, texts: Texts, engine: str) -> list[SpecError]:
    """Write the files, then stdout; a file that cannot be written does not keep the tables from being shown."""
    figures = summarise(found.measured)
    date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    kept = record(found, started, figures, texts, engine, date)
    errors: list[SpecError] = []
    try:
        if wanted.json_file is not None:
            write(wanted.json_file, as_json(kept).encode())
        if wanted.plots is not None and figures:
            write_plots(wanted.plots, found.plan, figures, found.measured)
    except SpecError as error:
        errors.append(error)
    if wanted.json_on_stdout:
        sys.stdout.write(as_json(kept, ascii_only=sys.stdout.isatty()))
    else:
        print_sections(document(found, started, figures, texts), wanted.markdown)
    if not figures:
        say("It ended before the first repeat after the warm-up: there are no figures.")
    return errors


def _tell(started: BenchStarted) -> None:
    """What will not be measured, and what loading warned of, on stderr at once: there is still time to end the benchmark."""
    for name, reason in started.left_out.items():
        note(f"{name} is left out: {reason}")
    if started.cut:
        note(f"{len(started.cut)} prompts are too long for the context and are cut in the middle.")
    for warning in dict.fromkeys(warning for ready in started.loaded.values() for warning in ready.warnings):
        note(warning)
