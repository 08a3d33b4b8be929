"""Takes what can still be read out of a damaged session database into a new one, and keeps the damaged one."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specchat.store_file import connect
from specchat.store_records import TURN_COLUMNS, decoded
from specchat.transcript import title_of

TABLES = {
    "session": "number, id, title, created, updated, pair, system, head, deleted",
    "turn": f"number, session, {TURN_COLUMNS}",
    "round": "number, turn, data",
}
PATIENCE = 5_000


@dataclass(frozen=True)
class Rescued:
    """How many sessions and turns were read out of the damaged file, and where it lies."""

    sessions: int
    turns: int
    kept: Path


def rescue(path: Path) -> Rescued:
    """Put a new database with everything readable in the place of a damaged one, which stays beside it.

    Raises sqlite3.Error or OSError, where the disk is full for instance; the damaged file is in its place then.
    """
    with tempfile.TemporaryDirectory(prefix="rescue-", dir=path.parent) as folder:
        new, copy = Path(folder) / "new.db", Path(folder) / "damaged.db"
        connect(new).close()
        for source, target in zip(_with_log(path), _with_log(copy), strict=True):
            if source.exists():
                shutil.copyfile(source, target)
        if not _has_tables(copy):
            _give_first_page(copy, new)
        with closing(connect(new)) as target_db, closing(_open_damaged(copy)) as source_db:
            _transfer(source_db, target_db)
            sessions, turns = (target_db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("session", "turn"))
        kept = _set_aside(path)
        new.replace(path)
    return Rescued(sessions, turns, kept)


def _transfer(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy the tables row by row; messages whose session is lost get one, and rounds without a message are dropped."""
    target.create_function("title_of", 1, title_of)
    target.execute("PRAGMA foreign_keys = OFF")
    target.execute("BEGIN")
    for table, columns in TABLES.items():
        places = ", ".join("?" * (columns.count(",") + 1))
        for row in _readable(source, table):
            with suppress(sqlite3.IntegrityError):
                target.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", row)
    first_text = "SELECT text FROM turn AS first WHERE first.session = turn.session ORDER BY number LIMIT 1"
    target.execute(
        "INSERT INTO session (id, title, created, updated, pair, system)"
        f" SELECT session, title_of(({first_text})), min(created), max(created), '', '' FROM turn"
        " WHERE session NOT IN (SELECT id FROM session) GROUP BY session"
    )
    target.execute("DELETE FROM round WHERE turn NOT IN (SELECT number FROM turn)")
    target.execute("COMMIT")


def _readable(source: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table around the pages that cannot be read.

    After an error the reading goes on behind the last number that another one followed, for a damaged number may be any; then in
    growing steps, so that 5,000 attempts cross a gap of 200,000.
    """
    seen: set[int] = set()
    at = failures = 0
    while failures < PATIENCE:
        before = -1
        try:
            for row in source.execute(f"SELECT {TABLES[table]} FROM {table} NOT INDEXED WHERE number >= ? ORDER BY number", (at,)):
                if at <= before < row[0]:
                    at = before + 1
                before = row[0]
                if before not in seen:
                    seen.add(before)
                    failures = 0
                    yield row
            return
        except sqlite3.DatabaseError:
            at += 1 + failures // 64
            failures += 1


def _open_damaged(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = decoded
    db.execute("PRAGMA writable_schema = ON")
    return db


def _has_tables(path: Path) -> bool:
    """Whether the first page still tells SQLite where the tables are."""
    with closing(sqlite3.connect(path)) as db:
        try:
            db.execute("PRAGMA writable_schema = ON")
            for table, columns in TABLES.items():
                db.execute(f"SELECT {columns} FROM {table} LIMIT 0")
        except sqlite3.DatabaseError:
            return False
    return True


def _give_first_page(damaged: Path, sound: Path) -> None:
    """Replace the first page, which holds the header and the schema, by that of a new database: all are laid out alike."""
    header = sound.read_bytes()
    size = int.from_bytes(header[16:18], "big")
    page = bytearray(header[:size])
    pages = max(1, damaged.stat().st_size // size)
    page[28:32] = pages.to_bytes(4, "big")
    page[92:96] = page[24:28]
    with damaged.open("r+b") as file:
        file.write(page)


def _set_aside(path: Path) -> Path:
    """Give the damaged file and its log a name that is not taken; the shared-memory file is worth nothing."""
    name = f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    kept, copies = path.with_name(f"{name}{path.suffix}"), 1
    while any(file.exists() for file in _with_log(kept)):
        copies += 1
        kept = path.with_name(f"{name}-{copies}{path.suffix}")
    for source, target in zip(_with_log(path), _with_log(kept), strict=True):
        if source.exists():
            source.rename(target)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return kept


def _with_log(path: Path) -> tuple[Path, Path]:
    """The database file and its write-ahead log."""
    return path, path.with_name(f"{path.name}-wal")
