"""Where the results go, checked before anything is measured and written when all is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from specchat.private_file import write_private
from specdec.errors import SpecError, UsageError

STDOUT = "-"


@dataclass(frozen=True)
class Outputs:
    """What was asked for; with JSON on stdout there are no tables."""

    json_on_stdout: bool
    json_file: Path | None
    markdown: bool
    plots: Path | None


def outputs(json: str | None, markdown: bool, plots: str | None) -> Outputs:
    """What was asked for, with the folder of the plots made; raises UsageError for what contradicts itself or could not be written."""
    if json == STDOUT and markdown:
        raise UsageError("--markdown and --json - contradict each other: both write to stdout.", "Give --json a file.")
    file = None if json in (None, STDOUT) else Path(json or "")
    if file is not None and ((file.exists() and not file.is_file()) or not os.access(file.parent, os.W_OK)):
        raise UsageError(f"--json: {json!r} is not a file that can be written.", "Name one in a folder that exists and can be written to.")
    folder = None if plots is None else _plots_folder(plots)
    return Outputs(json == STDOUT, file, markdown, folder)


def write(path: Path, data: bytes) -> None:
    """Replace the file as a whole; raises SpecError."""
    try:
        write_private(path, data)
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}.", "Make room or choose another place, and measure again.") from error


def _plots_folder(name: str) -> Path:
    if find_spec("matplotlib") is None:
        raise UsageError("--plots needs matplotlib, which is not installed.", "Install it: pip install 'specchat[plots]'.")
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--plots: the folder {name!r} cannot be made: {error.strerror}.", "Name another one.") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--plots: the folder {name!r} cannot be written to.", "Name another one.")
    return folder
