"""Exports promise to be written whole or not at all, never over a file unasked, for the user alone, under safe names."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.export_sessions import conversation, sessions

from specchat.export.errors import ExistsError, ExportError
from specchat.export.files import MOST_BYTES, export_path, read_text, slug, target_path, write_file
from specchat.transcript import Session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


def test_a_name_tells_when_and_what() -> None:
    name = export_path(conversation(), ".md", Path("/x")).name
    assert re.fullmatch(r"2023-11-1\d_\d\d-\d\d_why-is-it-fast\.md", name)


@given(sessions())
def test_a_name_is_never_a_path(session: Session) -> None:
    path = export_path(session, ".md", Path("/folder"))
    assert path.parent == Path("/folder")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d_[A-Za-z0-9-]{1,40}\.md", path.name)


@given(st.text())
def test_a_slug_is_short_and_plain(title: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,38}[A-Za-z0-9])?", slug(title))


@pytest.mark.parametrize(
    ("title", "found"), [("Größe & Maß", "groe-ma"), ("../../etc/passwd", "etc-passwd"), ("日本", "conversation"), ("", "conversation")]
)
def test_a_slug_keeps_what_it_can(title: str, found: str) -> None:
    assert slug(title) == found


def test_a_folder_gets_a_file_with_a_telling_name(folder: Path) -> None:
    session = conversation()
    telling = export_path(session, ".md", folder)
    assert target_path(session, ".md", "", folder) == telling
    assert target_path(session, ".md", str(folder), Path()) == telling
    assert target_path(session, ".md", "new/", folder).parent == folder / "new"
    assert target_path(session, ".md", "a.md", folder) == folder / "a.md"
    assert target_path(session, ".md", "~/a.md", folder) == Path.home() / "a.md"


def test_a_file_is_written_for_the_user_alone(folder: Path) -> None:
    path = folder / "a.md"
    write_file(path, "Hé\r\n\ud800")
    assert path.read_bytes() == "Hé\r\n?".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["a.md"]


def test_a_file_is_never_overwritten_unasked(folder: Path) -> None:
    path = folder / "a.md"
    path.write_text("precious")
    with pytest.raises(ExistsError):
        write_file(path, "new")
    assert path.read_text() == "precious"
    assert os.listdir(folder) == ["a.md"]
    write_file(path, "new", overwrite=True)
    assert path.read_text() == "new"


def test_a_link_to_nowhere_counts_as_a_file(folder: Path) -> None:
    (folder / "a.md").symlink_to(folder / "b.md")
    with pytest.raises(ExistsError):
        write_file(folder / "a.md", "new")
    assert not (folder / "b.md").exists()


def test_of_many_writers_one_wins(folder: Path) -> None:
    path = folder / "a.md"
    refused: list[str] = []
    barrier = threading.Barrier(8)

    def write(text: str) -> None:
        barrier.wait()
        try:
            write_file(path, text)
        except ExistsError:
            refused.append(text)

    texts = [f"writer {number}" * 1000 for number in range(8)]
    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*refused, path.read_text()]) == sorted(texts)
    assert os.listdir(folder) == ["a.md"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(os, step, fail)
    with pytest.raises((ExportError, KeyboardInterrupt)):
        write_file(folder / "a.md", "text")
    assert os.listdir(folder) == []


def test_a_failing_overwrite_keeps_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = folder / "a.md"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ExportError, match="No space left"):
        write_file(path, "new", overwrite=True)
    assert path.read_text() == "old"
    assert os.listdir(folder) == ["a.md"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["no/such/a.md", "file/a.md", "a" * 300, "a\0b", ".", "pipe"])
def test_a_place_that_takes_no_file_is_named(folder: Path, name: str, overwrite: bool) -> None:
    (folder / "file").write_text("")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ExportError) as caught:
        write_file(folder / name, "text", overwrite)
    assert caught.value.next_step
    assert sorted(os.listdir(folder)) == ["file", "pipe"]


def test_a_file_to_import_is_text_of_bearable_length(folder: Path) -> None:
    path = folder / "a.json"
    with pytest.raises(ExportError, match="No such file"):
        read_text(path)
    with pytest.raises(ExportError, match="read"):
        read_text(folder)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ExportError, match="UTF-8"):
        read_text(path)
    path.write_bytes(b"\xef\xbb\xbf[]")
    assert read_text(path) == "[]"
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(ExportError, match="longer"):
        read_text(path)
