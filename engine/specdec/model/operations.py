"""Which implementation of a block's small operations a device gets: Triton kernels on an NVIDIA GPU, plain torch elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

from specdec.model import ops
from specdec.model.norm import Norm

AddNorm = Callable[[Tensor, Tensor | None, Norm], tuple[Tensor, Tensor]]
RotateAndWrite = Callable[[Tensor, int, Tensor, Tensor, Tensor, Tensor, Norm | None, Norm | None], None]
SplitAttention = Callable[[Tensor, Tensor, Tensor, int | None], Tensor]


@dataclass(frozen=True)
class Operations:
    """The operations between a block's matrix products; their contracts are those of specdec.model.ops.

    `split_attention` is the attention kernel that reads the cache's length on the device, None where there is none: query
    [rows, heads, head_dim], a layer of the cache, the first row's position [1] and the window give [rows, heads * head_dim].
    """

    name: str
    add_norm: AddNorm
    swiglu: Callable[[Tensor], Tensor]
    rotate_and_write: RotateAndWrite
    split_attention: SplitAttention | None

    @property
    def in_triton(self) -> bool:
        """Whether these are kernels, so that the others of specdec.kernels run here too."""
        return self.split_attention is not None


PLAIN = Operations("torch", ops.add_norm, ops.swiglu, ops.rotate_and_write, None)


def has_kernels(device: torch.device) -> bool:
    """Whether the kernels run on a device: on a GPU that Triton is installed for."""
    return device.type == "cuda" and find_spec("triton") is not None


def operations_for(device: torch.device) -> Operations:
    """The kernels, where they run."""
    return triton_operations() if has_kernels(device) else PLAIN


@functools.cache
def triton_operations() -> Operations:
    """Everything in Triton; importing it takes about a second."""
    from specdec.kernels.attention import decode_attention
    from specdec.kernels.norm import add_norm
    from specdec.kernels.rotary import rotate_and_write
    from specdec.kernels.swiglu import swiglu

    def normed(x: Tensor, delta: Tensor | None, norm: Norm) -> tuple[Tensor, Tensor]:
        return add_norm(x, delta, norm.scale, norm.floor)

    def rotated(
        qkv: Tensor, heads: int, cos: Tensor, sin: Tensor, start: Tensor, rows: Tensor, q_norm: Norm | None, k_norm: Norm | None
    ) -> None:
        scales = (q_norm.scale, k_norm.scale, q_norm.floor) if q_norm is not None and k_norm is not None else (None, None, None)
        rotate_and_write(qkv, heads, cos, sin, start, rows, *scales)

    return Operations("triton", normed, swiglu, rotated, decode_attention)
