"""How many CPU threads torch uses: measured when a pair is loaded, and given up when the machine is busy.

At every operation torch's threads wait for each other, spinning; one that another program keeps from running makes a step a
hundred times slower, while a single thread only loses its fair share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ALL_THREADS = torch.get_num_threads()
STALLED = 6.0
PATIENCE = 2


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run a block with that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class StallGuard:
    """Goes down to one thread, until the next load, when steps in a row take many times what they took at load."""

    def __init__(self, count: int) -> None:
        self._armed = count > 1
        self._stalls = 0

    def observe(self, slowdown: float) -> None:
        """How many times slower than calibrated the last step was."""
        self._stalls = self._stalls + 1 if slowdown > STALLED else 0
        if self._armed and self._stalls >= PATIENCE:
            self._armed = False
            torch.set_num_threads(1)
