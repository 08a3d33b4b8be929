"""The prompt in the user's own editor."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from specchat.editor import edit_text
from specdec.errors import UsageError


@pytest.fixture(autouse=True)
def editor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "edit --wait")


def writing(data: bytes, seen: list[list[str]] | None = None) -> Callable[[list[str]], int]:
    def run(command: list[str]) -> int:
        if seen is not None:
            seen.append(command)
        Path(command[-1]).write_bytes(data)
        return 0

    return run


def test_the_editor_gets_a_private_markdown_file_with_the_text() -> None:
    def run(command: list[str]) -> int:
        path = Path(command[-1])
        assert command[:-1] == ["edit", "--wait"]
        assert path.name.startswith("specchat-")
        assert path.suffix == ".md"
        assert path.read_text() == "a\nb\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return 0

    assert edit_text("a\nb", run) == "a\nb"


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\r\nb", "h\u00e9 \x1b"])
def test_a_text_that_was_only_looked_at_stays_the_same(text: str) -> None:
    assert edit_text(text, lambda _: 0) == text


@pytest.mark.parametrize(("data", "text"), [(b"new\n", "new"), (b"new", "new"), (b"new\n\n", "new\n"), (b"new\r\n", "new")])
def test_one_line_end_is_dropped(data: bytes, text: str) -> None:
    assert edit_text("old", writing(data)) == text


def test_the_file_is_removed() -> None:
    seen: list[list[str]] = []
    edit_text("old", writing(b"new", seen))
    assert not Path(seen[0][-1]).exists()


def test_visual_goes_before_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "'my editor' -n")
    seen: list[list[str]] = []
    edit_text("old", writing(b"new", seen))
    assert seen[0][:-1] == ["my editor", "-n"]


def test_a_real_process_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", f"{sys.executable} -c \"import sys; open(sys.argv[1], 'a').write('more')\"")
    assert edit_text("some") == "some\nmore"


def test_an_editor_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor-anywhere")
    with pytest.raises(UsageError, match="no-such-editor-anywhere"):
        edit_text("old")


@pytest.mark.parametrize("value", ["", "  "])
def test_no_editor_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EDITOR", value)
    with pytest.raises(UsageError, match="EDITOR=nano"):
        edit_text("old", lambda _: 0)


def test_quotes_that_do_not_close_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "vi 'oops")
    with pytest.raises(UsageError, match="quotes"):
        edit_text("old", lambda _: 0)


def test_an_editor_that_fails_leaves_no_file() -> None:
    seen: list[list[str]] = []

    def run(command: list[str]) -> int:
        seen.append(command)
        return 3

    with pytest.raises(UsageError, match="ended with code 3"):
        edit_text("old", run)
    assert not Path(seen[0][-1]).exists()


def test_bytes_that_are_no_text_are_an_error() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        edit_text("old", writing(b"a\xff"))


def test_a_file_that_the_editor_removed_is_an_error() -> None:
    def run(command: list[str]) -> int:
        Path(command[-1]).unlink()
        return 0

    with pytest.raises(UsageError):
        edit_text("old", run)
