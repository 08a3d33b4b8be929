"""specchat's own format: JSON that holds everything of a conversation and gives an equal one back."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from specchat.export.errors import ExportError
from specchat.export.reading import LAST_SECOND, NEXT_STEP, checked, parents_first, parse
from specchat.transcript import Session, Turn
from specdec.events import Round, Run, Source

FORMAT, VERSION = "specchat", 1
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _PackedRound(BaseModel):
    """A round whose runs are spread over three lists, which takes half the room; the rest of its fields are extra."""

    model_config = ConfigDict(extra="allow")

    spans: list[tuple[Source, NonNegativeInt]]
    texts: list[str]
    tokens: list[int]


class _PackedTurn(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: Name
    rounds: list[_PackedRound]


class _PackedSession(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: Name
    turns: list[_PackedTurn]


class _Document(BaseModel):
    format: Literal["specchat"]
    session: _PackedSession


_DOCUMENT = TypeAdapter(_Document)
_SESSION = TypeAdapter(Session)
_TURN = TypeAdapter(Turn)
_ROUND = TypeAdapter(Round)


def write(session: Session) -> str:
    """The whole session, every branch and round included."""
    body = _SESSION.dump_python(session, mode="json", exclude={"turns"})
    turns = [
        _TURN.dump_python(turn, mode="json", exclude={"rounds"}) | {"rounds": [_packed(round_) for round_ in turn.rounds]}
        for turn in session.turns.values()
    ]
    return json.dumps({"format": FORMAT, "version": VERSION, "session": body | {"turns": turns}}, ensure_ascii=False) + "\n"


def read(text: str) -> list[Session]:
    """The one session that `write` made the text of; raises ExportError for anything else."""
    value = parse(text)
    if isinstance(value, dict) and value.get("version", VERSION) != VERSION:
        raise ExportError("The file is of a version of the format that this specchat does not know.", "Update specchat to import it.")
    packed = checked(_DOCUMENT, value).session
    turns = {turn.id: {**_extra(turn), "id": turn.id, "rounds": [_unpacked(round_) for round_ in turn.rounds]} for turn in packed.turns}
    if len(turns) < len(packed.turns):
        raise ExportError("Two messages in the file have the same id.", NEXT_STEP)
    session = checked(_SESSION, {**_extra(packed), "id": packed.id, "turns": turns})
    parents_first({turn.id: turn.parent for turn in session.turns.values()})
    if session.head is not None and session.head not in session.turns:
        raise ExportError("The last message of the branch that is shown is not in the file.", NEXT_STEP)
    if not all(0 <= when <= LAST_SECOND for when in _times(session)):
        raise ExportError("The file holds a time that cannot be.", NEXT_STEP)
    return [session]


def _packed(round_: Round) -> dict[str, Any]:
    return round_.model_dump(exclude={"type", "runs"}, exclude_defaults=True) | {
        "spans": [[run.source, len(run.tokens)] for run in round_.runs],
        "texts": [run.text for run in round_.runs],
        "tokens": [token for run in round_.runs for token in run.tokens],
    }


def _unpacked(packed: _PackedRound) -> Round:
    if len(packed.texts) != len(packed.spans) or len(packed.tokens) != sum(count for _, count in packed.spans):
        raise ExportError("A round in the file has more or fewer tokens than its spans say.", NEXT_STEP)
    runs: list[Run] = []
    start = 0
    for (source, count), text in zip(packed.spans, packed.texts, strict=True):
        runs.append(Run(source=source, text=text, tokens=tuple(packed.tokens[start : start + count])))
        start += count
    return checked(_ROUND, {**_extra(packed), "runs": runs})


def _extra(packed: BaseModel) -> dict[str, Any]:
    return packed.model_extra or {}


def _times(session: Session) -> list[float]:
    return [session.created, session.updated, *(turn.created for turn in session.turns.values())]
