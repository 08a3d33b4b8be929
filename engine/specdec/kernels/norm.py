"""Root-mean-square normalisation with the residual addition before it, one program a row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LANE_ELEMENTS = 8
MOST_WARPS = 16


def add_norm(x: Tensor, delta: Tensor | None, scale: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """(sum, normed): sum = x + delta in x's dtype, normed = sum / hypot(|sum|, floor) * scale in float32, rounded once.

    x and delta [rows, hidden] contiguous and of one dtype; without a delta the sum is x itself. scale [hidden] and floor [] are
    float32, as specdec.model.norm.Norm, the reference, has them (Zhang and Sennrich 2019).
    """
    rows, hidden = x.shape
    total = x if delta is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    block = triton.next_power_of_2(hidden)
    warps = min(max(block // (32 * LANE_ELEMENTS), 1), MOST_WARPS)
    _add_norm[(rows,)](x, delta, scale, floor, total, normed, hidden, block, num_warps=warps)
    return total, normed


@triton.jit  # type: ignore[untyped-decorator]
def _add_norm(
    x: tl.tensor,
    delta: tl.tensor | None,
    scale: tl.tensor,
    floor: tl.tensor,
    total: tl.tensor,
    normed: tl.tensor,
    hidden: int,
    block: tl.constexpr,
) -> None:
    columns = tl.arange(0, block)
    inside = columns < hidden
    places = tl.program_id(0).to(tl.int64) * hidden + columns
    wide = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
    if delta is not None:
        wide += tl.load(delta + places, mask=inside, other=0.0).to(tl.float32)
        rounded = wide.to(total.dtype.element_ty)
        tl.store(total + places, rounded, mask=inside)
        wide = rounded.to(tl.float32)
    smallest = tl.load(floor)
    length = tl.sqrt(tl.sum(wide * wide) + smallest * smallest)
    weights = tl.load(scale + columns, mask=inside, other=0.0)
    tl.store(normed + places, (wide / length * weights).to(normed.dtype.element_ty), mask=inside)
