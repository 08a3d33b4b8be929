"""The store promises that no failure takes more than what it names: damage, a full disk, a killed process, a second one."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.app.store_sessions import round_of, session_with

from specchat import store_file
from specchat.store import Store, StoreError
from specchat.transcript import Session
from specdec.errors import SpecError

PAGE = 4096
COUNT = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder of its own."""
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
def stored(path: Path) -> dict[str, Session]:
    """Forty sessions in a file that is closed."""
    made = random.Random(0)
    store = Store(path)
    sessions = {}
    for number in range(COUNT):
        session = session_with(f"title {number}", f"question {number} " + "lorem ipsum " * made.randrange(1, 200))
        answer = session.append("assistant")
        answer.add([round_of(f"word{number} ", index) for index in range(20)])
        answer.finish = "eos"
        store.save_whole(session)
        sessions[session.id] = session
    store.close()
    return sessions


def damaged(path: Path) -> list[Path]:
    """The databases that were moved aside."""
    return sorted(path.parent.glob("sessions.damaged-????????-??????*.db"))


def whole(store: Store, stored: dict[str, Session]) -> int:
    """How many sessions have all their turns as they were."""
    return sum(row.id in stored and stored[row.id].turns == store.load(row.id).turns for row in store.sessions())


def junk_header(data: bytearray) -> None:
    data[:100] = bytes(range(100, 200))


def junk_first_page(data: bytearray) -> None:
    data[:PAGE] = random.Random(1).randbytes(PAGE)


def junk_pages(data: bytearray) -> None:
    for page in (20, 45, 70):
        data[page * PAGE : (page + 1) * PAGE] = random.Random(page).randbytes(PAGE)


def empty_page(data: bytearray) -> None:
    data[30 * PAGE : 31 * PAGE] = bytes(PAGE)


def flipped_bytes(data: bytearray) -> None:
    for page in range(15, 30):
        data[page * PAGE + 2] ^= 0xFF


def cut_in_half(data: bytearray) -> None:
    del data[len(data) // 2 :]


def cut_short(data: bytearray) -> None:
    del data[-2 * PAGE - 10 :]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (junk_header, COUNT),
        (junk_first_page, COUNT),
        (junk_pages, COUNT - 8),
        (empty_page, COUNT - 4),
        (flipped_bytes, COUNT // 2),
        (cut_in_half, COUNT // 4),
        (cut_short, COUNT - 8),
    ],
)
def test_a_damaged_file_is_kept_and_what_it_holds_is_rescued(
    path: Path, stored: dict[str, Session], damage: Callable[[bytearray], None], kept: int
) -> None:
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    store = Store(path)
    (aside,) = damaged(path)
    assert aside.read_bytes() == data
    assert str(aside) in store.notice
    assert "rescued" in store.notice
    assert whole(store, stored) >= kept
    assert len(store.sessions("lorem")) >= kept
    store.close()
    assert Store(path).notice == ""
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"no database at all\n" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_file_that_never_was_a_database_is_kept_too(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    store = Store(path)
    assert "rescued: nothing" in store.notice
    assert damaged(path)[0].read_bytes() == data
    store.save_whole(session_with("title", "text"))
    assert len(store.sessions("text")) == 1


def test_no_damaged_file_replaces_another(path: Path) -> None:
    path.parent.mkdir()
    for number in range(3):
        path.write_bytes(b"damage %d" % number)
        Store(path).close()
    assert {file.read_bytes() for file in damaged(path)} == {b"damage 0", b"damage 1", b"damage 2"}


def test_a_damaged_header_does_not_cost_what_only_the_log_holds(path: Path) -> None:
    session = session_with("title", "text in the log")
    store = Store(path)
    store.save_whole(session)
    files = {file.name: file.read_bytes() for file in path.parent.glob("sessions.db*")}
    store.close()
    for name, data in files.items():
        (path.parent / name).write_bytes(data)
    assert b"text in the log" not in path.read_bytes()
    path.write_bytes(b"?" * path.stat().st_size)
    store = Store(path)
    assert store.load(session.id) == session
    assert not store.notice or "1 messages of 1 conversations" in store.notice


def test_messages_whose_session_is_lost_get_one(path: Path) -> None:
    session = session_with("title", "The first line\nand more", "answer")
    store = Store(path)
    store.save_whole(session)
    store.close()
    data = bytearray(path.read_bytes())
    data[PAGE : PAGE + 8] = bytes(8)
    path.write_bytes(data)
    store = Store(path)
    (row,) = store.sessions()
    assert (row.id, row.title, row.turns) == (session.id, "The first line", 2)
    assert store.load(row.id).turns == session.turns


def test_damage_that_shows_in_the_middle_of_work_is_mended_at_the_next_opening(path: Path, stored: dict[str, Session]) -> None:
    store = Store(path)
    store._db.execute("PRAGMA shrink_memory")
    data = bytearray(path.read_bytes())
    for page in range(14, len(data) // PAGE):
        data[page * PAGE : page * PAGE + 8] = bytes(8)
    with path.open("r+b") as file:
        file.write(data)
    with pytest.raises(StoreError, match=r"is damaged\. Start specchat again"):
        store.load(next(reversed(stored)))
    store.close()
    store = Store(path)
    assert "rescued" in store.notice
    store.close()
    assert Store(path).notice == ""


def test_a_damaged_index_is_built_anew(path: Path, stored: dict[str, Session]) -> None:
    store = Store(path)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE search_data SET block = x'00ff00ff' WHERE id > 10")
    other.close()
    with pytest.raises(StoreError, match="Do that again"):
        store.sessions("lorem")
    assert len(store.sessions("lorem")) == COUNT


def test_unreadable_fields_cost_no_more_than_themselves(path: Path) -> None:
    session = session_with("title", "question")
    answer = session.append("assistant")
    answer.add([round_of("a"), round_of("b")])
    store = Store(path)
    store.save_whole(session)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE turn SET statistics = '{', setup = '[]', finish = 'oes' WHERE role = 'assistant'")
        other.execute("UPDATE round SET data = 'x' WHERE number = 1")
        other.execute("UPDATE turn SET parent = 'gone', text = CAST(x'61ff' AS TEXT) WHERE role = 'user'")
    other.close()
    question, loaded = store.load(session.id).branch()
    assert (loaded.text, len(loaded.rounds), loaded.finish, loaded.statistics, loaded.setup) == ("ab", 1, None, None, None)
    assert (question.text, question.parent) == ("a\ufffd", None)


def test_a_newer_file_is_refused_and_left_alone(path: Path, stored: dict[str, Session]) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 9")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer specchat.*schema 9.*Update specchat"):
        Store(path)
    assert path.read_bytes() == before
    assert not damaged(path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.parent.rmdir() or path.parent.write_text("")])
def test_a_place_that_cannot_be_written_is_a_typed_error(path: Path, make: Callable[[Path], object]) -> None:
    path.parent.mkdir()
    make(path)
    with pytest.raises(StoreError) as raised:
        Store(path)
    assert raised.value.cause
    assert raised.value.next_step
    assert raised.value.cause in Store.in_memory(raised.value).notice


def test_a_read_only_file_is_a_typed_error(path: Path, stored: dict[str, Session]) -> None:
    store = Store(path)
    store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match=r"cannot be written.*permissions"):
        store.save(session_with("new"))


