"""The commands for stored conversations promise to list, export and import them without harming any."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from tests.app.export_sessions import conversation
from typer.testing import CliRunner, Result

from specchat.export import FORMATS, read_sessions, with_fresh_ids
from specchat.paths import find_paths
from specchat.sessions_cli import export_session, import_file, list_sessions
from specchat.store import Store
from specchat.transcript import Session

app = typer.Typer()
app.command("sessions")(list_sessions)
app.command("export")(export_session)
app.command("import")(import_file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def stored(home: Path) -> Session:
    """A conversation in the user's store."""
    session = conversation()
    store = Store(find_paths().database)
    store.save_whole(session)
    store.close()
    return session


def specchat(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=text)


def load(session_id: str) -> Session:
    store = Store(find_paths().database)
    try:
        return store.load(session_id)
    finally:
        store.close()


def test_an_empty_store_lists_nothing(home: Path) -> None:
    assert specchat("sessions").stdout.split() == ["ID", "BEGUN", "PAIR", "MESSAGES", "TITLE"]
    assert json.loads(specchat("sessions", "--json").stdout) == []


def test_the_list_tells_id_date_pair_messages_and_title(stored: Session) -> None:
    line = specchat("sessions").stdout.splitlines()[1]
    assert line.split()[0] == stored.id[:8]
    assert line.split()[1].startswith("2023-11-1")
    assert line.split()[3:] == ["demo", "4", "Why", "is", "it", "fast?"]


def test_the_list_as_json_is_complete(stored: Session) -> None:
    [record] = json.loads(specchat("sessions", "--json").stdout)
    assert (record["id"], record["messages"], record["title"]) == (stored.id, 4, stored.title)


def test_a_query_narrows_the_list(stored: Session) -> None:
    assert len(json.loads(specchat("sessions", "guesses", "--json").stdout)) == 1
    assert json.loads(specchat("sessions", "nowhere", "--json").stdout) == []


def test_a_title_cannot_break_the_list(home: Path) -> None:
    store = Store(find_paths().database)
    store.save_whole(replace(conversation(), title="a\nb\x1b[31m"))
    store.close()
    assert specchat("sessions").stdout.splitlines()[1].endswith("a b\u241b[31m")


def test_export_writes_markdown_here_and_prints_its_name(stored: Session, folder: Path) -> None:
    result = specchat("export", stored.id[:8])
    assert result.exit_code == 0
    [name] = os.listdir(folder)
    assert result.stdout == f"{name}\n"
    assert name.endswith("_why-is-it-fast.md")
    assert (folder / name).read_text() == FORMATS["markdown"].write(stored)


@pytest.mark.parametrize("name", list(FORMATS))
def test_export_writes_every_format_to_stdout(stored: Session, folder: Path, name: str) -> None:
    result = specchat("export", stored.id, "--format", name, "-o", "-")
    assert result.stdout == FORMATS[name].write(stored)
    assert os.listdir(folder) == []


def test_the_name_chooses_the_format(stored: Session, folder: Path) -> None:
    specchat("export", stored.id, "-o", "a.openwebui.json")
    assert (folder / "a.openwebui.json").read_text() == FORMATS["openwebui"].write(stored)


def test_a_folder_gets_a_telling_name(stored: Session, folder: Path) -> None:
    (folder / "exports").mkdir()
    assert specchat("export", stored.id, "-o", "exports/", "--format", "html").exit_code == 0
    assert [path.suffix for path in (folder / "exports").iterdir()] == [".html"]
    assert specchat("export", stored.id, "-o", "missing/").exit_code == 1


def test_export_overwrites_only_if_asked(stored: Session, folder: Path) -> None:
    (folder / "a.md").write_text("precious")
    refused = specchat("export", stored.id, "-o", "a.md")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "exists already" in refused.stderr
    assert (folder / "a.md").read_text() == "precious"
    assert specchat("export", stored.id, "-o", "a.md", "--overwrite").exit_code == 0
    assert (folder / "a.md").read_text() == FORMATS["markdown"].write(stored)


def test_what_is_not_there_is_named(stored: Session, folder: Path) -> None:
    unknown = specchat("export", "nobody")
    assert (unknown.exit_code, "nobody" in unknown.stderr) == (1, True)
    wrong = specchat("export", stored.id, "--format", "pdf")
    assert (wrong.exit_code, "markdown" in wrong.stderr) == (2, True)
    missing = specchat("import", "missing.json")
    assert (missing.exit_code, "missing.json" in missing.stderr) == (1, True)


@pytest.mark.parametrize("name", [name for name, format_ in FORMATS.items() if format_.read])
def test_import_adds_a_copy_under_a_new_id(stored: Session, folder: Path, name: str) -> None:
    (folder / "file").write_text(FORMATS[name].write(stored), encoding="utf-8")
    result = specchat("import", "file")
    assert result.exit_code == 0
    [new] = result.stdout.split()
    assert new != stored.id
    assert load(stored.id) == stored
    copied = load(new)
    assert [turn.text for turn in copied.branch()] == [turn.text for turn in stored.branch()]
    assert len(json.loads(specchat("sessions", "--json").stdout)) == 2


def test_a_native_copy_has_everything(stored: Session, folder: Path) -> None:
    [new] = specchat("import", "-", text=FORMATS["json"].write(stored)).stdout.split()
    copied = load(new)
    for kept, copy in zip(stored.turns.values(), copied.turns.values(), strict=True):
        assert replace(copy, id=kept.id, parent=kept.parent) == kept


def test_a_child_before_its_parent_can_be_imported(home: Path) -> None:
    session = conversation()
    session.turns = dict(reversed(session.turns.items()))
    [new] = specchat("import", "-", text=FORMATS["json"].write(session)).stdout.split()
    assert [turn.text for turn in load(new).branch()] == [turn.text for turn in session.branch()]


def test_several_sessions_in_one_file_are_all_imported(home: Path) -> None:
    trace = FORMATS["jsonl"].write(conversation()) + FORMATS["jsonl"].write(with_fresh_ids(conversation()))
    assert len(specchat("import", "-", text=trace).stdout.split()) == len(read_sessions(trace)) == 2


def test_a_broken_file_adds_nothing(home: Path) -> None:
    trace = FORMATS["jsonl"].write(conversation()) + "nonsense"
    result = specchat("import", "-", text=trace)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "line" in result.stderr
    assert json.loads(specchat("sessions", "--json").stdout) == []
