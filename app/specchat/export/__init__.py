"""Conversations as files: the formats there are, how each is called, written and, where that can be done, read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from specchat.export import html, markdown, native, openwebui, sharegpt, sts
from specchat.export.errors import ExportError
from specchat.export.reading import parse
from specchat.transcript import Session, new_id

Reader = Callable[[str], list[Session]]


@dataclass(frozen=True)
class Format:
    """One kind of file; `suffix` ends its names, `title` says in a line what it is for, `read` is None if it cannot be imported."""

    name: str
    suffix: str
    title: str
    write: Callable[[Session], str]
    read: Reader | None = None


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("markdown", ".md", "Text to read and edit", markdown.write),
        Format("html", ".html", "A page that shows each token's source", html.write),
        Format("json", ".json", "Everything, to import without loss", native.write, native.read),
        Format("jsonl", ".jsonl", "Trace for llama.cpp and Hugging Face", sts.write, sts.read),
        Format("openwebui", ".openwebui.json", "Every branch, for Open WebUI", openwebui.write, openwebui.read),
        Format("sharegpt", ".sharegpt.json", "This branch, for fine-tuning", sharegpt.write, sharegpt.read),
    )
}


def format_of(name: str) -> Format | None:
    """The format whose suffix a file's name ends with; the longest one if there are several."""
    fitting = [format_ for format_ in FORMATS.values() if name.lower().endswith(format_.suffix)]
    return max(fitting, key=lambda format_: len(format_.suffix), default=None)


def read_sessions(text: str) -> list[Session]:
    """The sessions a text holds in any format that can be read; raises ExportError if that fails, or if it holds none of them."""
    return _reader(_first_value(text))(text)


def with_fresh_ids(session: Session) -> Session:
    """The session under ids that no stored one has."""
    fresh = {old: new_id() for old in session.turns}
    turns = [
        replace(turn, id=fresh[turn.id], parent=fresh[turn.parent] if turn.parent is not None else None) for turn in session.turns.values()
    ]
    return replace(
        session, id=new_id(), turns={turn.id: turn for turn in turns}, head=fresh[session.head] if session.head is not None else None
    )


def _first_value(text: str) -> object:
    """The JSON value in the first line that is not blank, or else in the whole text."""
    try:
        return parse(text.lstrip().partition("\n")[0])
    except ExportError:
        return parse(text)


def _reader(value: object) -> Reader:
    match value:
        case {"format": "specchat"}:
            return native.read
        case {"type": "session" | "message"}:
            return sts.read
        case {"conversations": _} | [{"conversations": _}, *_]:
            return sharegpt.read
        case {"chat": _} | {"history": _} | [{"chat": _}, *_] | [{"history": _}, *_]:
            return openwebui.read
    names = ", ".join(format_.name for format_ in FORMATS.values() if format_.read)
    raise ExportError("The file holds no conversation of a known format.", f"These can be imported: {names}.")
