"""The native format promises to give an equal session back, and to refuse everything else with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.export_sessions import conversation, sessions

from specchat.export import read_sessions, with_fresh_ids
from specchat.export.errors import ExportError
from specchat.export.native import write
from specchat.transcript import Session


@given(sessions())
def test_every_session_comes_back_equal_and_in_order(session: Session) -> None:
    [again] = read_sessions(write(session))
    assert again == session
    assert list(again.turns) == list(session.turns)


def test_rounds_are_written_as_spans_with_tokens_texts_and_rejected_text() -> None:
    document = json.loads(write(conversation()))
    assert (document["format"], document["version"]) == ("specchat", 1)
    first = document["session"]["turns"][1]["rounds"][0]
    assert first["spans"] == [["draft", 2], ["corrected", 1]]
    assert (first["texts"], first["tokens"]) == (["It ", "guesses "], [1, 2, 3])
    assert (first["rejected"], first["draft_ms"]) == ("was", 1.25)


@given(sessions())
def test_fresh_ids_change_nothing_else(session: Session) -> None:
    fresh = with_fresh_ids(session)
    assert fresh.id != session.id
    assert not fresh.turns.keys() & session.turns.keys()
    assert [turn.text for turn in fresh.branch()] == [turn.text for turn in session.branch()]
    places = {old: number for number, old in enumerate(session.turns)}
    fresh_places = {new: number for number, new in enumerate(fresh.turns)}
    assert [fresh_places.get(turn.parent or "") for turn in fresh.turns.values()] == [
        places.get(turn.parent or "") for turn in session.turns.values()
    ]


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(write(conversation()))
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(session=None), "session"),
        (lambda d: d["session"].pop("title"), "title"),
        (lambda d: d["session"].update(created=-1), "time"),
        (lambda d: d["session"].update(updated=1e300), "time"),
        (lambda d: d["session"].update(head="nobody"), "branch"),
        (lambda d: d["session"].update(id="../../etc"), "session.id"),
        (lambda d: d["session"]["turns"][1].update(parent="nobody"), "not in the file"),
        (lambda d: d["session"]["turns"][1].update(parent=d["session"]["turns"][2]["id"]), "follows itself"),
        (lambda d: d["session"]["turns"][0].update(parent=d["session"]["turns"][0]["id"]), "follows itself"),
        (lambda d: d["session"]["turns"].append(d["session"]["turns"][0]), "same id"),
        (lambda d: d["session"]["turns"][1].update(role="system"), "role"),
        (lambda d: d["session"]["turns"][1].update(finish=7), "finish"),
        (lambda d: d["session"]["turns"][1]["rounds"][0].update(tokens=[1]), "tokens"),
        (lambda d: d["session"]["turns"][1]["rounds"][0].update(spans=[["magic", 3]]), "session.turns.1.rounds.0.spans"),
        (lambda d: d["session"]["turns"][1]["rounds"][0].update(draft_ms="soon"), "draft_ms"),
        (lambda d: d["session"]["turns"][1]["rounds"][0].update(drafted=10**30), "too large"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(ExportError, match=said):
        read_sessions(broken(change))


@given(sessions(), st.data())
def test_a_truncated_file_is_refused(session: Session, data: st.DataObject) -> None:
    text = write(session)
    with pytest.raises(ExportError):
        read_sessions(text[: data.draw(st.integers(0, len(text) - 2))])
