"""How turns and rounds stand in the database: as rows of numbers, text and JSON, and back again."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from specchat.transcript import Session, Setup, Turn
from specdec.events import Finish, Round, Statistics

TURN_COLUMNS = "id, parent, role, created, finish, error, statistics, setup, covered, text"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
FINISHES = get_args(Finish)
M = TypeVar("M", bound=BaseModel)


def clean(text: str) -> str:
    """The text as SQLite can keep it: lone surrogates become U+FFFD."""
    return LONE_SURROGATE.sub("\ufffd", text)


def clean_or_none(text: str | None) -> str | None:
    """The same for a text that may be missing."""
    return None if text is None else clean(text)


def decoded(data: bytes) -> str:
    """Text out of the file, where damage may have left bytes that are no text."""
    return data.decode("utf-8", "replace")


def session_row(session: Session) -> tuple[object, ...]:
    """id, title, created, updated, pair, system and head."""
    texts = (clean(text) for text in (session.id, session.title, session.pair, session.system))
    identity, title, pair, system = texts
    return identity, title, session.created, session.updated, pair, system, clean_or_none(session.head)


def turn_row(turn: Turn) -> tuple[object, ...]:
    """The values of TURN_COLUMNS; `covered` is the number of rounds that the text already holds."""
    return (clean(turn.id), clean_or_none(turn.parent), turn.role, turn.created, *outcome(turn))


def outcome(turn: Turn) -> tuple[object, ...]:
    """The values of TURN_COLUMNS that are known at the end of an answer, from `finish` on."""
    statistics, setup = (None if part is None else _packed(part) for part in (turn.statistics, turn.setup))
    return turn.finish, clean(turn.error), statistics, setup, len(turn.rounds), clean(turn.text)


def pack_rounds(rounds: Iterable[Round]) -> list[str]:
    """A JSON text for each round, without the fields that have their default."""
    return [_packed(round_, exclude_defaults=True) for round_ in rounds]


def unpack_rounds(rows: Iterable[str]) -> list[Round]:
    """The rounds of such texts; one that damage made unreadable is left out."""
    return [round_ for data in rows if (round_ := _unpacked(Round, data))]


def text_of(rounds: Sequence[Round]) -> str:
    """The text that rounds emitted."""
    return "".join(run.text for round_ in rounds for run in round_.runs)


def load_turns(db: sqlite3.Connection, session_id: str) -> dict[str, Turn]:
    """The turns of a session in the order they were added; a parent that damage took away is nothing."""
    rows = list(db.execute(f"SELECT number, {TURN_COLUMNS} FROM turn WHERE session = ? ORDER BY number", (session_id,)))
    rounds: dict[int, list[str]] = {number: [] for number, *_ in rows}
    query = "SELECT turn, data FROM round WHERE turn IN (SELECT number FROM turn WHERE session = ?) ORDER BY number"
    for number, data in db.execute(query, (session_id,)):
        rounds[number].append(data)
    known = {row[1] for row in rows}
    turns = (_turn(row, known, unpack_rounds(rounds[row[0]])) for row in rows)
    return {turn.id: turn for turn in turns}


def _turn(row: tuple[Any, ...], known: set[str], rounds: list[Round]) -> Turn:
    _, identity, parent, role, created, finish, error, statistics, setup, covered, text = row
    return Turn(
        id=identity,
        parent=parent if parent in known else None,
        role="user" if role == "user" else "assistant",
        created=created,
        text=text + text_of(rounds[covered:]),
        rounds=rounds,
        finish=finish if finish in FINISHES else None,
        error=error,
        statistics=_unpacked(Statistics, statistics),
        setup=_unpacked(Setup, setup),
    )


def _packed(model: BaseModel, exclude_defaults: bool = False) -> str:
    return clean(json.dumps(model.model_dump(exclude_defaults=exclude_defaults), ensure_ascii=False, separators=(",", ":")))


def _unpacked(kind: type[M], data: str | None) -> M | None:
    try:
        return None if data is None else kind.model_validate_json(data)
    except ValidationError:
        return None
