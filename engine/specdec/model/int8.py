"""Linear layers with 8-bit weights, for models whose 16-bit ones do not fit; what they compute is near the model's own, not equal to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.model.linear import MAX_ROWS, QUANTISED_ROWS, WIDTH_STEP, Dense
from specdec.model.operations import has_kernels

LARGEST_CODE = 127


def quantise_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric 8-bit codes: weight [out, in] -> codes [out, in] int8 in -127..127, scale [out] float32; a weight is about code * scale."""
    low, high = torch.aminmax(weight, dim=1)
    scale = (torch.maximum(-low, high).float() / LARGEST_CODE).clamp_min(torch.finfo(torch.float32).tiny)
    codes = torch.empty_like(weight, dtype=torch.int8)
    for into, rows, row_scale in zip(*(torch.split(each, QUANTISED_ROWS) for each in (codes, weight, scale)), strict=True):
        into.copy_((rows / row_scale[:, None]).round_())
    return codes, scale


@dataclass(frozen=True)
class Int8Linear:
    """codes [out, in] int8, scale [out] float32, bias [out] or None.

    With `in_triton`, up to 16 rows take this package's own kernel. On a CPU activations and results are rounded to bfloat16, the only
    type that torch's 8-bit product is fast for.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor | None
    in_triton: bool

    def __call__(self, x: Tensor) -> Tensor:
        if self.in_triton and len(x) <= MAX_ROWS:
            from specdec.kernels.matmul import skinny

            return skinny(x, self.codes, self.bias, self.scale)
        out = self._unscaled(x).float() * self.scale
        return (out if self.bias is None else out + self.bias).to(x.dtype)

    def _unscaled(self, x: Tensor) -> Tensor:
        """x @ codes.T; its sums are beyond float16, though the scaled ones are not."""
        if x.device.type == "cpu" and self.codes.shape[1] % WIDTH_STEP == 0:
            ones = torch.ones(len(self.codes), dtype=torch.bfloat16)
            packed: Tensor = torch.ops.aten._weight_int8pack_mm(x.to(torch.bfloat16), self.codes, ones)
            return packed
        if x.is_cuda and x.dtype != torch.float32:
            return torch.mm(x, self.codes.to(x.dtype).T, out_dtype=torch.float32)
        return F.linear(x.float(), self.codes.float())


def int8(dense: Dense) -> Int8Linear:
    """The 8-bit copy of a matrix."""
    weight = dense.weight
    kernel = has_kernels(weight.device) and weight.shape[1] % WIDTH_STEP == 0
    return Int8Linear(*quantise_int8(weight), dense.bias, kernel)
