"""Ctrl+C in two steps: the first asks a slow step to end, the second ends it by force."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Presses:
    """How often Ctrl+C was pressed."""

    count: int = 0


@contextmanager
def interrupts(ask: Callable[[], None], force: Callable[[], None]) -> Iterator[Presses]:
    """Inside the block the first Ctrl+C calls `ask` and each later one `force`, both in threads of their own.

    A signal handler runs between any two instructions of the main thread, so it may take no lock that this thread could hold.
    """
    presses = Presses()

    def pressed(_number: int, _frame: FrameType | None) -> None:
        presses.count += 1
        threading.Thread(target=ask if presses.count == 1 else force, daemon=True).start()

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield presses
    finally:
        signal.signal(signal.SIGINT, before)
