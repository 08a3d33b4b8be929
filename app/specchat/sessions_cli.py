"""The commands for stored conversations: list, export and import. Heavy imports stay inside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from specchat.guard import OK, guarded

if TYPE_CHECKING:
    from specchat.export import Format
    from specchat.store import SessionRow, Store

ID_LENGTH = 8
HEADER = ("ID", "BEGUN", "PAIR", "MESSAGES", "TITLE")


@guarded
def list_sessions(
    query: Annotated[str, typer.Argument(metavar="[QUERY]", help="Only those that hold these words.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON list.")] = False,
) -> int:
    """List the stored conversations, the newest first."""
    with _store() as store:
        rows = store.sessions(query)
    print(json.dumps([_record(row) for row in rows], indent=2, ensure_ascii=False) if as_json else _table(rows))
    return OK


@guarded
def export_session(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The id, or how it begins; `specchat sessions` lists them.")],
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="markdown, html, json, jsonl, openwebui or sharegpt. [default: by the name, else markdown]"
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PATH", help="A file or a folder; - is stdout. [default: this folder]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> int:
    """Write a conversation to a file and print the file's name."""
    from pathlib import Path

    from specchat.export.files import target_path, write_file

    format_ = _format(format_name, output or "")
    with _store() as store:
        found = store.load(store.find(session))
    text = format_.write(found)
    if output == "-":
        sys.stdout.write(text)
        return OK
    path = target_path(found, format_.suffix, output or "", Path())
    write_file(path, text, overwrite)
    print(path)
    return OK


@guarded
def import_file(
    path: Annotated[str, typer.Argument(metavar="FILE", help="A json, jsonl, openwebui or sharegpt export; - is stdin.")],
) -> int:
    """Store the conversations of a file under new ids and print these."""
    from pathlib import Path

    from specchat.export import read_sessions, with_fresh_ids
    from specchat.export.files import decode, read_text

    text = decode(sys.stdin.buffer) if path == "-" else read_text(Path(path))
    sessions = [with_fresh_ids(session) for session in read_sessions(text)]
    with _store() as store:
        for session in sessions:
            store.save_whole(session)
            print(session.id)
    return OK


@contextmanager
def _store() -> Iterator[Store]:
    """The user's store, open for the time of a command."""
    from specchat.console import note
    from specchat.paths import find_paths
    from specchat.store import Store

    store = Store(find_paths().database)
    try:
        if store.notice:
            note(store.notice)
        yield store
    finally:
        store.close()


def _format(name: str | None, output: str) -> Format:
    """The format that was named, else the one the output's name ends with, else Markdown; raises UsageError."""
    from pathlib import PurePath

    from specchat.export import FORMATS, format_of
    from specdec.errors import UsageError

    if name is None:
        suffix = PurePath(output).suffix
        if suffix and not output.endswith("/") and format_of(output) is None:
            raise UsageError(f"No format has names that end in {suffix!r}.", f"Name one with --format: {', '.join(FORMATS)}.")
        return format_of(output) or FORMATS["markdown"]
    if name not in FORMATS:
        raise UsageError(f"There is no format {name!r}.", f"There are {', '.join(FORMATS)}.")
    return FORMATS[name]


def _record(row: SessionRow) -> dict[str, object]:
    return {
        "id": row.id,
        "title": row.title,
        "created": row.created,
        "updated": row.updated,
        "pair": row.pair,
        "messages": row.turns,
        "excerpt": row.excerpt,
    }


def _table(rows: list[SessionRow]) -> str:
    """The listing as plain text, a conversation a line."""
    from specchat.export.summary import local_time
    from specchat.visible import visible

    cells = [HEADER]
    cells += [(row.id[:ID_LENGTH], f"{local_time(row.created):%Y-%m-%d %H:%M}", row.pair, f"{row.turns}", row.title) for row in rows]
    safe = [[visible(" ".join(cell.split())) for cell in line] for line in cells]
    widths = [max(len(line[column]) for line in safe) for column in range(len(HEADER))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in safe)
