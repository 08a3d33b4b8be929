"""The command line. Heavy imports stay inside the commands, so that `--help` is there at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from specchat import __version__
from specchat.bench.command import estimate_speedup, measure_speed
from specchat.doctor.command import examine_machine
from specchat.guard import INTERRUPTED, OK, guarded
from specchat.sessions_cli import export_session, import_file, list_sessions

if TYPE_CHECKING:
    from specchat.paths import Paths
    from specdec.options import LoadOptions

HELP = """A local assistant: speculative decoding of a target model with a draft, exact by default.

Without a command and a prompt it opens the app. With -p TEXT, -p - or piped input it answers on stdout; both together are
joined by a blank line.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=HELP)


def main(engine: Sequence[str] | None = None) -> None:
    """Run the command line of this process and exit; `engine` replaces the command that starts the engine."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115  (it stays open as long as the process)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    app(prog_name="specchat", obj=engine)


@app.callback(invoke_without_command=True)
@guarded
def answer(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="The prompt; - reads it from stdin.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Chat line by line, without a full screen.")] = False,
    pair: Annotated[str | None, typer.Option(metavar="NAME", help="A pair of models; `specchat pairs` lists them. [default: demo]")] = None,
    target: Annotated[str | None, typer.Option(metavar="SOURCE", help="A target of your own: a directory or a repository.")] = None,
    draft_model: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="The draft model: int4, int4-shared-head, one of the pair's, a directory or a repository."),
    ] = None,
    draft: Annotated[str, typer.Option(metavar="KIND", help="Who drafts: auto, off, ngram or model.")] = "auto",
    draft_tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens drafted a round. [default: measured]")] = None,
    accept: Annotated[str, typer.Option(metavar="RULE", help="coupled, rejection, or the lossy threshold:X.")] = "coupled",
    exact: Annotated[str, typer.Option(metavar="MODE", help="Bit-identical to plain decoding: auto, on or off.")] = "auto",
    max_tokens: Annotated[int | None, typer.Option(metavar="N", min=1, help="End the answer after N tokens.")] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="0 is greedy. [default: the model's own, as for the next four]")
    ] = None,
    top_k: Annotated[int | None, typer.Option(metavar="K", help="Keep the K likeliest tokens; 0 keeps all.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="P", help="Keep the likeliest tokens up to this probability mass.")] = None,
    min_p: Annotated[float | None, typer.Option(metavar="P", help="Keep tokens at least P times as likely as the likeliest.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(metavar="X", help="Above 1 makes repetition less likely.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same seed gives the same answer. [default: drawn]")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="A system message before the prompt.")] = None,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End the answer at this text; may be repeated.")] = None,
    context_tokens: Annotated[int | None, typer.Option("--context", metavar="N", help="Tokens of context. [default: the pair's]")] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="auto, float16, bfloat16, float32, or int8, which changes the text. [default: the pair's]"),
    ] = None,
    statistics: Annotated[bool, typer.Option("--stats", help="Show on stderr what the answer cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    as_events: Annotated[bool, typer.Option("--jsonl", help="Write the engine's events, a JSON object a line.")] = False,
    marks: Annotated[bool, typer.Option("--marks", help="Show on a terminal where each token came from.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> int:
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return OK
    if version:
        print(f"specchat {__version__}")
        return OK

    from specchat.choices import Job, checked, choose_models
    from specchat.client import ENGINE_COMMAND
    from specchat.console import note
    from specchat.engine_log import complaint
    from specchat.oneshot import Form, answer_once
    from specchat.paths import find_paths
    from specchat.plain import chat_in_lines
    from specchat.prompt import at_terminal, check_arguments, read_prompt
    from specdec.errors import UsageError
    from specdec.options import Drafting, Sampling

    check_arguments(sys.argv[1:])
    if as_json and as_events:
        raise UsageError("--json and --jsonl contradict each other.", "Give one of them.")
    if marks and (as_json or as_events):
        raise UsageError("--marks is for text, not for JSON, which names every token's source itself.", "Leave it out.")
    if plain and (prompt is not None or as_json or as_events):
        raise UsageError("--plain is a chat; it goes with neither -p nor --json nor --jsonl.", "Leave one of them out.")
    if stop and not all(stop):
        raise UsageError("--stop needs at least one character.", "Leave it out to answer until the model ends.")
    paths = find_paths()
    drafting = checked(Drafting, draft=draft, draft_tokens=draft_tokens, accept=accept)
    if accept.startswith("threshold"):
        note(f"--accept {accept} is lossy: the text may differ from the target's own.")
    sampling = checked(
        Sampling, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty, seed=seed
    )
    engine: Sequence[str] = context.obj or ENGINE_COMMAND

    def models() -> LoadOptions:
        return choose_models(paths.user_registry, drafting, pair, target, draft_model, dtype=dtype, context=context_tokens, exact=exact)

    if prompt is None and not plain and at_terminal():
        return _open_app(context, models, paths, engine)
    log_complaint = complaint(paths.engine_log)
    if log_complaint:
        note(log_complaint)
    job = Job(
        load=models(),
        sampling=sampling,
        drafting=drafting,
        max_tokens=max_tokens,
        stop=tuple(stop or ()),
        system=system,
    )
    if plain:
        return chat_in_lines(job, marks, statistics, engine, paths.engine_log)
    text = read_prompt(prompt)
    form: Form = "json" if as_json else "jsonl" if as_events else "text"
    return answer_once(job, text, form, marks, statistics, engine, paths.engine_log)


app.command("sessions")(list_sessions)
app.command("export")(export_session)
app.command("import")(import_file)
app.command("bench")(measure_speed)
app.command("estimate")(estimate_speedup)
app.command("doctor")(examine_machine)


def _open_app(context: typer.Context, models: Callable[[], LoadOptions], paths: Paths, engine: Sequence[str]) -> int:
    from specchat.tui.run import run_app, settings_changes
    from specdec.errors import UsageError

    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        raise UsageError(
            "There is no prompt, and no terminal for the app.", "`specchat -p TEXT` answers one, `specchat --plain` chats line by line."
        )
    given = {name: value for name, value in context.params.items() if _on_the_command_line(context, name)}
    useless = [option for option in ("as_json", "as_events", "statistics", "stop") if option in given]
    if useless:
        named = {"as_json": "--json", "as_events": "--jsonl", "statistics": "--stats", "stop": "--stop"}[useless[0]]
        raise UsageError(f"{named} needs a prompt.", "Give one with -p TEXT, or leave the option out to open the app.")
    load = models() if {"pair", "target", "draft_model", "dtype"} & given.keys() else None
    own_models = load if {"target", "draft_model"} & given.keys() else None
    return run_app(paths, engine, settings_changes(given), own_models)


@app.command("pairs")
@guarded
def list_pairs(as_json: Annotated[bool, typer.Option("--json", help="Write a JSON list.")] = False) -> int:
    """List the pairs there are, what of them is on disk, and whether they fit into memory."""
    from specchat.pairs import rows
    from specchat.pairs_table import table
    from specchat.paths import find_paths
    from specdec.free_memory import free_memory
    from specdec.registry import load_registry

    listing = rows(load_registry(find_paths().user_registry), free_memory())
    print(json.dumps([row.model_dump(mode="json") for row in listing], indent=2) if as_json else table(listing))
    return OK


@app.command("pull")
@guarded
def pull_pair(
    name: Annotated[str, typer.Argument(metavar="PAIR", help="A pair that `specchat pairs` lists.")],
    draft: Annotated[str | None, typer.Option(metavar="NAME", help="Only this draft of the pair. [default: all of them]")] = None,
) -> int:
    """Download the models of a pair; an interrupted download goes on where it ended."""
    from specchat.console import ProgressLine, report
    from specchat.interrupts import interrupts
    from specchat.paths import find_paths
    from specchat.pull import pull
    from specdec.download import DownloadCancelled
    from specdec.registry import find_pair, load_registry

    pair = find_pair(load_registry(find_paths().user_registry), name)
    progress = ProgressLine()
    with interrupts(ask=lambda: None, force=lambda: None) as presses:
        try:
            pulled = pull(pair, draft, lambda file, done, total: progress.show(file, done, total, "bytes"), lambda: presses.count > 0)
        except DownloadCancelled as error:
            progress.clear()
            report(error)
            return INTERRUPTED
        finally:
            progress.clear()
    print(pulled.summary)
    return OK


@app.command("paths")
@guarded
def list_paths(as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False) -> int:
    """List the folders in use."""
    from specchat.paths import find_paths

    paths = find_paths()
    named = {
        "config": paths.config,
        "pairs": paths.user_registry,
        "sessions": paths.sessions,
        "logs": paths.logs,
        "models": paths.models,
    }
    if as_json:
        print(json.dumps({name: str(path) for name, path in named.items()}, indent=2))
    else:
        for name, path in named.items():
            print(f"{name:<10}{path}")
    return OK


def _refuse_options(context: typer.Context) -> None:
    from specdec.errors import UsageError

    if any(_on_the_command_line(context, name) for name in context.params):
        raise UsageError(
            f"Options before `{context.invoked_subcommand}` have no effect.", "Leave them out, or put them after it if they are its own."
        )


def _on_the_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
