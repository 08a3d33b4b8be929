"""INT4 copies of linear layers: group-wise quantisation, and the kernels that can multiply with it.

The kernels are `int4pack` (torch's own, CPU and CUDA), `nf4` (bitsandbytes, CUDA) and `triton` (specdec.kernels, CUDA). The fastest
one that passes a numeric check on this machine is chosen once a process.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from specdec.errors import IncompatibleDraftError
from specdec.machine_facts import Int4Timing
from specdec.model.linear import QUANTISED_ROWS, Dense, Linear, full_precision

if TYPE_CHECKING:
    from specdec.kernels.int4_matmul import Int4Weights

GROUP = 32
CUDA_INNER_TILES = 8
NF4_BLOCK = 64
PROBE_SHAPE = (2048, 1024)
TOLERATED_ERROR = 0.02
REPEATS = 50
NOT_TRIED_ON_A_CPU = {"nf4": "not tried on a CPU, where it is slower than full precision", "triton": "needs a GPU"}


def quantise(weight: Tensor, group: int = GROUP) -> tuple[Tensor, Tensor, Tensor]:
    """Asymmetric 4-bit codes: weight [out, in] -> codes [out, in] int32 in 0..15, scale and minimum [out, in / group] float32.

    A weight is about `code * scale + minimum`.
    """
    grouped = weight.float().view(weight.shape[0], -1, group)
    low, high = grouped.amin(-1), grouped.amax(-1)
    scale = ((high - low) / 15).clamp_min(1e-8)
    codes = ((grouped - low[..., None]) / scale[..., None]).round().clamp_(0, 15)
    return codes.flatten(1).to(torch.int32), scale, low


def dequantise(codes: Tensor, scale: Tensor, low: Tensor) -> Tensor:
    """The float32 weights that `quantise`'s answer stands for."""
    grouped = codes.view(*scale.shape, -1).float() * scale[..., None] + low[..., None]
    return grouped.flatten(1)


@dataclass(frozen=True)
class Int4PackLinear:
    """torch's packed 4-bit product; activations are bfloat16, the only type its kernels are fast for."""

    packed: Tensor
    scales_and_zeros: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        product = torch.ops.aten._weight_int4pack_mm_for_cpu if x.device.type == "cpu" else torch.ops.aten._weight_int4pack_mm
        out: Tensor = product(x.to(torch.bfloat16), self.packed, GROUP, self.scales_and_zeros).to(x.dtype)
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class Nf4Linear:
    """bitsandbytes' 4-bit NormalFloat product (QLoRA, arXiv 2305.14314)."""

    packed: Tensor
    state: Any
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        import bitsandbytes

        out: Tensor = bitsandbytes.matmul_4bit(x, self.packed.t(), quant_state=self.state, bias=self.bias)  # type: ignore[attr-defined]
        return out


@dataclass(frozen=True)
class TritonLinear:
    """The product of specdec.kernels.int4_matmul; float32 activations are rounded to bfloat16 for it."""

    weights: Int4Weights
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        from specdec.kernels.int4_matmul import int4_product

        narrow = x.to(torch.bfloat16) if x.dtype == torch.float32 else x
        return int4_product(narrow, self.weights, self.bias).to(x.dtype)


def int4pack(dense: Dense) -> Linear:
    """The matrix for torch's int4pack kernels."""
    packed, scales_and_zeros = _packed_in_pieces(dense.weight, lambda rows: _int4packed(*quantise(rows)), dims=(0, 1))
    return Int4PackLinear(packed, scales_and_zeros, dense.bias)


