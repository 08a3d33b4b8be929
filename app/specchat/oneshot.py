"""One question, one answer: as text, as one JSON object, or as the engine's events a line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from specchat import __version__
from specchat.answer import Answer, ask, load
from specchat.choices import Job
from specchat.client import EngineClient
from specchat.console import report
from specchat.guard import INTERRUPTED, OK
from specchat.writer import TextWriter, print_figures
from specdec.errors import SpecError
from specdec.events import PROTOCOL_VERSION, Chat, Error, Event
from specdec.options import Message

Form = Literal["text", "json", "jsonl"]


def answer_once(job: Job, prompt: str, form: Form, marks: bool, statistics: bool, engine: Sequence[str], log: Path) -> int:
    """Answer a prompt on stdout and return the exit code.

    Whatever ends the answer early, an error or Ctrl+C, leaves what there is on stdout and the reason on stderr.
    """
    chat = job.chat([Message(role="user", content=prompt)])
    answer = Answer()
    writer = TextWriter(marks) if form == "text" else None
    show = writer.watch if writer else _print_event if form == "jsonl" else _ignore
    code = _run(job, chat, answer, show, engine, log)
    if writer:
        writer.end(answer, statistics)
    elif form == "jsonl" and answer.error:
        _print_event(Error.of(answer.error))
    elif form == "json":
        _print_json(_object(job, answer))
    if statistics and not writer:
        print_figures(answer)
    if answer.error:
        report(answer.error)
    return code


def _run(job: Job, chat: Chat, answer: Answer, show: Callable[[Event], None], engine: Sequence[str], log: Path) -> int:
    def watch(event: Event) -> None:
        answer.record(event)
        show(event)

    try:
        with EngineClient(log, engine) as client:
            watch(client.hello)
            load(client, job.load, watch)
            ask(client, chat, watch)
    except SpecError as error:
        answer.error = error
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return INTERRUPTED if answer.interrupted else OK


def _object(job: Job, answer: Answer) -> dict[str, Any]:
    """The answer with everything needed to get it again; `settings` are the ones in force as far as the engine told them."""
    ready, started, error = answer.ready, answer.started, answer.error
    return {
        "text": answer.text,
        "runs": [_plain(run) for run in answer.runs],
        "finish": answer.done.finish if answer.done else None,
        "partial": answer.done is None,
        "error": {"kind": error.kind, "cause": error.cause, "next_step": error.next_step} if error else None,
        "statistics": _plain(answer.done.statistics) if answer.done else None,
        "settings": {
            "load": _plain(job.load),
            "sampling": _plain(started.sampling if started else job.sampling),
            "drafting": _plain(job.drafting),
            "max_tokens": job.max_tokens,
            "stop": job.stop,
            "system": job.system,
        },
        "engine": ready.model_dump(mode="json", exclude={"id", "type", "warnings"}) if ready else None,
        "warnings": ready.warnings if ready else (),
        "versions": {
            "specchat": __version__,
            "engine": answer.hello.version if answer.hello else None,
            "protocol": PROTOCOL_VERSION,
        },
    }


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _print_event(event: Event) -> None:
    _print_json(_plain(event))


def _print_json(value: Any) -> None:
    """One JSON value on a line; pure ASCII on a terminal, which could obey a control character in it."""
    print(json.dumps(value, ensure_ascii=sys.stdout.isatty()), flush=True)


def _ignore(_event: Event) -> None:
    """Show nothing while the answer grows."""
