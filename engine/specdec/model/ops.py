"""The operations of a decoder block in plain torch; rows are tokens, and nothing here knows about drafting."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AttentionKind = Literal["fused", "matmul", "by_row"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Scale each vector of the last dimension to unit root mean square, computed in float32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def rotate_(heads: Tensor, cos: Tensor, signed_sin: Tensor) -> None:
    """Rotary embedding in place: `heads` [rows, heads, head_dim], tables [rows, 1, head_dim]."""
    turned = heads.roll(heads.shape[-1] // 2, dims=-1).mul_(signed_sin)
    heads.mul_(cos).add_(turned)


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
    scores = torch.bmm(grouped, key.transpose(1, 2)).mul_(head_dim**-0.5)
    if bias is not None:
        scores.view(kv_heads, rows, group, extent).add_(bias[:, None])
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    out = torch.bmm(weights, value).view(kv_heads, rows, group, head_dim)
    return out.transpose(0, 1).reshape(rows, heads * head_dim)


def causal_bias(positions: Tensor, extent: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """[rows, extent]: 0 where a row at `positions` [rows] may look, -inf elsewhere; a window hides keys that far back."""
    keys = torch.arange(extent, device=positions.device)
    hidden = keys > positions[:, None]
    if window is not None:
        hidden |= keys <= positions[:, None] - window
    return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill_(hidden, float("-inf"))
