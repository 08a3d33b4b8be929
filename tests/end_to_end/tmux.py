"""A terminal inside tmux: keys go in, the screen comes out."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path


class Tmux:
    """One tmux server of its own with a shell in it; leaving the block ends both.

    The shell is not told the size of the terminal that the tests themselves run in.
    """

    def __init__(self, socket: Path, columns: int = 120, rows: int = 40, environment: Mapping[str, str] | None = None) -> None:
        self._command = ["tmux", "-S", str(socket), "-f", os.devnull]
        start = ("new-session", "-d", "-x", str(columns), "-y", str(rows), "env", "PS1=$ ", "sh")
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        subprocess.run([*self._command, *start], check=True, env={**inherited, **(environment or {}), "TERM": "xterm-256color"})

    def __enter__(self) -> Tmux:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._command, "kill-server"], check=False, capture_output=True)

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names: `C-o`, `Enter`, `Escape`, `F2`."""
        self._run("send-keys", *names)

    def type(self, text: str) -> None:
        """Type a text as it is."""
        self._run("send-keys", "-l", "--", text)

    def screen(self) -> str:
        """What is to be seen."""
        return self._run("capture-pane", "-p")

    def until(self, pattern: str, seconds: float = 60) -> str:
        """The screen as soon as a regular expression is found in it."""
        limit = time.monotonic() + seconds
        while not re.search(pattern, screen := self.screen()):
            assert time.monotonic() < limit, f"{pattern!r} does not appear:\n{screen}"
            time.sleep(0.05)
        return screen

    def until_gone(self, pattern: str, seconds: float = 60) -> str:
        """The screen as soon as a regular expression is no longer found in it."""
        limit = time.monotonic() + seconds
        while re.search(pattern, screen := self.screen()):
            assert time.monotonic() < limit, f"{pattern!r} stays:\n{screen}"
            time.sleep(0.05)
        return screen

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._command, *arguments], check=True, capture_output=True, text=True).stdout
