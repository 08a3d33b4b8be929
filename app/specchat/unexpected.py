"""An error nobody foresaw: its traceback goes to a log, and what is left is one sentence and a next step."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path

from specchat.private_file import open_to_append
from specdec.errors import SpecError


def unexpected(error: Exception, log: Path) -> SpecError:
    """The typed error to show in place of any other one, after its traceback was appended to the log."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        with open_to_append(log) as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z\n{''.join(traceback.format_exception(error))}\n".encode("utf-8", "replace"))
    except (OSError, SpecError):
        return SpecError(f"That failed in an unexpected way ({words}).", "Go on; the conversation is as it was.")
    return SpecError(f"That failed in an unexpected way ({words}).", f"Go on; {log} has the details for a bug report.")
