"""Recording as CUDA graphs do it: nothing that is recorded happens, and what it reads has to be there when it is replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tests.pretend_gpu.tensors import Operation, device, memory_of, poison, tensors_in
from torch import Tensor


class CUDAGraph:
    """What torch.cuda.CUDAGraph is to its users; `memory` is what it did not make itself."""

    def __init__(self) -> None:
        self.nodes: list[Callable[[], None]] = []
        self.memory: dict[int, Tensor] = {}

    def replay(self) -> None:
        """Do what was recorded; refuses to where the program has let go of memory that this reads or writes."""
        freed = [tuple(tensor.shape) for tensor in self.memory.values() if not device().is_held(tensor)]
        if freed:
            raise RuntimeError(f"a graph is replayed over freed memory: tensors of {freed}")
        with torch._C.DisableTorchFunctionSubclass(), torch.inference_mode():
            for node in self.nodes:
                node()


class graph:
    """What torch.cuda.graph is: the operations within are recorded and undone, and what they made is noise."""

    def __init__(self, cuda_graph: CUDAGraph, pool: Any = None) -> None:
        self._graph = cuda_graph
        self._made: dict[int, Tensor] = {}
        self._before: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> None:
        device().wait("capture")
        device().recording = self

    def __exit__(self, *_: object) -> None:
        device().recording = None
        with torch._C.DisableTorchFunctionSubclass(), torch.inference_mode():
            for memory, before in self._before:
                memory.copy_(before)
            for tensor in self._made.values():
                poison(tensor)

    def before(self, taken: Sequence[Tensor]) -> None:
        """Some tensors are about to be read or written."""
        for tensor in taken:
            place = memory_of(tensor)
            if place not in self._made and place not in self._graph.memory:
                bytes_ = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                self._before.append((bytes_, bytes_.clone()))
                self._graph.memory[place] = tensor.as_subclass(Tensor)

    def after(self, func: Operation, args: Any, kwargs: Any, out: Any) -> None:
        """Some tensors were read or written; all of them are the host's here."""
        known = {memory_of(tensor) for tensor in tensors_in((args, kwargs))}
        made = list(tensors_in(out))
        fresh = [index for index, tensor in enumerate(made) if memory_of(tensor) not in known]
        self._made |= {memory_of(made[index]): made[index] for index in fresh}

        def again() -> None:
            found = func(*args, **kwargs)
            if fresh:
                found = list(tensors_in(found))
                for index in fresh:
                    made[index].copy_(found[index])

        self._graph.nodes.append(again)
