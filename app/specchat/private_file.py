"""Files for the user alone: replaced as a whole or not at all, or appended to."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from io import FileIO
from pathlib import Path

from specchat.paths import private_folder


def open_to_append(path: Path) -> FileIO:
    """The file, mode 0600, for appending; each write goes out at once. Makes its folder; raises SpecError for that, else OSError."""
    private_folder(path.parent)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0)


def write_private(path: Path, data: bytes) -> None:
    """Put the bytes in the file, mode 0600; a reader sees the old content or the new. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
