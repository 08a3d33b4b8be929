"""The prompts of earlier conversations: kept for the user alone, and never in the way."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from specchat.history import LIMIT, History


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.jsonl"


def loaded(path: Path) -> History:
    history = History(path)
    assert history.load() == ""
    return history


def test_prompts_come_back_in_order_with_their_lines(path: Path) -> None:
    history = loaded(path)
    for text in ("first", "two\nlines\r\n", "h\u00e9 \u2028 \x1b"):
        assert history.add(text) == ""
    assert loaded(path).entries == ["first", "two\nlines\r\n", "h\u00e9 \u2028 \x1b"]
    assert len(path.read_text().splitlines()) == 3


def test_the_file_is_the_users_alone(path: Path) -> None:
    loaded(path).add("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_same_prompt_in_a_row_and_blank_ones_are_kept_once_and_never(path: Path) -> None:
    history = loaded(path)
    for text in ("a", "a", " \n", "b", "a"):
        history.add(text)
    assert history.entries == loaded(path).entries == ["a", "b", "a"]


def test_broken_lines_are_skipped(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'"one"\n{"no": 1}\n\xff\n"cut\n\n' + b"[" * 99999 + b'\n"two"\n')
    assert loaded(path).entries == ["one", "two"]


def test_a_thousand_are_kept_in_memory_and_on_disk(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("".join(json.dumps(f"prompt {number}") + "\n" for number in range(LIMIT + 50)))
    history = loaded(path)
    assert (len(history.entries), history.entries[0], history.entries[-1]) == (LIMIT, "prompt 50", f"prompt {LIMIT + 49}")
    assert len(path.read_text().splitlines()) == LIMIT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    history.add("one more")
    assert len(history.entries) == LIMIT


def test_what_was_typed_before_the_file_was_read_stays_newest(path: Path) -> None:
    loaded(path).add("old")
    history = History(path)
    entries = history.entries
    history.add("new")
    path.write_text('"old"\n')
    history.load()
    assert history.entries == ["old", "new"]
    assert history.entries is entries


def test_a_failure_to_write_is_said_once_and_the_prompt_is_remembered(path: Path) -> None:
    path.parent.write_text("a file in the way")
    history = History(path)
    said = [history.add("one"), history.add("two"), history.load()]
    assert [bool(sentence) for sentence in said] == [True, False, False]
    assert history.entries == ["one", "two"]


def test_a_folder_in_its_place_is_said_once(path: Path) -> None:
    path.mkdir(parents=True)
    history = History(path)
    assert str(path) in history.load()
    assert history.add("one") == ""
