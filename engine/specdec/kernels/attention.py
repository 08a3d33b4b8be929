"""Split-KV decode attention: a few rows over a long cache whose length only the device knows.

Flash decoding (Dao, Haziza, Massa, Sizov, 2023) with the online softmax of Milakov and Gimelshein (arXiv:1805.02867): splits of the keys
are attended to apart, each with a running maximum of its own, and then combined. Three things keep a row's bits apart from all else:
a key's place in the order of summation follows from its position alone; every shape is a constant, so that one compiled kernel serves
all numbers of rows; and keys that a row may not see leave its maximum, sum and output exactly as they were.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

# A row's ancestors in a tree are the bits of one int64.
MOST_ROWS = tl.constexpr(64)

# (row, head) pairs of one key head in a program: at 4 heads per key head, 16 rows need the cache read once. A product of 64 pairs with
# 16-bit keys does 64 operations for each byte read, fewer than the peak rates of GPUs of sm_80 to sm_90 allow for a byte of memory.
PAIR_TILE = tl.constexpr(64)

# Keys loaded at a time and warps of a program, by the bytes of an element: at head size 128 a block of keys and values takes 32 KiB, so
# that the queries, this block and the one loaded ahead fit into the shared memory of every such GPU.
KEY_BLOCK = {2: 64, 4: 32}
WARPS = {2: 4, 4: 8}

# Neighbouring keys of one split. Smaller chunks would spread short contexts over more programs, but as it is a full tile of pairs writes
# half as many bytes of partial results as it reads from one 16-bit chunk.
CHUNK = tl.constexpr(128)

# Chunk c belongs to split c mod SPLITS: beyond SPLITS * CHUNK keys neither the scratch nor the launch grows any further.
SPLITS = tl.constexpr(64)


@triton.jit  # type: ignore[untyped-decorator]
def _seen_range(
    start: tl.tensor,
    first_row: tl.tensor,
    last_row: tl.tensor,
    rows: int,
    capacity: int,
    window: int,
    is_tree: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """The first key that some of these rows see and the one behind the last."""
    stop = start + rows if is_tree else start + last_row + 1
    return tl.maximum(start + first_row - window + 1, 0), tl.minimum(stop, capacity)


@triton.jit(do_not_specialize=["rows", "capacity", "window", "query_row_stride", "query_head_stride"])  # type: ignore[untyped-decorator]
def _attend_split(
    query: tl.tensor,
    cache: tl.tensor,
    start_on_device: tl.tensor,
    tree: tl.tensor | None,
    outputs: tl.tensor,
    maxima: tl.tensor,
    sums: tl.tensor,
    rows: int,
    capacity: int,
    window: int,
    query_row_stride: int,
    query_head_stride: int,
    kv_heads: tl.constexpr,
    group: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    key_block: tl.constexpr,
    scale: tl.constexpr,
) -> None:
    """One tile of pairs over one split; leaves its maximum (of scores in base 2), sum and output, unnormalised."""
    tile = tl.program_id(0)
    key_head = tl.program_id(1)
    split = tl.program_id(2)
    is_tree: tl.constexpr = tree is not None

    start = tl.load(start_on_device).to(tl.int32)
    first_row = tile * PAIR_TILE // group
    last_row = tl.minimum((tile * PAIR_TILE + PAIR_TILE - 1) // group, rows - 1)
    first, stop = _seen_range(start, first_row, last_row, rows, capacity, window, is_tree)
    first_chunk = first // CHUNK
    chunk = first_chunk + (split + SPLITS - first_chunk % SPLITS) % SPLITS
    last_chunk = (stop - 1) // CHUNK
    if chunk > last_chunk:
        return

    pair = tile * PAIR_TILE + tl.arange(0, PAIR_TILE)
    row = pair // group
    head = key_head * group + pair % group
    dim = tl.arange(0, padded_dim)
    pair_mask = (row < rows)[:, None] & (dim < head_dim)[None, :]
    q = tl.load(query + row[:, None] * query_row_stride + head[:, None] * query_head_stride + dim[None, :], mask=pair_mask, other=0.0)
    if is_tree:
        column = tl.arange(0, MOST_ROWS)
        family_mask = (row < rows)[:, None] & (column < rows)[None, :]
        family = tl.load(tree + row[:, None] * rows + column[None, :], mask=family_mask, other=0)
        ancestors = tl.sum(family.to(tl.int64) << column[None, :].to(tl.int64), axis=1)

    in_block = tl.arange(0, key_block)
    block_offsets = in_block[:, None] * head_dim + dim[None, :]
    head_size = tl.cast(capacity, tl.int64) * head_dim
    keys = cache + key_head * head_size
    values = keys + kv_heads * head_size

    newest = tl.minimum(start + row, stop - 1)[:, None]
    oldest = (start + row - window + 1)[:, None]
    maximum = tl.full([PAIR_TILE], float("-inf"), tl.float32)
    total = tl.full([PAIR_TILE], 0.0, tl.float32)
    output = tl.full([PAIR_TILE, padded_dim], 0.0, tl.float32)
    for index in range(0, ((last_chunk - chunk) // SPLITS + 1) * CHUNK, key_block):
        block_start = chunk * CHUNK + index // CHUNK * (SPLITS - 1) * CHUNK + index
        block_at = block_start.to(tl.int64) * head_dim
        key = block_start + in_block
        block_mask = ((key >= first) & (key < stop))[:, None] & (dim < head_dim)[None, :]
        k = tl.load(keys + block_at + block_offsets, mask=block_mask, other=0.0)
        v = tl.load(values + block_at + block_offsets, mask=block_mask, other=0.0)

        if is_tree:
            bit = tl.minimum(tl.maximum(key - start, 0), MOST_ROWS - 1).to(tl.int64)
            seen = (key < start)[None, :] | (((ancestors[:, None] >> bit[None, :]) & 1) != 0) & (key < stop)[None, :]
        else:
            seen = (key[None, :] <= newest) & (key[None, :] >= oldest)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where(seen, scores, float("-inf"))

        new_maximum = tl.maximum(maximum, tl.max(scores, axis=1))
        shift = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        weights = tl.exp2(scores - shift[:, None])
        shrink = tl.exp2(maximum - shift)
        total = total * shrink + tl.sum(weights, axis=1)
        output = tl.dot(weights.to(v.dtype), v, output * shrink[:, None], input_precision="ieee")
        maximum = new_maximum

    place = (row * (kv_heads * group) + head) * SPLITS + split
    tl.store(maxima + place, maximum, mask=row < rows)
    tl.store(sums + place, total, mask=row < rows)
    tl.store(outputs + place[:, None] * head_dim + dim[None, :], output, mask=pair_mask)


@triton.jit(do_not_specialize=["rows", "capacity", "window"])  # type: ignore[untyped-decorator]
def _combine_splits(
    outputs: tl.tensor,
    maxima: tl.tensor,
    sums: tl.tensor,
    start_on_device: tl.tensor,
    result: tl.tensor,
    rows: int,
    capacity: int,
    window: int,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    is_tree: tl.constexpr,
) -> None:
    """The attention of one head of one row from those of its splits that hold a key it may see; the others count as nothing."""
    row_and_head = tl.program_id(0)
    start = tl.load(start_on_device).to(tl.int32)
    row = row_and_head // heads
    first, stop = _seen_range(start, row, row, rows, capacity, window, is_tree)
    first_chunk = first // CHUNK

    split = tl.arange(0, SPLITS)
    used = (split + SPLITS - first_chunk % SPLITS) % SPLITS <= (stop - 1) // CHUNK - first_chunk
    place = row_and_head * SPLITS + split
    maximum = tl.load(maxima + place, mask=used, other=float("-inf"))
    weight = tl.exp2(maximum - tl.max(maximum, axis=0))
    total = tl.sum(tl.load(sums + place, mask=used, other=0.0) * weight, axis=0)

    dim = tl.arange(0, padded_dim)
    mask = used[:, None] & (dim < head_dim)[None, :]
    output = tl.load(outputs + place[:, None] * head_dim + dim[None, :], mask=mask, other=0.0)
    mixed = tl.sum(output * weight[:, None], axis=0) / total
    tl.store(result + row_and_head * head_dim + dim, mixed.to(result.dtype.element_ty), mask=dim < head_dim)


def decode_attention(query: Tensor, cache_rows: Tensor, start: Tensor, window: int | None = None, tree: Tensor | None = None) -> Tensor:
    """Attention of at most MOST_ROWS rows over one layer of a KVCache, the rows' own keys and values included.

    query [rows, heads, head_dim] with head_dim contiguous, cache_rows [2 * kv_heads, capacity, head_dim] contiguous, keys first, both of
    one floating dtype; start int64 [1] on the device. Row r lies at position start + r and sees the keys up to its own, with `window`
    the last `window` of them. With tree [rows, rows] bool it sees the keys below start and start + c where tree[r, c], itself among them;
    a tree goes without a window. Returns [rows, heads * head_dim] in the query's dtype, scores scaled by head_dim**-0.5.

    Cache rows that no row sees are never read; those seen, if only by another row, must be finite. Rows beyond the capacity find no keys
    there, and their result means nothing. Launches, with group = heads / kv_heads, ceil(rows * group / PAIR_TILE) * kv_heads *
    min(SPLITS, ceil(capacity / CHUNK)) programs, of which those without a key to see return at once, and then rows * heads.
    Scratch: rows * heads * SPLITS * (head_dim + 2) float32, which for 32 heads of size 128 is 1 MiB a row.
    """
    rows, heads, head_dim = query.shape
    kv_heads, capacity = cache_rows.shape[0] // 2, cache_rows.shape[1]
    if not 1 <= rows <= MOST_ROWS.value:
        raise ValueError(f"{rows} rows; this kernel takes 1 to {MOST_ROWS.value}")
    if tree is not None and window is not None:
        raise ValueError("a tree within a sliding window is not supported")
    if query.stride(-1) != 1 or not cache_rows.is_contiguous() or not (tree is None or tree.is_contiguous()):
        raise ValueError("the cache and the tree must be contiguous, and the query in its last dimension")
    group = heads // kv_heads
    padded_dim = triton.next_power_of_2(head_dim)
    splits = min(SPLITS.value, triton.cdiv(capacity, CHUNK.value))
    reach = capacity if window is None else window

    outputs = torch.empty(rows, heads, SPLITS.value, head_dim, dtype=torch.float32, device=query.device)
    maxima = torch.empty(rows, heads, SPLITS.value, dtype=torch.float32, device=query.device)
    sums = torch.empty_like(maxima)
    result = torch.empty(rows, heads * head_dim, dtype=query.dtype, device=query.device)
    _attend_split[(triton.cdiv(rows * group, PAIR_TILE.value), kv_heads, splits)](
        query,
        cache_rows,
        start,
        tree,
        outputs,
        maxima,
        sums,
        rows,
        capacity,
        reach,
        query.stride(0),
        query.stride(1),
        kv_heads=kv_heads,
        group=group,
        head_dim=head_dim,
        padded_dim=padded_dim,
        key_block=KEY_BLOCK[query.element_size()],
        scale=head_dim**-0.5 * math.log2(math.e),
        num_warps=WARPS[query.element_size()],
        num_stages=2,
    )
    _combine_splits[(rows * heads,)](
        outputs,
        maxima,
        sums,
        start,
        result,
        rows,
        capacity,
        reach,
        heads=heads,
        head_dim=head_dim,
        padded_dim=padded_dim,
        is_tree=tree is not None,
        num_warps=4,
    )
    return result
