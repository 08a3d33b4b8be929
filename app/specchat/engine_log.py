"""The log file the engine's stderr goes to: private, kept below two megabytes, and read for an engine's last words."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

from specchat.private_file import open_to_append
from specdec.errors import SpecError

LIMIT_BYTES = 2**20
TAIL_BYTES = 4096


def open_log(path: Path) -> FileIO:
    """The log opened for appending; one that has grown past the limit is first moved to `engine.log.1`.

    Raises SpecError if it cannot be written.
    """
    try:
        if path.exists() and path.stat().st_size > LIMIT_BYTES:
            os.replace(path, path.with_name(path.name + ".1"))
        return open_to_append(path)
    except OSError as error:
        raise SpecError(f"The engine's log {path} cannot be written: {error.strerror}.", "Make it writable or remove it.") from error


def open_log_or_none(path: Path) -> FileIO:
    """The log, or, where it cannot be written, the null device: an engine whose last words are lost is better than none."""
    try:
        return open_log(path)
    except SpecError:
        return open(os.devnull, "ab", buffering=0)


def complaint(path: Path) -> str:
    """Why the log cannot be written and what to do; empty if it can."""
    try:
        open_log(path).close()
    except SpecError as error:
        return f"{error} Until then the engine's last words are lost."
    return ""


def last_line(path: Path, start: int) -> str:
    """The last line that is not blank, written at or after byte `start`; empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(start, path.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
