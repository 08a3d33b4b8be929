"""Timing calls on a device: by events on a GPU, by the clock on a CPU; medians of interleaved repeats after a warm-up."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

import torch

WARM_UP = 3
Call = Callable[[], object]


def median_ms(device: torch.device, call: Call, repeats: int) -> float:
    """The median milliseconds of a call."""
    return interleaved_ms(device, {"": call}, repeats)[""]


def interleaved_ms(device: torch.device, calls: Mapping[str, Call], repeats: int) -> dict[str, float]:
    """The median milliseconds of each call, all of them taking turns."""
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(once_ms(device, call))
    return {name: statistics.median(own) for name, own in times.items()}


def once_ms(device: torch.device, call: Call) -> float:
    """Milliseconds of one call that finds the device idle, as each round of decoding does."""
    if device.type == "cpu":
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) * 1000
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    start.record()
    call()
    end.record()
    torch.cuda.synchronize(device)
    return float(start.elapsed_time(end))


def free_memory() -> None:
    """Hand back what no tensor holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
