"""Full-precision linear layers: callables from [rows, in] to [rows, out]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Linear = Callable[[Tensor], Tensor]

# The most rows of a round: what a product with few rows is for.
MAX_ROWS = 16
# What the width of a matrix must be a multiple of for such products.
WIDTH_STEP = 16
PACK_ROWS = 8
# A large matrix is quantised so many rows at a time, for room.
QUANTISED_ROWS = 1024


@dataclass(frozen=True)
class Dense:
    """A matrix as the checkpoint has it: weight [out, in], bias [out] or None. Called, it is torch's own product."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class SkinnyLinear:
    """A matrix whose product with up to 16 rows is this package's own kernel, in which no row depends on another.

    More rows take torch's own product.
    """

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) > MAX_ROWS:
            return F.linear(x, self.weight, self.bias)
        from specdec.kernels.matmul import skinny

        return skinny(x, self.weight, self.bias)


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


def with_skinny_product(linear: Linear) -> Linear:
    """The layer over the same matrix with the kernel for few rows; any but a `Dense` that the kernel takes stays as it is."""
    if isinstance(linear, Dense) and linear.weight.shape[1] % WIDTH_STEP == 0:
        return SkinnyLinear(linear.weight, linear.bias)
    return linear


def _onednn_has(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
