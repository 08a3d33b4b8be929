"""The commands `specchat bench` and `specchat estimate`. Heavy imports stay inside them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from specchat.guard import OK, guarded


@guarded
def measure_speed(
    context: typer.Context,
    pair: Annotated[str | None, typer.Option(metavar="NAME", help="A pair of models; `specchat pairs` lists them. [default: demo]")] = None,
    target: Annotated[str | None, typer.Option(metavar="SOURCE", help="A target of your own: a directory or a repository.")] = None,
    draft_model: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Only this draft model: int4, int4-shared-head, one of the pair's, a directory or a repository."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="auto, float16, bfloat16, float32, or int8, which changes the text. [default: the pair's]"),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Prompts in the shape of Spec-Bench, a JSON object a line. [default: the own set]")
    ] = None,
    category: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only prompts of this category; may be repeated.")] = None,
    per_category: Annotated[int | None, typer.Option(metavar="N", help="The first N prompts of each category. [default: all]")] = None,
    repeats: Annotated[int | None, typer.Option(metavar="N", help="Answers measured to each prompt, after a warm-up. [default: 3]")] = None,
    max_tokens: Annotated[int | None, typer.Option(metavar="N", help="End each answer after N tokens. [default: 128]")] = None,
    temperature: Annotated[float | None, typer.Option(metavar="T", help="0 is greedy. [default: 0]")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same seed gives the same answers. [default: 0]")] = None,
    exact: Annotated[str, typer.Option(metavar="MODE", help="Bit-identical to plain decoding: auto, on or off.")] = "auto",
    accept: Annotated[
        str, typer.Option(metavar="RULES", help="coupled, rejection or both with a comma; n-gram and auto take the first.")
    ] = "coupled",
    sweep: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="Go through draft-tokens=1,2,4,8 or temperature=0,0.7,1.0.")
    ] = None,
    against: Annotated[str | None, typer.Option(metavar="ENGINE", help="Measure transformers too, on the same prompts.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if any drafter changed any text.")] = False,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is stdout, without tables then.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the tables as Markdown.")] = False,
    plots: Annotated[str | None, typer.Option(metavar="FOLDER", help="Draw plots into it, as SVG and PNG.")] = None,
) -> int:
    """Measure plain decoding and every drafter of a pair over a set of prompts, in turns."""
    from specchat.bench.outputs import outputs
    from specchat.bench.planning import Wanted, build_plan
    from specchat.bench.running import run
    from specchat.client import ENGINE_COMMAND
    from specchat.paths import find_paths

    paths = find_paths()
    wanted = Wanted(
        pair=pair,
        target=target,
        draft_model=draft_model,
        dtype=dtype,
        prompts=prompts,
        categories=tuple(category or ()),
        per_category=per_category,
        repeats=repeats,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
        exact=exact,
        accept=accept,
        sweeps=tuple(sweep or ()),
        against=against,
        check=check,
    )
    plan = build_plan(wanted, paths.user_registry)
    return run(plan, outputs(json_file, markdown, plots), check, context.obj or ENGINE_COMMAND, paths.engine_log)


@guarded
def estimate_speedup(
    acceptance: Annotated[float, typer.Option(metavar="A", help="The part of the tested tokens that is accepted, 0 to 1.")],
    cost: Annotated[float, typer.Option(metavar="C", help="The time of a drafted token, in plain steps.")],
    length: Annotated[str, typer.Option(metavar="K", help="Tokens drafted a round, or best.")] = "best",
    verify_cost: Annotated[float, typer.Option(metavar="V", help="The time of verifying a draft, in plain steps.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> int:
    """Work out what drafting gains; nothing is measured."""
    from specchat.bench.estimate import as_object, estimated, text

    found = estimated(acceptance, cost, verify_cost, length)
    print(json.dumps(as_object(found), indent=2) if as_json else text(found))
    return OK
