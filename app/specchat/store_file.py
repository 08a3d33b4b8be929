"""The file of the session store: its schema, and opening it private, sound and tidy."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from specchat.store_records import decoded, text_of, unpack_rounds

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
KEEP_DELETED_SECONDS = 30 * 24 * 3600.0
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE session (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
    pair TEXT NOT NULL, system TEXT NOT NULL, head TEXT, deleted REAL
) STRICT;
CREATE TABLE turn (
    number INTEGER PRIMARY KEY, session TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE, id TEXT NOT NULL UNIQUE,
    parent TEXT, role TEXT NOT NULL, created REAL NOT NULL, finish TEXT, error TEXT NOT NULL, statistics TEXT, setup TEXT,
    covered INTEGER NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX turn_session ON turn (session);
CREATE INDEX turn_open ON turn (number) WHERE role = 'assistant' AND finish IS NULL;
CREATE TABLE round (
    number INTEGER PRIMARY KEY, turn INTEGER NOT NULL REFERENCES turn (number) ON DELETE CASCADE, data TEXT NOT NULL
) STRICT;
CREATE INDEX round_turn ON round (turn);
CREATE VIRTUAL TABLE search USING fts5 (session UNINDEXED, text, tokenize = 'unicode61 remove_diacritics 2');
CREATE TRIGGER session_new AFTER INSERT ON session BEGIN
    INSERT INTO search (rowid, session, text) VALUES (-new.number, new.id, new.title); END;
CREATE TRIGGER session_title AFTER UPDATE OF title ON session WHEN old.title IS NOT new.title BEGIN
    UPDATE search SET text = new.title WHERE rowid = -new.number; END;
CREATE TRIGGER session_gone AFTER DELETE ON session BEGIN DELETE FROM search WHERE rowid = -old.number; END;
CREATE TRIGGER turn_new AFTER INSERT ON turn BEGIN
    INSERT INTO search (rowid, session, text) VALUES (new.number, new.session, new.text); END;
CREATE TRIGGER turn_text AFTER UPDATE OF text ON turn WHEN old.text IS NOT new.text BEGIN
    UPDATE search SET text = new.text WHERE rowid = new.number; END;
CREATE TRIGGER turn_gone AFTER DELETE ON turn BEGIN DELETE FROM search WHERE rowid = old.number; END;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def result_code(error: Exception) -> int:
    """SQLite's primary result code of an error, or -1."""
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code if code < 0 else code & 0xFF


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is no sound database; SQLite quotes damaged text in messages that Python cannot decode."""
    return isinstance(error, UnicodeDecodeError) or result_code(error) in DAMAGE


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection to the file, or to memory, with the schema in place, made if it is new.

    Raises sqlite3.NotSupportedError for the file of a newer specchat, any other sqlite3.Error or OSError where it cannot be used.
    """
    if path is not None:
        _make_private(path)
    db = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = decoded
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise sqlite3.NotSupportedError(f"schema {version}; this one knows {SCHEMA_VERSION}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        if version == 0:
            db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def open_sound(path: Path) -> sqlite3.Connection:
    """A connection to a file that was read through, with what was deleted long ago gone and killed answers searchable.

    Raises like `connect`, and sqlite3.DatabaseError with the code SQLITE_CORRUPT for a file that is not in order.
    """
    db = connect(path)
    try:
        with closing(connect(None)) as new:
            sound = _definitions(db) == _definitions(new) and db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        if not sound:
            damaged = sqlite3.DatabaseError("not in order")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged
        tidy(db)
    except BaseException:
        db.close()
        raise
    return db


def tidy(db: sqlite3.Connection) -> None:
    """Purge what was deleted 30 days ago, and fold the rounds of unsettled answers into their text, where the index sees it.

    Folding changes nothing that is loaded, so another process may go on with such an answer meanwhile.
    """
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM session WHERE deleted < ?", (time.time() - KEEP_DELETED_SECONDS,))
    for number, covered in db.execute("SELECT number, covered FROM turn WHERE role = 'assistant' AND finish IS NULL").fetchall():
        rows = db.execute("SELECT data FROM round WHERE turn = ? ORDER BY number LIMIT -1 OFFSET ?", (number, covered)).fetchall()
        if rows:
            added = text_of(unpack_rounds(data for (data,) in rows))
            db.execute("UPDATE turn SET text = text || ?, covered = covered + ? WHERE number = ?", (added, len(rows), number))
    db.execute("COMMIT")


def _definitions(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Name, table and SQL of everything the schema defines itself; the tables behind the index are SQLite's own."""
    return set(db.execute("SELECT name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'search_%'"))


def _make_private(path: Path) -> None:
    """Let the file be there with mode 0600 before SQLite opens it; its companions get the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        with suppress(PermissionError):
            if path.is_file():
                path.chmod(0o600)
