"""The prompts a user typed before, across conversations: one JSON string a line."""

from __future__ import annotations

import json
from pathlib import Path

from specchat.private_file import open_to_append, write_private
from specdec.errors import SpecError

LIMIT = 1000


class History:
    """The last prompts in `entries`, oldest first, and the file they are kept in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[str] = []
        self._failed = False

    def load(self) -> str:
        """Put what the file holds before what was added since; lines that are no JSON string are skipped.

        Only the newest prompts are kept, in the file too. Returns a sentence if the file cannot be read, else an empty text.
        """
        try:
            lines = self.path.read_bytes().splitlines()
            known = [text for line in lines if (text := _parsed(line))]
            if len(lines) > LIMIT:
                write_private(self.path, b"".join(map(_line, known[-LIMIT:])))
        except FileNotFoundError:
            return ""
        except OSError as error:
            return self._complain(f"Earlier prompts cannot be read from {self.path}: {error.strerror}.")
        self.entries[:0] = known
        del self.entries[:-LIMIT]
        return ""

    def add(self, text: str) -> str:
        """Remember a prompt unless it is the last one again; returns a sentence the first time the file cannot be written."""
        if not text.strip() or self.entries[-1:] == [text]:
            return ""
        self.entries.append(text)
        del self.entries[:-LIMIT]
        try:
            with open_to_append(self.path) as file:
                file.write(_line(text))
        except SpecError as error:
            return self._complain(error.cause)
        except OSError as error:
            return self._complain(f"Prompts cannot be kept in {self.path}: {error.strerror}.")
        return ""

    def _complain(self, sentence: str) -> str:
        first = not self._failed
        self._failed = True
        return sentence if first else ""


def _line(text: str) -> bytes:
    return json.dumps(text).encode() + b"\n"


def _parsed(line: bytes) -> str:
    """The prompt of a line, empty for a broken one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""