def test_a_full_database_is_a_typed_error_and_loses_nothing(path: Path, stored: dict[str, Session]) -> None:
    store = Store(path)
    store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match=r"disk is full.*Free some space"):
        store.save_whole(session_with("more", "text " * 50_000))
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.save_whole(session_with("fits", "text"))
    assert store.find("fits")
    assert all(store.load(session_id) == session for session_id, session in stored.items())


FULL_DISK = """
import resource, sys
from pathlib import Path
from specchat.store import Store, StoreError
from specchat.transcript import new_session
from tests.app.store_sessions import round_of

store = Store(Path(sys.argv[1]))
session = new_session()
answer = session.append("assistant")
store.save_whole(session)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))
try:
    while True:
        store.add_rounds(answer.id, answer.add([round_of("word " * 100)]))
except StoreError as error:
    assert error.cause and error.next_step, error
written = len(answer.rounds) - 1
assert written > 10 and len(store.load(session.id).turns[answer.id].rounds) == written
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.settle(answer)
assert store.load(session.id).turns[answer.id] == answer
"""


def test_a_disk_that_takes_no_more_ends_in_a_typed_error_and_settling_catches_up(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


STREAM = """
import sys
from pathlib import Path
from specchat.store import Store
from specchat.transcript import new_session
from tests.app.store_sessions import round_of

store = Store(Path(sys.argv[1]))
session = new_session()
session.append("user", "question")
answer = session.append("assistant")
store.save_whole(session)
print(session.id, flush=True)
for number in range(1_000_000):
    store.add_rounds(answer.id, answer.add([round_of(f"word{number} ")]))
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 500])
def test_a_killed_process_loses_at_most_the_round_it_was_writing(path: Path, acknowledged: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", STREAM, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    session_id = process.stdout.readline().strip()
    last = -1
    while last < acknowledged:
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait(30)
    last = int(rest[-1]) if rest and rest[-1].isdigit() else last
    store = Store(path)
    answer = store.load(session_id).branch()[-1]
    assert store.notice == ""
    assert answer.finish is None
    assert len(answer.rounds) >= last
    assert answer.text == "".join(f"word{number} " for number in range(len(answer.rounds)))
    assert [row.id for row in store.sessions(f"question word{last - 1}")] == [session_id]


def test_opening_a_second_store_does_no_harm_to_an_answer_that_streams(path: Path) -> None:
    first = Store(path)
    session = session_with("title", "question")
    answer = session.append("assistant")
    first.save_whole(session)
    for number in range(6):
        first.add_rounds(answer.id, answer.add([round_of(f"word{number} ")]))
        if number % 2:
            second = Store(path)
            assert second.load(session.id).turns[answer.id].text == answer.text
            assert second.sessions(f"word{number}")
            second.close()
    assert first.load(session.id) == session
    answer.finish = "eos"
    first.settle(answer)
    assert first.load(session.id) == session
    assert Store(path).load(session.id) == session


def test_two_stores_see_each_others_writing(path: Path) -> None:
    first, second = Store(path), Store(path)
    session = session_with("title", "text")
    first.save_whole(session)
    assert second.load(session.id) == session
    second.rename(session.id, "other")
    assert first.find("other") == session.id


def test_a_file_that_another_program_holds_is_a_typed_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "BUSY_SECONDS", 0.05)
    store = Store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="in use by another program"):
        store.save(session_with("title"))
    other.execute("ROLLBACK")
    other.close()
    store.save(session_with("title"))


def test_a_store_serves_many_threads(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = Store(path)

    def work(number: int) -> Session:
        session = session_with(f"title {number}", f"text{number}")
        answer = session.append("assistant")
        store.save_whole(session)
        for index in range(20):
            store.add_rounds(answer.id, answer.add([round_of(f"{number}.{index} ")]))
            store.sessions("text")
        answer.finish = "eos"
        store.settle(answer)
        return session

    with ThreadPoolExecutor(8) as threads:
        sessions = list(threads.map(work, range(16)))
    assert all(store.load(session.id) == session for session in sessions)


def test_the_error_is_of_its_own_kind() -> None:
    assert issubclass(StoreError, SpecError)
    assert StoreError.kind == "store"
