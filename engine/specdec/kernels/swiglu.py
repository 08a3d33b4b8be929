"""The gated activation of a feed-forward block, in one pass over what the gate-up product wrote."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up in float32, rounded once: [rows, 2 * width] contiguous, holding both side by side -> [rows, width].

    specdec.model.ops.swiglu is the reference (Shazeer 2020, arXiv 2002.05202).
    """
    rows, both = gate_up.shape
    width = both // 2
    product = gate_up.new_empty(rows, width)
    _swiglu[(rows, triton.cdiv(width, BLOCK))](gate_up, product, width, BLOCK, num_warps=4)
    return product


@triton.jit  # type: ignore[untyped-decorator]
def _swiglu(gate_up: tl.tensor, product: tl.tensor, width: int, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    inside = columns < width
    gates = gate_up + row * 2 * width + columns
    gate = tl.load(gates, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gates + width, mask=inside, other=0.0).to(tl.float32)
    result = gate * tl.sigmoid(gate) * up
    tl.store(product + row * width + columns, result.to(product.dtype.element_ty), mask=inside)
