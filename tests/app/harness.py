"""The command line as a real process, with the scripted engine of fake_engine.py behind it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAKE_ENGINE = (sys.executable, str(HERE / "fake_engine.py"))


def command(mode: str, *arguments: str, argument: str = "") -> list[str]:
    """The process that runs `specchat arguments...` against the fake engine in a mode."""
    return [sys.executable, str(HERE / "specchat_with_fake.py"), mode, argument, *arguments]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


def specchat(mode: str, *arguments: str, argument: str = "", stdin: bytes = b"") -> Result:
    """Run `specchat arguments...` to its end with stdin and the fake engine in a mode."""
    done = subprocess.run(command(mode, *arguments, argument=argument), input=stdin, capture_output=True, timeout=60)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


class Terminal:
    """`specchat arguments...` on a terminal of its own, with the fake engine in a mode; leaving the block ends it."""

    def __init__(self, mode: str, *arguments: str, argument: str = "") -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command(mode, *arguments, argument=argument),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, text: str) -> str:
        """What was shown since the last call, up to and including `text`."""
        while text not in self.shown:
            assert self._read(), f"the process ended before {text!r}: {self.shown!r}"
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def press_until(self, key: str, text: str) -> None:
        """Type a key again and again until `text` is shown; two Ctrl+C in one instant may count as one."""
        while text not in self.shown:
            self.type(key)
            quiet_after = time.monotonic() + 0.3
            while select.select([self._master], [], [], max(0, quiet_after - time.monotonic()))[0]:
                assert self._read(), f"the process ended before {text!r}: {self.shown!r}"
        self.shown = self.shown.partition(text)[2]

    def wait(self) -> int:
        """The exit code, when the process ends."""
        while self._read():
            pass
        return self._process.wait(30)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(30)
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 30)
        assert ready, f"nothing happens: {self.shown!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.shown += data.decode()
        return bool(data)


def wait_until_gone(pid: int) -> None:
    """Return when the process is dead; fail if it lives on."""
    for _ in range(600):
        if not _lives(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"process {pid} lives on")


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
