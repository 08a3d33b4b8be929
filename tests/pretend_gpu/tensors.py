"""Tensors that say they are on a GPU: their memory is the host's, but they take part in nothing a GPU's tensors could not."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")

# What has the host wait until the device has done all it was given.
READS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "equal", "allclose", "nonzero", "masked_select", "unique")
FROM_THE_HOST = ("tensor", "as_tensor", "new_tensor", "asarray")
# What takes tensors of several devices.
ACROSS_DEVICES = ("to", "copy_", "__getitem__", "__setitem__")
UNWRITTEN = ("empty", "empty_like", "new_empty", "empty_strided")
NOISE = 100

Operation = Callable[..., Any]


class Recording(Protocol):
    """Is told of all that the device does, and does not happen."""

    def before(self, taken: Sequence[Tensor]) -> None: ...

    def after(self, func: Operation, args: Any, kwargs: Any, out: Any) -> None: ...


class GpuTensor(torch.Tensor):
    """A tensor on the GPU; every operation on it goes through the device."""

    @classmethod
    def __torch_function__(cls, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return device().run(func, args, kwargs or {})


class Factories(TorchFunctionMode):
    """Catches, in one thread, what makes tensors on the GPU out of none."""

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return device().run(func, args, kwargs or {})


class Device:
    """Does everything at once on the host, and counts in `waits` what a GPU's host would wait for."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.recording: Recording | None = None
        self._held: Counter[int] = Counter()

    def wait(self, what: str) -> None:
        """The host waits, which nothing that is being recorded may make it do."""
        if self.recording is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")
        self.waits[what] += 1

    def run(self, func: Operation, args: Any, kwargs: Any) -> Any:
        """Anything torch does with tensors, of this device or not."""
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            return self._attribute(func, args)
        tensors = list(tensors_in((args, kwargs)))
        here = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
        asked = _asked_device(name, args, kwargs)
        made_here = asked.type == "cuda" if asked is not None else bool(here)
        if not here and not made_here:
            return func(*args, **kwargs)
        others = [tensor for tensor in tensors if not isinstance(tensor, GpuTensor) and tensor.dim()]
        if here and others and name not in ACROSS_DEVICES:
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")
        if _waits(name, args, kwargs, here, others, made_here):
            self.wait(name)
        with torch._C.DisableTorchFunctionSubclass():
            return self._do(name, func, _on_the_host(args), _on_the_host(kwargs), here, made_here)

    def launch(self, func: Operation, args: Any, kwargs: Any) -> None:
        """A kernel, which may write any tensor it is given."""
        given = list(tensors_in((args, kwargs)))
        if not all(isinstance(tensor, GpuTensor) for tensor in given):
            raise ValueError("Pointer argument cannot be accessed from Triton (cpu tensor?)")
        with torch._C.DisableTorchFunctionSubclass():
            self._do("launch", func, bare(args), bare(kwargs), given, True)

    def adopt(self, value: Any) -> Any:
        """A tensor of the host's as one of this device; any other value as it is."""
        if type(value) is not Tensor:
            return value
        with torch._C.DisableTorchFunctionSubclass():
            tensor = value.as_subclass(GpuTensor)
            place = memory_of(tensor)
        self._held[place] += 1
        weakref.finalize(tensor, self._let_go, place)
        return tensor

    def is_held(self, tensor: Tensor) -> bool:
        """Whether the program still has a tensor of this one's memory."""
        return self._held[memory_of(tensor)] > 0

    def _let_go(self, place: int) -> None:
        self._held[place] -= 1
        if not self._held[place]:
            del self._held[place]

    def _do(self, name: str, func: Operation, args: Any, kwargs: Any, here: Sequence[Tensor], made_here: bool) -> Any:
        if self.recording is not None:
            self.recording.before(here)
        out = func(*args, **kwargs)
        if not made_here:
            return bare(out).clone() if isinstance(out, Tensor) else out
        if isinstance(out, Tensor):
            if name in UNWRITTEN:
                poison(out)
            elif name == "to" and not here:
                out = out.clone()
        if self.recording is not None:
            self.recording.after(func, bare(args), bare(kwargs), bare(out))
        return pytree.tree_map(self.adopt, out)

    def _attribute(self, func: Operation, args: Any) -> Any:
        is_here = isinstance(args[0], GpuTensor)
        attribute = getattr(func, "__self__", None)
        if attribute is torch._C.TensorBase.device:
            return GPU if is_here else CPU
        if attribute is torch._C.TensorBase.is_cuda:
            return is_here
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args)
        return self.adopt(found) if is_here else found


_device = Device()


def device() -> Device:
    """The one there is."""
    return _device


def poison(tensor: Tensor) -> None:
    """Fill memory that nobody has written with what would be noticed."""
    if tensor.dtype.is_floating_point:
        tensor.fill_(float("nan"))
    elif tensor.dtype != torch.bool:
        tensor.fill_(NOISE)


def bare(value: Any) -> Any:
    """The same with every tensor as one of the host's, of the same memory."""
    return pytree.tree_map(lambda leaf: leaf.as_subclass(Tensor) if isinstance(leaf, Tensor) else leaf, value)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor among the arguments or the results of an operation."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def memory_of(tensor: Tensor) -> int:
    """Which memory a tensor is a view of."""
    return int(tensor.untyped_storage()._cdata)


def _asked_device(name: str, args: Any, kwargs: Any) -> torch.device | None:
    """The device that an operation is told to make something on."""
    asked = kwargs.get("device")
    if name == "cpu":
        return CPU
    if asked is None and name == "to":
        asked = next((arg for arg in args[1:] if isinstance(arg, str | torch.device)), None)
    return None if asked is None else torch.device(asked)


def _waits(name: str, args: Any, kwargs: Any, here: Sequence[Tensor], others: Sequence[Tensor], made_here: bool) -> bool:
    if name in READS:
        return bool(here)
    if name in FROM_THE_HOST:
        return not here
    if name in ("to", "cpu"):
        return bool(here) != made_here and not kwargs.get("non_blocking")
    if name == "copy_":
        return bool(others) and not kwargs.get("non_blocking")
    if name in ("__getitem__", "__setitem__"):
        masked = any(index.dtype == torch.bool for index in tensors_in(args[1]))
        return bool(others) or (masked and (name == "__getitem__" or isinstance(args[2], Tensor)))
    return False


def _on_the_host(value: Any) -> Any:
    """Arguments whose devices are the host's."""

    def own(leaf: Any) -> Any:
        if isinstance(leaf, torch.device):
            return CPU
        return "cpu" if isinstance(leaf, str) and leaf.startswith("cuda") else leaf

    return pytree.tree_map(own, value)
