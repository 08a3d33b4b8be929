"""Keeps conversations in an SQLite file: every round as it streams, and everything searchable."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from specchat import store_search
from specchat.paths import private_folder
from specchat.store_file import connect, is_damage, open_sound, result_code
from specchat.store_records import TURN_COLUMNS, clean, load_turns, outcome, pack_rounds, session_row, turn_row
from specchat.store_rescue import Rescued, rescue
from specchat.transcript import Session, Turn
from specchat.visible import visible
from specdec.errors import SpecError
from specdec.events import Round

OPENING_SECONDS = 60.0
NAMED = 5
GONE = "It was deleted, or a damaged file took it; `specchat sessions` lists what there is."
LISTED = "deleted IS NULL AND EXISTS (SELECT 1 FROM turn WHERE turn.session = session.id)"
SAVE_SESSION = """INSERT INTO session (id, title, created, updated, pair, system, head) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, created = excluded.created, updated = excluded.updated,
    pair = excluded.pair, system = excluded.system, head = excluded.head, deleted = NULL"""


class StoreError(SpecError):
    """A conversation that cannot be kept, found or read."""

    kind = "store"


@dataclass(frozen=True)
class SessionRow:
    """A line of the list of sessions; times are in seconds since 1970.

    `turns` counts the messages of all branches; `excerpt` is the text around a match, else the start of the last message.
    """

    id: str
    title: str
    created: float
    updated: float
    pair: str
    turns: int
    excerpt: str


class Store:
    """The conversations of a user, for any number of threads and processes at a time; all methods raise StoreError.

    `lasting` says whether it outlives the process; `notice` is a sentence and a next step when something was wrong at opening, else empty.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; `None` keeps everything in memory."""
        self._where = "The session store in memory" if path is None else f"The session store {path}"
        self._path = path
        self.lasting = path is not None
        self._lock = threading.Lock()
        self.notice = ""
        with self._typed_errors():
            self._db = connect(None) if path is None else self._open(path)

    @classmethod
    def in_memory(cls, reason: SpecError) -> Store:
        """A store that ends with the process, in place of one that could not be opened."""
        store = cls(None)
        store.notice = f"Conversations are not saved and end with specchat: {reason}"
        return store

    def sessions(self, query: str = "") -> list[SessionRow]:
        """The sessions that have messages, newest first; with a query only those that hold words beginning with each of its words."""
        wanted = store_search.words(query)
        with self._reading() as db:
            found = store_search.matching(db, wanted) if wanted else None
            rows = db.execute(f"SELECT id, title, created, updated, pair FROM session WHERE {LISTED} ORDER BY updated DESC, number DESC")
            chosen = [row for row in rows if found is None or row[0] in found]
            return [_listed(db, row, wanted, found or {}) for row in chosen]

    def load(self, session_id: str) -> Session:
        """A session with all turns and rounds; an answer that was never settled has the text of its rounds."""
        with self._reading() as db:
            query = "SELECT id, title, created, updated, pair, system, head FROM session WHERE id = ? AND deleted IS NULL"
            row = db.execute(query, (clean(session_id),)).fetchone()
            if row is None:
                raise StoreError(f"There is no conversation {visible(session_id)}.", GONE)
            turns = load_turns(db, row[0])
        identity, title, created, updated, pair, system, head = row
        return Session(identity, title, created, updated, pair, system, turns, head if head in turns else next(reversed(turns), None))

    def find(self, name: str) -> str:
        """The id of a session by its id, the beginning of it, its title (in any case), or `last` for the newest."""
        with self._reading() as db:
            rows = list(db.execute(f"SELECT id, title FROM session WHERE {LISTED} ORDER BY updated DESC, number DESC"))
        if name == "last" and rows:
            return str(rows[0][0])
        exact = [row for row in rows if row[0] == name]
        begun = [row for row in rows if name and row[0].startswith(name)]
        titled = [row for row in rows if row[1] and row[1].casefold() == name.casefold()]
        for candidates in (exact, begun, titled):
            if len(candidates) == 1:
                return str(candidates[0][0])
        several = begun or titled
        if not several:
            raise StoreError(f"There is no conversation “{visible(name)}”.", "`specchat sessions` lists them.")
        named = ", ".join(f"{identity[:8]} “{visible(title)}”" for identity, title in several[:NAMED])
        more = f" and {len(several) - NAMED} more" if len(several) > NAMED else ""
        raise StoreError(f"“{visible(name)}” could be {named}{more}.", "Give more of the id.")

    def save(self, session: Session) -> None:
        """Insert or update what a session says of itself; its turns are left alone. One that was deleted elsewhere comes back."""
        with self._writing() as db:
            db.execute(SAVE_SESSION, session_row(session))

    def add_turn(self, session_id: str, turn: Turn) -> None:
        """Append a turn, with the rounds it has, to a saved session."""
        with self._writing() as db:
            _add_turn(db, clean(session_id), turn)

    def add_rounds(self, turn_id: str, rounds: Sequence[Round]) -> None:
        """Append rounds to an answer, which is thereby under way: it has no end until it is settled (again)."""
        with self._writing() as db:
            number = _turn_number(db, turn_id)
            db.execute(
                "UPDATE turn SET finish = NULL, error = '', statistics = NULL WHERE number = ? AND (finish IS NOT NULL OR error != '')",
                (number,),
            )
            _add_rounds(db, number, rounds)

    def settle(self, turn: Turn) -> None:
        """Write the end of an answer: text, finish, error, statistics and setup, and the rounds that could not be written before."""
        with self._writing() as db:
            number = _turn_number(db, turn.id)
            if db.execute("SELECT count(*) FROM round WHERE turn = ?", (number,)).fetchone()[0] < len(turn.rounds):
                db.execute("DELETE FROM round WHERE turn = ?", (number,))
                _add_rounds(db, number, turn.rounds)
            columns = "finish = ?, error = ?, statistics = ?, setup = ?, covered = ?, text = ?"
            db.execute(f"UPDATE turn SET {columns} WHERE number = ?", (*outcome(turn), number))

    def save_whole(self, session: Session) -> None:
        """Add an imported or forked session in one transaction; refused if it, or one of its turns, is in the store already."""
        with self._writing() as db:
            row = session_row(session)
            db.execute("DELETE FROM session WHERE id = ? AND deleted IS NOT NULL", row[:1])
            try:
                db.execute("INSERT INTO session (id, title, created, updated, pair, system, head) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                for turn in session.turns.values():
                    _add_turn(db, str(row[0]), turn)
            except sqlite3.IntegrityError:
                cause = f"The conversation “{visible(session.title)}”, or a message of it, is in the store already."
                raise StoreError(cause, "Open the one that is there, or delete it first.") from None

    def save_again(self, session: Session) -> None:
        """Replace what is stored of a session by all of it, after something could not be saved; a deleted one stays deleted."""
        with self._writing() as db:
            row = session_row(session)
            db.execute(SAVE_SESSION, row)
            db.execute("DELETE FROM turn WHERE session = ?", row[:1])
            for turn in session.turns.values():
                _add_turn(db, str(row[0]), turn)

    def remove_turns(self, turn_ids: Sequence[str]) -> None:
        """Take turns out for good, with their rounds."""
        with self._writing() as db:
            db.executemany("DELETE FROM turn WHERE id = ?", [(clean(turn_id),) for turn_id in turn_ids])

    def rename(self, session_id: str, title: str) -> None:
        """Give a session another title."""
        self._change(session_id, "UPDATE session SET title = ? WHERE id = ? AND deleted IS NULL", clean(title))

    def delete(self, session_id: str) -> None:
        """Hide a session; it is purged when the store is opened 30 days later."""
        self._change(session_id, "UPDATE session SET deleted = ? WHERE id = ? AND deleted IS NULL", time.time())

    def undelete(self, session_id: str) -> None:
        """Bring a deleted session back."""
        self._change(session_id, "UPDATE session SET deleted = ? WHERE id = ? AND deleted IS NOT NULL", None)

    def close(self) -> None:
        """Close the file; nothing else may be called after."""
        with self._lock, self._typed_errors():
            self._db.close()

    def _change(self, session_id: str, update: str, value: object) -> None:
        with self._writing() as db:
            if not db.execute(update, (value, clean(session_id))).rowcount:
                raise StoreError(f"There is no conversation {visible(session_id)}.", GONE)

    def _open(self, path: Path) -> sqlite3.Connection:
        """The file, in whose place a rescued one is put if it is damaged; one process does this at a time."""
        try:
            private_folder(path.parent)
        except SpecError as error:
            raise StoreError(error.cause, error.next_step) from error
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=OPENING_SECONDS, mode=0o600):
            if not _mark(path).exists():
                try:
                    return open_sound(path)
                except (sqlite3.Error, UnicodeDecodeError) as error:
                    if not is_damage(error) and result_code(error) != sqlite3.SQLITE_ERROR:
                        raise
            self.notice = _notice(rescue(path))
            _mark(path).unlink(missing_ok=True)
            return open_sound(path)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, with one state of the database as long as the block lasts."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, alone to write; the block is written as a whole or not at all."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._typed_errors():
            try:
                self._db.execute(begin)
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", -1) != sqlite3.SQLITE_CORRUPT_VTAB:
                    if is_damage(error) and self._path:
                        _mark(self._path).touch()
                    raise
                self._roll_back()
                self._db.execute("INSERT INTO search (search) VALUES ('rebuild')")
                raise StoreError("The search index was damaged and is built anew.", "Do that again.") from error
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
            raise _store_error(error, self._where) from error


def _listed(db: sqlite3.Connection, row: tuple[Any, ...], wanted: list[str], found: dict[str, int]) -> SessionRow:
    """A line of the list; a match in the title alone shows in the title, so its excerpt is of the last message."""
    session_id, title, created, updated, pair = row
    (turns,) = db.execute("SELECT count(*) FROM turn WHERE session = ?", (session_id,)).fetchone()
    texts = (
        db.execute("SELECT text FROM turn WHERE number = ?", (found.get(session_id, -1),)).fetchone()
        or db.execute("SELECT text FROM turn WHERE session = ? AND text != '' ORDER BY number DESC LIMIT 1", (session_id,)).fetchone()
    )
    return SessionRow(session_id, title, created, updated, pair, turns, store_search.excerpt(texts[0], wanted) if texts else "")


def _add_turn(db: sqlite3.Connection, session_id: str, turn: Turn) -> None:
    row = (session_id, *turn_row(turn))
    number = db.execute(f"INSERT INTO turn (session, {TURN_COLUMNS}) VALUES ({', '.join('?' * len(row))})", row).lastrowid
    assert number is not None
    _add_rounds(db, number, turn.rounds)


def _add_rounds(db: sqlite3.Connection, number: int, rounds: Sequence[Round]) -> None:
    db.executemany("INSERT INTO round (turn, data) VALUES (?, ?)", [(number, data) for data in pack_rounds(rounds)])


def _turn_number(db: sqlite3.Connection, turn_id: str) -> int:
    row = db.execute("SELECT number FROM turn WHERE id = ?", (clean(turn_id),)).fetchone()
    if row is None:
        raise StoreError("The conversation of this answer is no longer in the store.", "Copy or export it to keep it.")
    return int(row[0])


def _mark(path: Path) -> Path:
    """The file that stands there when damage showed itself in the middle of work, so that the next opening rescues."""
    return path.with_name(f"{path.name}.is-damaged")


def _notice(rescued: Rescued) -> str:
    amount = f"{rescued.turns} messages of {rescued.sessions} conversations" if rescued.turns else "nothing"
    return f"The session store was damaged; rescued: {amount}. The damaged file is {rescued.kept}: delete it when you miss nothing."


def _store_error(error: Exception, where: str) -> StoreError:
    """What a failure of SQLite or of the file system means for the user."""
    match result_code(error):
        case _ if isinstance(error, sqlite3.NotSupportedError):
            return StoreError(f"{where} was written by a newer specchat ({error}).", "Update specchat, or move the file away.")
        case sqlite3.SQLITE_FULL:
            return StoreError(f"{where} cannot grow: the disk is full.", "Free some space, then go on.")
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"{where} cannot be read or written ({error}).", "Check the disk and its free space.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreError(f"{where} cannot be written ({error}).", "Check the permissions of the file and its folder.")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError(f"{where} is in use by another program.", "Try again, or end that program.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreError(f"{where} is damaged.", "Start specchat again: it rescues what can be read.")
    reason = getattr(error, "strerror", None) or str(error)
    return StoreError(f"{where} does not work: {reason}.", "`specchat paths` shows where it is.")
