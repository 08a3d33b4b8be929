"""The command `specchat doctor`. Heavy imports stay inside it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from specchat.guard import INTERRUPTED, OK, guarded


@guarded
def examine_machine(
    context: typer.Context,
    pair: Annotated[str | None, typer.Option(metavar="NAME", help="A pair of models; `specchat pairs` lists them. [default: demo]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> int:
    """Say what this machine offers, what a pair needs and gains here, and what holds it back."""
    from specchat.bench.measuring import measure
    from specchat.bench.progress import shown_progress
    from specchat.choices import DEFAULT_PAIR
    from specchat.client import ENGINE_COMMAND, EngineClient
    from specchat.console import ProgressLine
    from specchat.doctor import report
    from specchat.doctor.examination import Examination, as_object, findings, inspect, weigh
    from specchat.doctor.plan import obstacle, short_plan
    from specchat.pairs import pair_row, survey
    from specchat.paths import find_paths
    from specchat.visible import visible
    from specdec.free_memory import free_memory
    from specdec.registry import find_pair, load_registry

    def show(section: str) -> None:
        if section and not as_json:
            print(visible(section), end="\n\n", flush=True)

    paths = find_paths()
    spec = find_pair(load_registry(paths.user_registry), pair or DEFAULT_PAIR)
    waiting = ProgressLine()
    with EngineClient(paths.engine_log, context.obj or ENGINE_COMMAND) as client:
        waiting.show("looking at the machine", 0, 0)
        try:
            facts = inspect(client)
        finally:
            waiting.clear()
        show(report.machine_section(facts))
        memory = free_memory(facts.device)
        row = pair_row(survey(spec), memory, spec.context)
        show(report.pair_section(row, memory))
        not_measured = obstacle(row)
        gains = None
        if not not_measured:
            with shown_progress() as watch:
                gains = weigh(measure(client, short_plan(spec, row), watch))
        engine = client.hello.version
    show(report.gain_section(gains) if gains else report.obstacle_section(not_measured))
    found = Examination(facts, row, not_measured, gains, findings(facts, row, gains))
    show(report.finding_section(found.findings, found.well))
    ended = gains.measurements if gains else None
    if as_json:
        print(json.dumps(as_object(found, engine), indent=2))
    if ended and ended.error:
        raise ended.error
    return INTERRUPTED if ended and ended.interrupted else OK
