"""The product of a few rows with a large matrix, which costs what reading the matrix costs, and in which every row is on its own."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from specdec.model.linear import WIDTH_STEP

TILE_ROWS = 16
TILE_OUT = 32
HALF_BLOCK_BYTES = 256
WARPS = 4
STAGES = 5
PROGRAMS = 128
LEAST_PART_BYTES = 2048
SUM_BLOCK = 512


def skinny(x: Tensor, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """x @ weight.T * scale + bias, with every weight read once for each 16 rows.

    x [rows, in], weight [out, in] contiguous, bias [out] or None, all float16, bfloat16 or float32, `in` a multiple of `WIDTH_STEP`.
    A weight may be int8, then with a scale [out] float32. Sums are float32. Returns [rows, out] in x's dtype. The order of a row's
    sum is a function of the weight's shape and of both dtypes alone.
    """
    rows, width = x.shape
    outs = weight.shape[0]
    if not weight.is_contiguous() or weight.shape[1] != width or width % WIDTH_STEP:
        raise ValueError(
            f"a product of rows of {width} with a matrix {tuple(weight.shape)}: it must be contiguous and fit, {width} % {WIDTH_STEP} be 0"
        )
    if (weight.dtype == torch.int8) != (scale is not None):
        raise ValueError(f"a product with a matrix of {weight.dtype}: int8, and no other dtype, has a scale")
    half_block = HALF_BLOCK_BYTES // x.element_size()
    least = LEAST_PART_BYTES // weight.element_size()
    part = part_width(width, 2 * half_block, tiles=triton.cdiv(outs, TILE_OUT), programs=PROGRAMS, least=least)
    parts = triton.cdiv(width, part)
    out = torch.empty(rows, outs, dtype=x.dtype, device=x.device)
    sums = out if parts == 1 else torch.empty(parts, rows, outs, dtype=torch.float32, device=x.device)
    _skinny_kernel[(triton.cdiv(rows, TILE_ROWS), triton.cdiv(outs, TILE_OUT), parts)](
        x.contiguous(),
        weight,
        scale if parts == 1 else None,
        bias if parts == 1 else None,
        sums,
        rows,
        width,
        outs,
        part,
        TILE_ROWS=TILE_ROWS,
        TILE_OUT=TILE_OUT,
        HALF_BLOCK=half_block,
        num_warps=WARPS,
        num_stages=STAGES,
    )
    return out if parts == 1 else add_parts(sums, bias, out, scale)


def part_width(width: int, block: int, *, tiles: int, programs: int, least: int) -> int:
    """How much of the inner dimension one program sums up: a multiple of `block`.

    The width is cut into equal parts, as many as bring `tiles` to about `programs`, but into none shorter than `least`.
    """
    parts = max(1, min(programs // tiles, width // least))
    return -(-width // (parts * block)) * block


def add_parts(sums: Tensor, bias: Tensor | None, out: Tensor, scale: Tensor | None = None) -> Tensor:
    """Fill `out` [rows, out] with the sum of `sums` [parts, rows, out] float32, first part first, times the scale, and of the bias.

    Returns `out`.
    """
    parts, rows, outs = sums.shape
    grid = (rows, triton.cdiv(outs, SUM_BLOCK))
    _add_parts_kernel[grid](sums, scale, bias, out, rows, outs, PARTS=parts, BLOCK=SUM_BLOCK, num_warps=4)
    return out


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _skinny_kernel(
    x_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    scale_ptr: tl.tensor | None,
    bias_ptr: tl.tensor | None,
    out_ptr: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    outs: tl.tensor,
    part: tl.tensor,
    TILE_ROWS: tl.constexpr,
    TILE_OUT: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
) -> None:
    """One tile of rows by outputs over one part of the inner dimension.

    A block is summed up as two halves, so that two chains of products run side by side. Codes from -127 to 127 are exact in every
    dtype that x may have.
    """
    row = tl.program_id(0) * TILE_ROWS + tl.arange(0, TILE_ROWS)
    first_out = tl.program_id(1) * TILE_OUT
    index = tl.arange(0, TILE_OUT)
    out = first_out + index
    first = tl.program_id(2) * part
    column = first + tl.arange(0, HALF_BLOCK)
    x_at = x_ptr + row.to(tl.int64)[:, None] * width + column[None, :]
    weight_at = weight_ptr + first_out.to(tl.int64) * width + (index[None, :] * width + column[:, None])
    has_row = (row < rows)[:, None]
    has_out = (out < outs)[None, :]
    left = tl.zeros((TILE_ROWS, TILE_OUT), dtype=tl.float32)
    right = tl.zeros((TILE_ROWS, TILE_OUT), dtype=tl.float32)
    for _ in range(0, part, 2 * HALF_BLOCK):
        in_left = column < width
        in_right = column + HALF_BLOCK < width
        x_left = tl.load(x_at, mask=has_row & in_left[None, :], other=0.0)
        weight_left = tl.load(weight_at, mask=has_out & in_left[:, None], other=0)
        x_right = tl.load(x_at + HALF_BLOCK, mask=has_row & in_right[None, :], other=0.0)
        weight_right = tl.load(weight_at + HALF_BLOCK, mask=has_out & in_right[:, None], other=0)
        left = tl.dot(x_left, weight_left.to(x_left.dtype), left, input_precision="ieee")
        right = tl.dot(x_right, weight_right.to(x_right.dtype), right, input_precision="ieee")
        x_at += 2 * HALF_BLOCK
        weight_at += 2 * HALF_BLOCK
        column += 2 * HALF_BLOCK
    total = left + right
    if scale_ptr is not None:
        total *= tl.load(scale_ptr + out, mask=out < outs, other=0.0)[None, :]
    if bias_ptr is not None:
        total += tl.load(bias_ptr + out, mask=out < outs, other=0.0).to(tl.float32)[None, :]
    line = tl.program_id(2).to(tl.int64) * rows + row
    tl.store(out_ptr + line[:, None] * outs + out[None, :], total.to(out_ptr.dtype.element_ty), mask=has_row & has_out)


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def _add_parts_kernel(
    sums_ptr: tl.tensor,
    scale_ptr: tl.tensor | None,
    bias_ptr: tl.tensor | None,
    out_ptr: tl.tensor,
    rows: tl.tensor,
    outs: tl.tensor,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A block of one row."""
    row = tl.program_id(0)
    out = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = out < outs
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for part in tl.static_range(PARTS):
        total += tl.load(sums_ptr + (part * rows + row).to(tl.int64) * outs + out, mask=mask, other=0.0)
    if scale_ptr is not None:
        total *= tl.load(scale_ptr + out, mask=mask, other=0.0)
    if bias_ptr is not None:
        total += tl.load(bias_ptr + out, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + row.to(tl.int64) * outs + out, total.to(out_ptr.dtype.element_ty), mask=mask)
