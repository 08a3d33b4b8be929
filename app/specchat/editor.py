"""A text written in the user's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress

from specdec.errors import UsageError

STAYS = "The prompt stays as it was."


def edit_text(text: str, run: Callable[[list[str]], int] = subprocess.call) -> str:
    """What the user made of the text in `$VISUAL` or `$EDITOR`, without the last line's end.

    `run` runs a command in the terminal and returns its exit code. Raises UsageError if no editor is
    set, or it cannot be started, or it fails.
    """
    command = _command()
    handle, name = tempfile.mkstemp(prefix="specchat-", suffix=".md")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text + "\n")
        code = run([*command, name])
        if code != 0:
            raise UsageError(f"The editor {command[0]} ended with code {code}.", STAYS)
        with open(name, encoding="utf-8", newline="") as file:
            return _without_last_end(file.read())
    except OSError as error:
        raise UsageError(f"The editor {command[0]} failed: {error.strerror}.", f"{STAYS} Set $VISUAL or $EDITOR to another one.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The editor wrote a text that is not UTF-8 at byte offset {error.start}.", STAYS) from error
    finally:
        with suppress(OSError):
            os.unlink(name)


def _command() -> list[str]:
    written = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        command = shlex.split(written)
    except ValueError as error:
        raise UsageError(f"$VISUAL or $EDITOR cannot be read: {error}.", "Mend its quotes.") from error
    if not command:
        raise UsageError("No editor is set.", "Set $VISUAL or $EDITOR, for example EDITOR=nano.")
    return command


def _without_last_end(text: str) -> str:
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
