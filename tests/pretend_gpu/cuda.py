"""torch.cuda and Triton's launches, for a while, as on a machine with one GPU."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.engine.kernels.mended_interpreter import mend
from tests.pretend_gpu import graphs
from tests.pretend_gpu.tensors import Device, Factories, device
from triton.runtime import interpreter

MEMORY = 8 * 2**30
NAME = "Pretend GPU"


class Event:
    """A point in the device's work; its time is known once the host has waited for what came after it."""

    def __init__(self, enable_timing: bool = False) -> None:
        self._seconds: float | None = None
        self._waits = 0

    def record(self, stream: Any = None) -> None:
        self._seconds, self._waits = time.perf_counter(), device().waits.total()

    def synchronize(self) -> None:
        device().wait("event")

    def elapsed_time(self, later: Event) -> float:
        if self._seconds is None or later._seconds is None or device().waits.total() <= later._waits:
            raise RuntimeError("elapsed_time: both events must be recorded and completed")
        return (later._seconds - self._seconds) * 1000


class Stream:
    """Work is done at once, so one stream is like another."""

    def wait_stream(self, other: Stream) -> None: ...


class Generator(torch.Generator):
    """Random numbers for any device, made by the host."""

    def __new__(cls, device: object = None) -> Generator:
        return super().__new__(cls)


class Readers(concurrent.futures.ThreadPoolExecutor):
    """Threads that may make tensors on the GPU."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, initializer=Factories().__enter__)


@contextlib.contextmanager
def pretend_gpu() -> Iterator[Device]:
    """A GPU that is none: what is asked of it is done by the host, and refused where a GPU would refuse it."""
    run = interpreter.InterpretedFunction.run

    def launch(function: Any, *args: Any, **kwargs: Any) -> None:
        device().launch(lambda *a, **k: run(function, *a, **k), args, kwargs)

    properties = SimpleNamespace(name=NAME, total_memory=MEMORY, major=9, minor=0, multi_processor_count=1, L2_cache_size=2**20)
    changes: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_name": lambda device=None: NAME,
        "get_device_properties": lambda device=None: properties,
        "mem_get_info": lambda device=None: (MEMORY, MEMORY),
        "max_memory_reserved": lambda device=None: 2**20,
        "empty_cache": lambda: None,
        "synchronize": lambda which=None: device().wait("synchronize"),
        "Event": Event,
        "Stream": Stream,
        "current_stream": lambda device=None: Stream(),
        "stream": lambda stream: contextlib.nullcontext(),
        "graph": graphs.graph,
        "CUDAGraph": graphs.CUDAGraph,
        "graph_pool_handle": lambda: (0, 1),
    }
    with pytest.MonkeyPatch.context() as patch, Factories():
        for name, change in changes.items():
            patch.setattr(torch.cuda, name, change)
        patch.setattr(torch, "Generator", Generator)
        mend(patch)
        patch.setattr(interpreter.InterpretedFunction, "run", launch)
        patch.setattr("specdec.checkpoint.ThreadPoolExecutor", Readers)
        device().waits.clear()
        yield device()