def _packed_in_pieces(weight: Tensor, pack: Callable[[Tensor], Sequence[Tensor]], dims: Sequence[int]) -> list[Tensor]:
    """What `pack` makes of a weight [out, in], made of some rows at a time and put together in place, for room.

    Each result grows with the rows in its own one of `dims`.
    """
    whole: list[Tensor] = []
    filled = [0] * len(dims)
    for rows in torch.split(weight, QUANTISED_ROWS):
        for index, (part, dim) in enumerate(zip(pack(rows), dims, strict=True)):
            if len(whole) <= index:
                size = -(-part.shape[dim] * len(weight) // len(rows))
                whole.append(part.new_empty(*part.shape[:dim], size, *part.shape[dim + 1 :]))
            whole[index].narrow(dim, filled[index], part.shape[dim]).copy_(part)
            filled[index] += part.shape[dim]
    return whole


def _int4packed(codes: Tensor, scale: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Some rows of codes as the kernels want them, and [in / group, out, 2] of each group's scale and of what code 8 stands for."""
    scales_and_zeros = torch.stack((scale, low + 8 * scale), dim=-1).transpose(0, 1).to(torch.bfloat16)
    if codes.device.type == "cpu":
        return torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1), scales_and_zeros
    pairs = (codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8)
    return torch.ops.aten._convert_weight_to_int4pack(pairs, CUDA_INNER_TILES), scales_and_zeros


def nf4(dense: Dense) -> Linear:
    """The matrix for bitsandbytes' NF4 kernels."""
    import bitsandbytes.functional

    packed, state = bitsandbytes.functional.quantize_4bit(dense.weight, blocksize=NF4_BLOCK, quant_type="nf4")
    return Nf4Linear(packed, state, dense.bias)


def triton(dense: Dense) -> Linear:
    """The matrix for this package's own kernel."""
    from specdec.kernels.int4_matmul import Int4Weights, pack

    def parts(rows: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack(*quantise(rows))
        return packed.codes, packed.scales_and_minima

    codes, scales_and_minima = _packed_in_pieces(dense.weight, parts, dims=(0, 0))
    outs, width = dense.weight.shape
    return TritonLinear(Int4Weights(codes, scales_and_minima, (outs, width), GROUP), dense.bias)


BACKENDS: dict[str, Callable[[Dense], Linear]] = {"int4pack": int4pack, "nf4": nf4, "triton": triton}


def takes(name: str, weight: Tensor) -> bool:
    """Whether a backend can group and multiply a weight [out, in] of this shape."""
    rows, width = weight.shape
    if name == "int4pack":
        return width % (GROUP if weight.device.type == "cpu" else 16 * CUDA_INNER_TILES) == 0 and rows % 16 == 0
    return width % (NF4_BLOCK if name == "nf4" else GROUP) == 0


@dataclass(frozen=True)
class Backend:
    """The chosen kernel, and its time for one row through a 2048 x 1024 matrix as a share of full precision's."""

    name: str
    relative_time: float

    def layer(self, dense: Dense) -> Linear:
        """The INT4 copy of a matrix; one that the kernel does not take stays in full precision."""
        return BACKENDS[self.name](dense) if takes(self.name, dense.weight) else full_precision(dense)


@functools.cache
def measure_backends(device_type: str, dtype: torch.dtype) -> tuple[Int4Timing, ...]:
    """Every INT4 backend with its time on this device, or why it cannot be used here.

    On a CPU bitsandbytes is not tried, as it takes seconds to import and its CPU kernels are slower than full precision, nor is Triton,
    which compiles for GPUs. Whatever a kernel raises is its reason: its compiler and its driver have errors of their own.
    """
    device = torch.device(device_type)
    generator = torch.Generator().manual_seed(0)
    dense = Dense(torch.randn(PROBE_SHAPE, generator=generator).to(device, dtype))
    x = torch.randn(1, PROBE_SHAPE[1], generator=generator).to(device, dtype)
    exact = dense(x).float()
    working: dict[str, Linear] = {}
    problems: dict[str, str] = dict(NOT_TRIED_ON_A_CPU) if device_type == "cpu" else {}
    for name, build in BACKENDS.items():
        if name in problems:
            continue
        try:
            layer = build(dense)
            error = float((layer(x).float() - exact).square().mean() / exact.square().mean())
        except Exception as problem:
            problems[name] = (str(problem).splitlines() or [type(problem).__name__])[0]
            continue
        if error > TOLERATED_ERROR:
            problems[name] = f"relative squared error {error:.3f}"
        else:
            working[name] = layer
    whole, *times = _interleaved_seconds([full_precision(dense), *working.values()], x)
    relative = {name: seconds / whole for name, seconds in zip(working, times, strict=True)}
    return tuple(Int4Timing(name=name, relative_time=relative.get(name), problem=problems.get(name, "")) for name in BACKENDS)


def fastest(timings: Sequence[Int4Timing]) -> Backend | None:
    """The backend that takes the least time of those that work; None if none does."""
    working = [Backend(timing.name, timing.relative_time) for timing in timings if timing.relative_time is not None]
    return min(working, key=lambda backend: backend.relative_time, default=None)


def choose_backend(device_type: str, dtype: torch.dtype) -> Backend:
    """The fastest INT4 backend that works on this device.

    Raises IncompatibleDraftError when none works, with each one's reason.
    """
    timings = measure_backends(device_type, dtype)
    chosen = fastest(timings)
    if chosen is None:
        refused = "; ".join(f"{timing.name}: {timing.problem}" for timing in timings)
        raise IncompatibleDraftError(f"No INT4 kernel works on this machine ({refused}).", "Use a sibling draft or n-gram.")
    return chosen


def _interleaved_seconds(layers: Sequence[Linear], x: Tensor) -> list[float]:
    """The best time of each layer in turns, so that what else the machine does meets all of them."""
    best = [float("inf")] * len(layers)
    for _ in range(REPEATS):
        for index, layer in enumerate(layers):
            if x.is_cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
            layer(x)
            if x.is_cuda:
                torch.cuda.synchronize()
            best[index] = min(best[index], time.perf_counter() - began)
    return best
