"""The prompt of a one-shot question, from the command line and from stdin."""

from __future__ import annotations

import os
import sys

from specdec.errors import UsageError


def at_terminal() -> bool:
    """Whether a person sits at stdin."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_prompt(given: str | None) -> str:
    """The prompt that was given or is piped.

    `-` means stdin; text together with piped stdin is the text, a blank line, then stdin. Raises UsageError for an empty prompt
    and for bytes that are not UTF-8.
    """
    text = "" if given in (None, "-") else given
    piped = "" if sys.stdin is None or (at_terminal() and given != "-") else decode(sys.stdin.buffer.read(), "Standard input").rstrip("\n")
    parts = [part for part in (text, piped) if part and part.strip()]
    if not parts:
        raise UsageError("The prompt is empty.", "Give one with -p TEXT or through a pipe.")
    return "\n\n".join(parts)


def check_arguments(arguments: list[str]) -> None:
    """Raise UsageError for a command-line argument that is not UTF-8."""
    for number, argument in enumerate(arguments, 1):
        decode(os.fsencode(argument), f"Argument {number}")


def decode(data: bytes, name: str) -> str:
    """The text of UTF-8 bytes; raises UsageError with the offset of the first byte that is wrong."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 at byte offset {error.start}.", "Convert it to UTF-8 first.") from None
