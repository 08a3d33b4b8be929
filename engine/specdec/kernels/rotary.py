"""Rotary embedding of new queries and keys, with the norms before it and the cache write after it, one program a head of a row."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


def rotate_and_write(
    qkv: Tensor,
    heads: int,
    cos: Tensor,
    signed_sin: Tensor,
    start: Tensor,
    cache_rows: Tensor,
    q_scale: Tensor | None,
    k_scale: Tensor | None,
    norm_floor: Tensor | None,
) -> None:
    """Rotate queries in place, and write rotated keys and plain values to a layer's cache, for rows at positions start, start + 1, ...

    qkv [rows, heads + 2 * kv_heads, head_dim] contiguous; cos and signed_sin [positions, 1, head_dim], the whole tables of
    specdec.model.rope; start [1] int64 on the device; cache_rows [2 * kv_heads, capacity, head_dim] contiguous, keys first.
    With q_scale, k_scale [head_dim] and norm_floor [], float32 as specdec.model.norm.Norm has them over head_dim features, queries
    and keys are normalised first (Qwen3). All in float32, rounded once. A row beyond the capacity is not written, and a query
    beyond the tables becomes zero. specdec.model.ops.rotate_ is the reference (Su et al. 2021, arXiv 2104.09864).
    """
    rows, both, head_dim = qkv.shape
    kv_heads = (both - heads) // 2
    half = head_dim // 2
    block = triton.next_power_of_2(half)
    _rotate_and_write[(rows, both)](
        qkv,
        cos,
        signed_sin,
        start,
        cache_rows,
        q_scale,
        k_scale,
        norm_floor,
        heads,
        kv_heads,
        cos.shape[0],
        cache_rows.shape[1],
        half,
        block,
        num_warps=1,
    )


@triton.jit  # type: ignore[untyped-decorator]
def _normalised(
    first: tl.tensor, second: tl.tensor, scale: tl.tensor, norm_floor: tl.tensor, half: tl.constexpr, block: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    features = tl.arange(0, block)
    inside = features < half
    smallest = tl.load(norm_floor)
    length = tl.sqrt(tl.sum(first * first + second * second) + smallest * smallest)
    first = first / length * tl.load(scale + features, mask=inside, other=0.0)
    second = second / length * tl.load(scale + half + features, mask=inside, other=0.0)
    return first, second


@triton.jit(do_not_specialize=["start"])  # type: ignore[untyped-decorator]
def _rotate_and_write(
    qkv: tl.tensor,
    cos: tl.tensor,
    signed_sin: tl.tensor,
    start: tl.tensor,
    cache_rows: tl.tensor,
    q_scale: tl.tensor | None,
    k_scale: tl.tensor | None,
    norm_floor: tl.tensor | None,
    heads: int,
    kv_heads: int,
    positions: int,
    capacity: int,
    half: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = tl.load(start) + row
    features = tl.arange(0, block)
    inside = features < half
    source = qkv + (row * (heads + 2 * kv_heads) + head) * (2 * half) + features
    # A head is held as its two halves, so that every feature meets its partner in the same lane and no lane reads what another wrote.
    first = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(source + half, mask=inside, other=0.0).to(tl.float32)
    if head < heads + kv_heads:
        if q_scale is not None:
            if head < heads:
                first, second = _normalised(first, second, q_scale, norm_floor, half, block)
            else:
                first, second = _normalised(first, second, k_scale, norm_floor, half, block)
        known = inside & (position < positions)
        angles = position * (2 * half) + features
        first_cos = tl.load(cos + angles, mask=known, other=0.0).to(tl.float32)
        second_cos = tl.load(cos + angles + half, mask=known, other=0.0).to(tl.float32)
        first_sin = tl.load(signed_sin + angles, mask=known, other=0.0).to(tl.float32)
        second_sin = tl.load(signed_sin + angles + half, mask=known, other=0.0).to(tl.float32)
        turned = first * second_sin
        first, second = first * first_cos + second * first_sin, second * second_cos + turned
    if head < heads:
        tl.store(source, first.to(qkv.dtype.element_ty), mask=inside)
        tl.store(source + half, second.to(qkv.dtype.element_ty), mask=inside)
    else:
        target = cache_rows + ((head - heads).to(tl.int64) * capacity + position) * (2 * half) + features
        held = inside & (position < capacity)
        tl.store(target, first.to(cache_rows.dtype.element_ty), mask=held)
        tl.store(target + half, second.to(cache_rows.dtype.element_ty), mask=held)
