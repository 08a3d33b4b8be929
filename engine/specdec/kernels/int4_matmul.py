"""The product of a few rows with a 4-bit matrix that is unpacked in registers, in which every row is on its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from specdec.kernels.matmul import TILE_ROWS, add_parts, part_width

CODES_PER_WORD = 8
TILE_OUT = 64
WARPS = 4
STAGES = 3
PROGRAMS = 512
LEAST_PART = 1024
FLOAT16_MAX = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Int4Weights:
    """A 4-bit matrix [out, in] = `shape`, cut into tiles of 64 outputs by blocks of 8 groups of inputs, padded with zeros.

    codes [tiles, blocks, 64, group] int32, scales_and_minima [tiles, blocks, 8, 64] int32; `pack` says what is in a word.
    """

    codes: Tensor
    scales_and_minima: Tensor
    shape: tuple[int, int]
    group: int


def pack(codes: Tensor, scale: Tensor, low: Tensor) -> Int4Weights:
    """The matrix `codes * scale + low` in the layout of `int4_product`.

    codes [out, in] int32 in 0..15; scale and low [out, in / group] float32, rounded to float16: it has three bits more than bfloat16
    and weights do not need bfloat16's range. The group is a power of two from 16 on.

    Word r of an output and a block holds the codes of inputs r, group + r, 2 group + r ... of the block, the first in the lowest four
    bits: shifting and masking a tile of words gives the tile of one group, each code already in the thread that multiplies with it.
    A word of `scales_and_minima` is the pair of one group, the scale in the lower half: four bytes, the least an asynchronous copy
    takes. What one program reads lies in one piece, in the order it is read.
    Raises ValueError when a scale or a minimum is beyond float16.
    """
    outs, width = codes.shape
    groups = scale.shape[1]
    group = width // groups
    if group < 16 or group & (group - 1) or group * groups != width:
        raise ValueError(f"{width} inputs in {groups} groups: a group must be a power of two from 16 on")
    pairs = torch.stack((scale, low), dim=-1)
    if bool((pairs.abs() > FLOAT16_MAX).any()):
        raise ValueError("a scale or a minimum is beyond float16")
    tiles, blocks = triton.cdiv(outs, TILE_OUT), triton.cdiv(groups, CODES_PER_WORD)
    more_outs, more_groups = tiles * TILE_OUT - outs, blocks * CODES_PER_WORD - groups
    cut = F.pad(codes, (0, more_groups * group, 0, more_outs)).view(tiles, TILE_OUT, blocks, CODES_PER_WORD, group)
    words = cut[..., 0, :].clone()
    for place in range(1, CODES_PER_WORD):
        words |= cut[..., place, :] << (4 * place)
    pair_words = F.pad(pairs.to(torch.float16).view(torch.int32)[..., 0], (0, more_groups, 0, more_outs))
    pair_words = pair_words.view(tiles, TILE_OUT, blocks, CODES_PER_WORD)
    return Int4Weights(words.transpose(1, 2).contiguous(), pair_words.permute(0, 2, 3, 1).contiguous(), (outs, width), group)


def int4_product(x: Tensor, weights: Int4Weights, bias: Tensor | None = None) -> Tensor:
    """x @ (codes * scale + low).T + bias, with every code read once for each 16 rows.

    x [rows, in] float16 or bfloat16, bias [out] or None; a weight is computed in float16 and rounded to x's dtype, sums are float32.
    Returns [rows, out] in x's dtype. The order of a row's sum is a function of the matrix's shape alone.
    """
    rows, width = x.shape
    outs = weights.shape[0]
    if width != weights.shape[1] or x.dtype not in (torch.float16, torch.bfloat16):
        raise ValueError(f"a product of {x.dtype} rows of {width} with a 4-bit matrix {weights.shape}")
    tiles, blocks = weights.codes.shape[:2]
    block = CODES_PER_WORD * weights.group
    part = part_width(blocks * block, block, tiles=tiles, programs=PROGRAMS, least=LEAST_PART) // block
    parts = triton.cdiv(blocks, part)
    out = torch.empty(rows, outs, dtype=x.dtype, device=x.device)
    sums = out if parts == 1 else torch.empty(parts, rows, outs, dtype=torch.float32, device=x.device)
    _int4_kernel[(triton.cdiv(rows, TILE_ROWS), tiles, parts)](
        x.contiguous(),
        weights.codes,
        weights.scales_and_minima,
        bias if parts == 1 else None,
        sums,
        rows,
        width,
        outs,
        blocks,
        part,
        TILE_ROWS=TILE_ROWS,
        TILE_OUT=TILE_OUT,
        GROUP=weights.group,
        GROUPS=CODES_PER_WORD,
        num_warps=WARPS,
        num_stages=STAGES,
    )
    return out if parts == 1 else add_parts(sums, bias, out)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _int4_kernel(
    x_ptr: tl.tensor,
    codes_ptr: tl.tensor,
    pairs_ptr: tl.tensor,
    bias_ptr: tl.tensor | None,
    out_ptr: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    outs: tl.tensor,
    blocks: tl.tensor,
    part: tl.tensor,
    TILE_ROWS: tl.constexpr,
    TILE_OUT: tl.constexpr,
    GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
) -> None:
    """One tile of rows by outputs over one part of the inner dimension, in blocks of GROUPS groups.

    A code is made the float16 1024 + code by setting the bits of its exponent; even and odd groups are two chains of products.
    """
    row = tl.program_id(0) * TILE_ROWS + tl.arange(0, TILE_ROWS)
    tile = tl.program_id(1)
    first = tl.program_id(2) * part
    index = tl.arange(0, TILE_OUT)
    inner = tl.arange(0, GROUP)
    block = tile.to(tl.int64) * blocks + first
    x_at = x_ptr + row.to(tl.int64)[:, None] * width + (first * (GROUPS * GROUP) + inner)[None, :]
    codes_at = codes_ptr + block * (TILE_OUT * GROUP) + (index[None, :] * GROUP + inner[:, None])
    pairs_at = pairs_ptr + block * (GROUPS * TILE_OUT) + index[None, :]
    has_row = (row < rows)[:, None]
    left = width - first * (GROUPS * GROUP)
    even = tl.zeros((TILE_ROWS, TILE_OUT), dtype=tl.float32)
    odd = tl.zeros((TILE_ROWS, TILE_OUT), dtype=tl.float32)
    for _ in range(first, tl.minimum(first + part, blocks)):
        words = tl.load(codes_at)
        for group in tl.static_range(GROUPS):
            x = tl.load(x_at + group * GROUP, mask=has_row & (group * GROUP < left), other=0.0)
            pair = tl.load(pairs_at + group * TILE_OUT)
            scale = pair.to(tl.int16).to(tl.float16, bitcast=True)
            low = (pair >> 16).to(tl.int16).to(tl.float16, bitcast=True)
            code = (((words >> (4 * group)) & 15) | 0x6400).to(tl.int16).to(tl.float16, bitcast=True) - 1024.0
            weight = (code * scale + low).to(x.dtype)
            if group % 2 == 0:
                even = tl.dot(x, weight, even)
            else:
                odd = tl.dot(x, weight, odd)
        x_at += GROUPS * GROUP
        codes_at += TILE_OUT * GROUP
        pairs_at += GROUPS * TILE_OUT
        left -= GROUPS * GROUP
    out = tile * TILE_OUT + index
    total = even + odd
    if bias_ptr is not None:
        total += tl.load(bias_ptr + out, mask=out < outs, other=0.0).to(tl.float32)[None, :]
    line = tl.program_id(2).to(tl.int64) * rows + row
    tl.store(out_ptr + line[:, None] * outs + out[None, :], total.to(out_ptr.dtype.element_ty), mask=has_row & (out < outs)[None, :])
