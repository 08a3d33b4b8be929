"""The memory that a process makes use of, as the device or the system counts it from outside."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

BEFORE, MOST = "VmRSS", "VmHWM"
LOOK_SECONDS = 0.01


@dataclass
class Peak:
    """The most bytes in use, over those that were in use before."""

    before: int
    most: int = 0

    def see(self, in_use: int) -> None:
        """Another look."""
        self.most = max(self.most, in_use)

    @property
    def growth(self) -> int:
        """How much more was in use at most."""
        return max(self.most - self.before, 0)


@contextmanager
def watched(look: Callable[[], int]) -> Iterator[Peak]:
    """The peak of what `look` tells of bytes in use, every 10 ms from now on: what is given back in less can be missed."""
    peak, ended = Peak(look()), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            peak.see(look())

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
        peak.see(look())


def apart(measured: int, reckoned: int) -> float:
    """By what share of what was reckoned the measured bytes differ from it."""
    return abs(measured / reckoned - 1)


def device_in_use(device: torch.device) -> int:
    """Bytes in use on a GPU, by all processes: tensors, what their allocators keep, contexts and kernels."""
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def process_bytes(process: int, field: str, root: Path = Path("/proc")) -> int | None:
    """A memory field of a process, such as VmHWM, the most that was ever resident; None where the system does not tell."""
    try:
        text = (root / str(process) / "status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
