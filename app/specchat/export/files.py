"""Exports as files: how they are named, written whole or not at all, and read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from specchat.export.errors import ExistsError, ExportError
from specchat.export.summary import local_time
from specchat.private_file import write_private
from specchat.transcript import Session

SLUG_LENGTH = 40
MOST_BYTES = 2**28


def export_path(session: Session, suffix: str, folder: Path) -> Path:
    """A name in the folder that tells when the conversation began and what it is about."""
    return folder / f"{local_time(session.created):%Y-%m-%d_%H-%M}_{slug(session.title)}{suffix}"


def target_path(session: Session, suffix: str, typed: str, folder: Path) -> Path:
    """The file that was asked for, from the folder on; one with a telling name if that is a folder or nothing was typed."""
    path = folder / os.path.expanduser(typed)
    return export_path(session, suffix, path) if typed.endswith("/") or os.path.isdir(path) else path


def slug(title: str) -> str:
    """The title as 1 to 40 ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LENGTH].strip("-") or "conversation"


def write_file(path: Path, text: str, overwrite: bool = False) -> None:
    """Make the file, for the user alone, with all of the text; on failure nothing of it stays.

    Raises ExistsError if the file is there and may not be overwritten, and ExportError for all else.
    """
    with _told(path, "written", "Choose another place."):
        if path.exists() and not path.is_file():
            raise ExportError(f"{path} is a folder or a device, not a file.", "Choose another name.")
        if not overwrite:
            _reserve(path)
        try:
            write_private(path, text.encode("utf-8", "replace"))
        except BaseException:
            if not overwrite:
                with suppress(OSError):
                    path.unlink()
            raise


def read_text(path: Path) -> str:
    """The text of a file to import; raises ExportError."""
    with _told(path, "read", "Choose another file."), path.open("rb") as file:
        return decode(file)


def decode(file: BinaryIO) -> str:
    """The text that is left in a file; raises ExportError unless it is UTF-8 and not absurdly long."""
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ExportError(f"The file is longer than {MOST_BYTES // 2**20} MiB.", "Import a shorter one.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportError(f"The file is not UTF-8 text (byte {error.start}).", "Export it anew, or choose another file.") from None


def _reserve(path: Path) -> None:
    """Take the name of a file that is not there yet, so that nobody else can."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise ExistsError(f"{path} exists already.", "Choose another name, or replace it with --overwrite.") from None


@contextmanager
def _told(path: Path, done: str, next_step: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ExportError(f"{path} cannot be {done}: {reason or error}.", next_step) from error
