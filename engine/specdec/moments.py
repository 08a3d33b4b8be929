"""Points in a device's work, to be timed without waiting for the device to reach them."""

from __future__ import annotations

import time

import torch


class Moment:
    """The point a device has been given work up to: now on a CPU, which works while the host waits, an event on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._seconds = time.perf_counter()
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record()

    def ms_until(self, later: Moment) -> float:
        """Milliseconds to a later moment, which is waited for."""
        if self._event is not None and later._event is not None:
            later._event.synchronize()
            return float(self._event.elapsed_time(later._event))
        return (later._seconds - self._seconds) * 1000
