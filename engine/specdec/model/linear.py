"""Full-precision linear layers: callables from [rows, in] to [rows, out]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Linear = Callable[[Tensor], Tensor]

PACK_ROWS = 8


@dataclass(frozen=True)
class Dense:
    """A matrix as the checkpoint has it: weight [out, in], bias [out] or None. Called, it is torch's own product."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class OneDnnLinear:
    """A matrix in oneDNN's blocked layout, for CPUs.

    Up to eight rows cost about as much as one, and a row's bits do not depend on how many rows run with it; torch's default
    product on a CPU has neither property in float32.
    """

    packed: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return out


def full_precision(dense: Dense) -> Linear:
    """The fastest exact layer for a matrix on its device."""
    weight = dense.weight
    if weight.device.type == "cpu" and _onednn_has(weight.dtype):
        return OneDnnLinear(torch.ops.mkldnn._reorder_linear_weight(weight, PACK_ROWS), dense.bias)
    return dense


def _onednn_has(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
