"""What a terminal may do to the app without ending it in disorder: send bytes that are no text, or a signal to end."""

from __future__ import annotations

import asyncio
import signal
import sys
from codecs import getincrementaldecoder
from functools import partial
from typing import Any

from textual.app import App

ENDINGS = ("SIGHUP", "SIGTERM", "SIGQUIT")


def accept_any_bytes() -> None:
    """Let Textual read bytes that are not UTF-8 as U+FFFD; its own decoder would end the app at the first of them."""
    if sys.platform != "win32":
        from textual.drivers import linux_driver

        driver: Any = linux_driver
        driver.getincrementaldecoder = lambda encoding: partial(getincrementaldecoder(encoding), errors="replace")


def end_on_signals(app: App[int]) -> None:
    """End the app in order, with the terminal as it was, when it is told to end; the exit code says by which signal."""
    loop = asyncio.get_running_loop()
    for name in ENDINGS:
        number = getattr(signal, name, None)
        if number is not None and sys.platform != "win32":
            loop.add_signal_handler(number, app.exit, 128 + number)
