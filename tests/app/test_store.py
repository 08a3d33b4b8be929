"""The store promises that what goes in comes out, that everything is found again, and that what it cannot keep is said."""

from __future__ import annotations

import re
import stat
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.app.store_sessions import round_of, session_with, sessions

from specchat.store import Store, StoreError
from specchat.transcript import Session
from specdec.errors import SpecError
from specdec.events import Round

DAY = 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder that is not there yet."""
    return tmp_path / "data" / "sessions.db"


def cleaned(value: Any) -> Any:
    """The value with every lone surrogate replaced, as plain data."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, BaseModel):
        return cleaned(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return cleaned(asdict(value))
    if isinstance(value, dict):
        return {cleaned(key): cleaned(part) for key, part in value.items()}
    return [cleaned(part) for part in value] if isinstance(value, list | tuple) else value


@given(session=sessions())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_session_comes_back_equal_but_for_lone_surrogates(session: Session) -> None:
    store = Store(None)
    store.save_whole(session)
    assert cleaned(store.load(session.id)) == cleaned(session)


@given(session=sessions())
@settings(max_examples=50, deadline=None)
def test_so_does_one_that_was_saved_turn_by_turn_as_it_streamed(session: Session) -> None:
    store = Store(None)
    store.save(session)
    for turn in session.turns.values():
        begun = type(turn)(turn.id, turn.parent, turn.role, turn.created)
        store.add_turn(session.id, begun)
        for round_ in turn.rounds:
            store.add_rounds(turn.id, [round_])
        store.settle(turn)
    assert cleaned(store.load(session.id)) == cleaned(session)


def test_the_order_of_alternatives_survives(path: Path) -> None:
    session = session_with("", "a", "first")
    prompt = next(iter(session.turns))
    second = session.append("assistant", "second", parent=prompt)
    store = Store(path)
    store.save_whole(session)
    assert [turn.text for turn in store.load(session.id).siblings(second.id)] == ["first", "second"]


def test_the_file_and_its_companions_are_the_users_alone(path: Path) -> None:
    store = Store(path)
    store.save_whole(session_with("a", "b"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert {file.suffix for file in path.parent.iterdir()} >= {".db", ".db-wal"}


def test_an_open_file_is_made_private_again(path: Path) -> None:
    Store(path).close()
    path.chmod(0o644)
    Store(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sessions_are_listed_newest_first_with_their_last_message(path: Path) -> None:
    store = Store(path)
    old, new = session_with("old", "question", "the\n  answer"), session_with("new", "hello")
    old.updated, new.updated = 1.0, 2.0
    for session in (new, old):
        store.save_whole(session)
    rows = store.sessions()
    assert [(row.id, row.title, row.turns, row.excerpt) for row in rows] == [(new.id, "new", 1, "hello"), (old.id, "old", 2, "the answer")]
    old.updated = 3.0
    store.save(old)
    assert store.sessions()[0].id == old.id


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("quick", {"sort"}),
        ("QUICKsort", {"sort"}),
        ("sort", {"sort"}),
        ("creme brulee", {"menu"}),
        ("crème", {"menu"}),
        ("menu dessert", {"menu"}),
        ("dess sugar", {"menu"}),
        ("quick sugar", set()),
        ("uicksort", set()),
        ('"the', {"sort", "menu"}),
        ("the*", {"sort", "menu"}),
        ("-the", {"sort", "menu"}),
        ("NEAR(the, the)", set()),
        ("AND", set()),
        ("text:the", set()),
        ("* \" ' - ( ) : ^", {"sort", "menu", "blank"}),
        ("", {"sort", "menu", "blank"}),
        ("\x00 \ud800", {"sort", "menu", "blank"}),
    ],
)
def test_a_search_finds_words_by_their_beginning_in_titles_and_messages(query: str, found: set[str]) -> None:
    store = Store(None)
    for session in (
        session_with("sort", "The quicksort, please", "Here"),
        session_with("menu", "What dessert?", "The crème brûlée; sugar on top"),
        session_with("blank", "…"),
    ):
        store.save_whole(session)
    assert {row.title for row in store.sessions(query)} == found


@given(query=st.text(max_size=40) | st.lists(st.sampled_from(["NEAR", "AND", '"', "*", "a", "^", "{text}:", "(", "-"])).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_any_input_is_a_query(query: str) -> None:
    store = Store(None)
    store.save_whole(session_with("a", "b"))
    store.sessions(query)


def test_a_query_of_ten_thousand_words_is_one_too() -> None:
    store = Store(None)
    store.save_whole(session_with("w0", " ".join(f"w{number}" for number in range(40))))
    assert len(store.sessions(" ".join(f"w{number}" for number in range(10_000)))) == 1


def test_the_excerpt_shows_the_match() -> None:
    store = Store(None)
    store.save_whole(session_with("sewing", "word " * 500 + "here is the Nadel in hay " + "word " * 500, "nothing"))
    assert "the Nadel in" in store.sessions("nadel")[0].excerpt
    assert store.sessions("sew")[0].excerpt == "nothing"


def test_a_new_title_is_found_and_the_old_one_no_longer() -> None:
    store = Store(None)
    session = session_with("before", "x")
    store.save_whole(session)
    store.rename(session.id, "after")
    assert store.load(session.id).title == "after"
    assert store.sessions("after")
    assert not store.sessions("before")


def test_a_settled_answer_is_found() -> None:
    store = Store(None)
    session = session_with("t", "question")
    answer = session.append("assistant")
    store.save(session)
    for turn in session.turns.values():
        store.add_turn(session.id, turn)
    store.add_rounds(answer.id, answer.add([round_of("lighthouse")]))
    answer.finish = "eos"
    store.settle(answer)
    assert store.sessions("lighthouse")


def test_a_continued_answer_is_under_way_until_it_is_settled_again() -> None:
    store = Store(None)
    session = session_with("t", "question")
    answer = session.append("assistant")
    answer.add([round_of("one ")])
    answer.finish = "stopped"
    store.save_whole(session)
    store.add_rounds(answer.id, answer.add([round_of("two ")]))
    loaded = store.load(session.id).turns[answer.id]
    assert (loaded.text, loaded.finish) == ("one two ", None)


def test_settling_writes_the_rounds_that_could_not_be_written_before() -> None:
    store = Store(None)
    session = session_with("t", "question")
    answer = session.append("assistant")
    store.save_whole(session)
    first, _lost, third = (answer.add([round_of(text)]) for text in ("a", "b", "c"))
    store.add_rounds(answer.id, first)
    store.add_rounds(answer.id, third)
    store.settle(answer)
    assert store.load(session.id).turns[answer.id] == answer


def test_find_takes_an_id_its_beginning_a_title_or_last() -> None:
    store = Store(None)
    for identity, title, updated in (("aa11", "Straße", 1.0), ("aa22", "twice", 3.0), ("bb33", "Twice", 2.0)):
        session = session_with(title, "text")
        session.id, session.updated = identity, updated
        store.save_whole(session)
    assert store.find("aa11") == store.find("aa1") == store.find("STRASSE") == "aa11"
    assert store.find("b") == "bb33"
    assert store.find("last") == "aa22"
    with pytest.raises(StoreError, match=r"aa22 “twice”, aa11 “Straße”"):
        store.find("aa")
    with pytest.raises(StoreError, match=r"aa22 “twice”, bb33 “Twice”"):
        store.find("TWICE")
    for name in ("", "nothing", "%", "\ud800"):
        with pytest.raises(StoreError, match="no conversation"):
            store.find(name)


def test_a_session_without_messages_is_not_listed() -> None:
    store = Store(None)
    store.save(session_with("empty"))
    assert store.sessions() == []
    with pytest.raises(StoreError, match="no conversation"):
        store.find("last")


def test_a_deleted_session_is_hidden_until_it_is_brought_back() -> None:
    store = Store(None)
    session = session_with("title", "text")
    store.save_whole(session)
    store.delete(session.id)
    assert store.sessions() == store.sessions("title") == store.sessions("text") == []
    for gone in (store.load, store.find, store.delete):
        with pytest.raises(StoreError, match="no conversation"):
            gone(session.id)
    store.undelete(session.id)
    assert store.load(session.id) == session
    with pytest.raises(StoreError):
        store.undelete(session.id)


@pytest.mark.parametrize(("days", "kept"), [(29, True), (31, False)])
def test_what_was_deleted_is_purged_after_30_days(path: Path, monkeypatch: pytest.MonkeyPatch, days: int, kept: bool) -> None:
    session = session_with("title", "text")
    session.append("assistant").add([round_of("round")])
    store = Store(path)
    store.save_whole(session)
    store.delete(session.id)
    store.close()
    later = time.time() + days * DAY
    monkeypatch.setattr(time, "time", lambda: later)
    store = Store(path)
    if kept:
        store.undelete(session.id)
        assert store.load(session.id) == session
        return
    with pytest.raises(StoreError):
        store.undelete(session.id)
    store.save_whole(session)
    assert store.load(session.id) == session


def test_a_whole_session_is_added_once() -> None:
    store = Store(None)
    session = session_with("title", "text")
    store.save_whole(session)
    with pytest.raises(StoreError, match=r"“title”.*already"):
        store.save_whole(session)
    copy = session_with("copy", "text")
    copy.turns |= session.turns
    with pytest.raises(StoreError, match="already"):
        store.save_whole(copy)
    assert [row.title for row in store.sessions()] == ["title"]
    store.delete(session.id)
    store.save_whole(session)
    assert store.load(session.id) == session


def test_saving_again_replaces_all_of_a_session() -> None:
    store = Store(None)
    session = session_with("title", "lost", "kept")
    store.save_whole(session)
    first, second = session.turns
    session.turns[second].parent = None
    session.turns[second].add([round_of(" more")])
    del session.turns[first]
    store.save_again(session)
    assert store.load(session.id) == session
    assert not store.sessions("lost")


def test_removed_turns_are_gone() -> None:
    store = Store(None)
    session = session_with("title", "stays", "goes")
    store.save_whole(session)
    first, second = session.turns
    store.remove_turns([second])
    assert list(store.load(session.id).turns) == [first]
    assert store.load(session.id).head == first
    assert not store.sessions("goes")


def test_what_belongs_to_nothing_is_refused() -> None:
    store = Store(None)
    session = session_with("title", "text")
    turn = next(iter(session.turns.values()))
    rounds: list[Round] = [round_of("x")]
    for refused in (
        lambda: store.add_turn(session.id, turn),
        lambda: store.add_rounds(turn.id, rounds),
        lambda: store.settle(turn),
        lambda: store.rename("\ud800", "x"),
        lambda: store.load("nothing"),
    ):
        with pytest.raises(StoreError):
            refused()


def test_a_closed_store_says_so_with_a_typed_error(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.sessions()


def test_a_store_in_memory_says_why() -> None:
    store = Store.in_memory(SpecError("The disk is full.", "Free some space."))
    assert store.notice == "Conversations are not saved and end with specchat: The disk is full. Free some space."
    session = session_with("title", "text")
    store.save_whole(session)
    assert store.load(session.id) == session


def test_a_sound_store_has_no_notice(path: Path) -> None:
    Store(path).close()
    assert Store(path).notice == ""
