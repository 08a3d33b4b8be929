"""The operations of a decoder block in plain torch; rows are tokens, and nothing here knows about drafting."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.model.norm import Norm

AttentionKind = Literal["fused", "matmul", "by_row", "split"]
TABLE_ROWS = 256


def rotate_(heads: Tensor, cos: Tensor, signed_sin: Tensor) -> None:
    """Rotary embedding in place: `heads` [rows, heads, head_dim], tables [rows, 1, head_dim]."""
    turned = heads.roll(heads.shape[-1] // 2, dims=-1).mul_(signed_sin)
    heads.mul_(cos).add_(turned)


def add_norm(x: Tensor, delta: Tensor | None, norm: Norm) -> tuple[Tensor, Tensor]:
    """The residual sum x + delta [rows, hidden], or x where there is no delta, and its norm."""
    total = x if delta is None else x + delta
    return total, norm(total)


def rotate_and_write(
    qkv: Tensor,
    heads: int,
    cos: Tensor,
    signed_sin: Tensor,
    start: Tensor,
    cache_rows: Tensor,
    q_norm: Norm | None,
    k_norm: Norm | None,
) -> None:
    """Normalise and rotate queries and keys for positions start.., queries in place; store keys and values in the cache.

    qkv [rows, heads + 2 * kv_heads, head_dim], tables [positions, 1, head_dim], start [1] int64 on the device, cache_rows
    [2 * kv_heads, capacity, head_dim]: one layer, keys first.
    """
    positions = positions_from(start, len(qkv))
    rotated = heads + cache_rows.shape[0] // 2
    if q_norm is not None and k_norm is not None:
        qkv[:, :heads] = q_norm(qkv[:, :heads])
        qkv[:, heads:rotated] = k_norm(qkv[:, heads:rotated])
    rotate_(qkv[:, :rotated], cos.index_select(0, positions), signed_sin.index_select(0, positions))
    cache_rows.index_copy_(1, positions, qkv[:, heads:].transpose(0, 1))


def positions_from(start: Tensor, rows: int) -> Tensor:
    """The positions [rows] int64 of rows whose first one is at `start` [1], on its device."""
    return start + torch.arange(rows, device=start.device)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up for [rows, 2 * width] holding both side by side."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def attention(kind: AttentionKind, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of a few rows over a cache.

    query [rows, heads, head_dim], key and value [kv_heads, extent, head_dim], bias [rows, extent] with 0 or -inf,
    None for none; returns [rows, heads * head_dim]. The kinds compute the same and differ in how the rounding of a row depends on
    how many rows there are:
    `fused` is torch's own kernel, `matmul` two batched products, `by_row` runs every row as its own batch entry.
    """
    rows, heads, head_dim = query.shape
    kv_heads, extent, _ = key.shape
    if kind == "split":
        raise ValueError("split attention is a kernel of its own; see specdec.model.operations")
    if kind == "fused" and query.is_cuda:
        return fused_by_key_head(query, key, value, bias)
    if kind == "fused":
        out = F.scaled_dot_product_attention(query.transpose(0, 1)[None], key[None], value[None], attn_mask=bias, enable_gqa=True)
        return out[0].transpose(0, 1).reshape(rows, heads * head_dim)
    if kind == "by_row":
        shape = (rows, kv_heads, extent, head_dim)
        out = F.scaled_dot_product_attention(
            query[:, :, None],
            key.expand(shape),
            value.expand(shape),
            attn_mask=None if bias is None else bias[:, None, None],
            enable_gqa=True,
        )
        return out.reshape(rows, heads * head_dim)
    group = heads // kv_heads
    grouped = query.view(rows, kv_heads, group, head_dim).transpose(0, 1).reshape(kv_heads, rows * group, head_dim)
    if bias is None:
        scores = torch.bmm(grouped * head_dim**-0.5, key.transpose(1, 2))
    else:
        spread = bias[:, None].expand(rows, group, extent).reshape(rows * group, extent)
        scores = torch.baddbmm(spread, grouped, key.transpose(1, 2), alpha=head_dim**-0.5)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    out = torch.bmm(weights, value).view(kv_heads, rows, group, head_dim)
    return out.transpose(0, 1).reshape(rows, heads * head_dim)


def fused_by_key_head(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """As `attention`, each key head being a batch entry whose queries share one stretched head of keys.

    torch's kernels for GPUs that take a bias do not take fewer key heads than query heads; without this it would hold all scores.
    """
    rows, heads, head_dim = query.shape
    kv_heads, extent, _ = key.shape
    group = heads // kv_heads
    grouped = query.view(rows, kv_heads, group, head_dim).permute(1, 2, 0, 3)
    stretched = (kv_heads, group, extent, head_dim)
    out = F.scaled_dot_product_attention(grouped, key[:, None].expand(stretched), value[:, None].expand(stretched), attn_mask=bias)
    return out.permute(2, 0, 1, 3).reshape(rows, heads * head_dim)


def attention_on_one_thread(kind: AttentionKind, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """The same on one CPU thread, so that how the work is shared out cannot depend on how many rows there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return attention(kind, query, key, value, bias)
    finally:
        torch.set_num_threads(threads)


def causal_table(positions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A table [TABLE_ROWS, positions] that holds, as slices, the causal bias of any few rows at any position.

    Its last TABLE_ROWS columns are triangular and the rest zero: the last `extent` columns of row r are the bias of a row at
    position r + extent - TABLE_ROWS.
    """
    triangle = torch.full((TABLE_ROWS, TABLE_ROWS), float("-inf")).triu(1)
    return F.pad(triangle, (max(0, positions - TABLE_ROWS), 0)).to(device, dtype)


def causal_bias(table: Tensor, start: int, rows: int, extent: int) -> Tensor:
    """[rows, extent]: 0 where rows at start.. may look, -inf elsewhere; padding rows that lie behind the extent see everything.

    A slice of the table, unless the extent is more than TABLE_ROWS beyond the first row.
    """
    first = start + TABLE_ROWS - extent
    if first < 0:
        return gathered_bias(torch.full((1,), start, device=table.device), rows, extent, None, table.dtype)
    bias = table[first : first + rows, table.shape[1] - extent :]
    return bias if len(bias) == rows else F.pad(bias, (0, 0, 0, rows - len(bias)))


def gathered_bias(start: Tensor, rows: int, extent: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """The causal bias [rows, extent] of rows whose position only the device knows."""
    positions, keys = positions_from(start, rows)[:, None], torch.arange(extent, device=start.device)
    hidden = keys > positions
    if window is not None:
        hidden |= keys <= positions - window
    return torch.zeros(rows, extent, dtype=dtype, device=start.device).masked_fill_(hidden, float("-inf"))


def window_bias(bias: Tensor, start: int, window: int) -> Tensor:
    """The same with keys `window` tokens back and further hidden too."""
    rows, extent = bias.shape
    positions = torch.arange(start, start + rows, device=bias.device)
    keys = torch.arange(extent, device=bias.device)
    return bias.masked_fill(keys <= positions[:, None] - window, float("-inf"))
