"""Decode attention against a float64 reference, and bits that depend on nothing but the row and the keys it may see."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from tests.engine.kernels.mended_interpreter import mended_interpreter  # noqa: F401

from specdec.kernels.attention import CHUNK, PAIR_TILE, SPLITS, decode_attention

CHUNK_KEYS = CHUNK.value
ALL_SPLITS = CHUNK.value * SPLITS.value


@dataclass(frozen=True)
class Case:
    """Random rows and the cache they lie in: `query` [rows, heads, head_dim] is a part of a wider tensor, as in the decoder."""

    query: Tensor
    cache: Tensor
    start: int

    def run(self, window: int | None = None, tree: Tensor | None = None) -> Tensor:
        return attend(self.query, self.cache, self.start, window, tree)


def attend(query: Tensor, cache: Tensor, start: int, window: int | None = None, tree: Tensor | None = None) -> Tensor:
    return decode_attention(query, cache, torch.tensor([start], device=query.device), window, tree)


def make_case(
    device: torch.device,
    *,
    rows: int,
    start: int,
    kv_heads: int = 1,
    group: int = 4,
    head_dim: int = 64,
    dtype: torch.dtype = torch.float32,
    spare: int = 70,
    tail: float = float("nan"),
) -> Case:
    """Queries sharp enough for maxima to move between splits, and a cache whose `spare` last rows hold `tail`."""
    generator = torch.Generator().manual_seed(rows * 1000 + start)
    heads = kv_heads * group
    qkv = torch.randn(rows, heads + 2 * kv_heads, head_dim, generator=generator)
    qkv[:, :heads] *= 3
    cache = torch.randn(2 * kv_heads, start + rows, head_dim, generator=generator)
    cache = torch.nn.functional.pad(cache, (0, 0, 0, spare), value=tail)
    return Case(qkv.to(device, dtype)[:, :heads], cache.to(device, dtype), start)


def visible(rows: int, start: int, window: int | None = None, tree: Tensor | None = None) -> Tensor:
    """[rows, start + rows] bool, written down from the definition."""
    positions = start + torch.arange(rows)[:, None]
    keys = torch.arange(start + rows)[None]
    if tree is not None:
        return torch.cat([torch.ones(rows, start, dtype=torch.bool), tree.cpu()], dim=1)
    return (keys <= positions) & (keys > positions - (window or start + rows))


def assert_close_to_reference(case: Case, result: Tensor, window: int | None = None, tree: Tensor | None = None) -> None:
    """Each element within what rounding its weights and itself to the dtype (or float32 sums) may cost, by the mean of |value|."""
    rows, heads, head_dim = case.query.shape
    kv_heads = case.cache.shape[0] // 2
    extent = case.start + rows
    stored = case.cache[:, :extent].cpu().double().repeat_interleave(heads // kv_heads, dim=0)
    key, value = stored[:heads], stored[heads:]
    scores = torch.einsum("rhd,hkd->rhk", case.query.cpu().double(), key) * head_dim**-0.5
    hidden = ~visible(rows, case.start, window, tree)[:, None]
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    expected = torch.einsum("rhk,hkd->rhd", weights, value)
    roundings = 64 if case.query.dtype == torch.float32 else 2
    bound = roundings * torch.finfo(case.query.dtype).eps * torch.einsum("rhk,hkd->rhd", weights, value.abs())
    error = (result.cpu().double().view(rows, heads, head_dim) - expected).abs()
    assert result.dtype == case.query.dtype
    assert (error <= bound).all(), f"error up to {(error / bound).max():.2f} of the bound"


def chain(rows: int) -> Tensor:
    return torch.ones(rows, rows, dtype=torch.bool).tril()


def random_tree(rows: int) -> Tensor:
    """Each row hangs from an earlier one or from the cache."""
    generator = torch.Generator().manual_seed(rows)
    tree = torch.eye(rows, dtype=torch.bool)
    for row in range(1, rows):
        parent = int(torch.randint(-1, row, (1,), generator=generator))
        if parent >= 0:
            tree[row] |= tree[parent]
    return tree


@pytest.mark.parametrize(
    ("rows", "start", "kv_heads", "group", "head_dim", "dtype"),
    [
        (1, 0, 2, 1, 64, torch.float16),
        (2, 300, 1, 2, 80, torch.bfloat16),
        (3, 511, 2, 3, 96, torch.float16),
        (16, 40, 2, 4, 128, torch.bfloat16),
        (16, 700, 1, 5, 128, torch.float16),
        (5, 260, 2, 6, 80, torch.float16),
        (9, 1000, 1, 7, 64, torch.bfloat16),
        (64, 129, 1, 8, 96, torch.bfloat16),
        (64, 3, 2, 1, 80, torch.float32),
        (7, 650, 1, 7, 128, torch.float32),
    ],
)
def test_shapes_and_dtypes(
    device: torch.device, rows: int, start: int, kv_heads: int, group: int, head_dim: int, dtype: torch.dtype
) -> None:
    case = make_case(device, rows=rows, start=start, kv_heads=kv_heads, group=group, head_dim=head_dim, dtype=dtype)
    result = case.run()
    assert result.shape == (rows, kv_heads * group * head_dim)
    assert_close_to_reference(case, result)


@pytest.mark.parametrize("start", [0, 1, *(edge + step for edge in (CHUNK_KEYS, 4 * CHUNK_KEYS) for step in (-1, 0, 1))])
@pytest.mark.parametrize("rows", [1, 3])
def test_starts_at_the_edges_of_chunks(device: torch.device, rows: int, start: int) -> None:
    case = make_case(device, rows=rows, start=start, group=2)
    assert_close_to_reference(case, case.run())


@pytest.mark.parametrize("step", [-2, 1])
def test_chunks_past_the_last_split_begin_again_at_the_first(device: torch.device, step: int) -> None:
    case = make_case(device, rows=2, start=ALL_SPLITS + step, group=2)
    assert_close_to_reference(case, case.run())


def test_long_cache(device: torch.device) -> None:
    case = make_case(device, rows=5, start=32768 - 5, dtype=torch.float16, spare=0)
    assert_close_to_reference(case, case.run())


@pytest.mark.parametrize(
    ("rows", "start", "window"),
    [(1, 0, 1), (3, 200, 1), (16, 3, 8), (4, 500, 2 * CHUNK_KEYS), (20, 600, 100), (2, 50, 4096), (3, ALL_SPLITS + 200, 1000)],
)
def test_window(device: torch.device, rows: int, start: int, window: int) -> None:
    case = make_case(device, rows=rows, start=start, group=5)
    case.cache[:, : max(0, start - window + 1)] = float("nan")
    clean = make_case(device, rows=rows, start=start, group=5)
    assert_close_to_reference(clean, case.run(window), window)


@pytest.mark.parametrize(("rows", "start", "group"), [(1, 0, 1), (6, 0, 4), (13, CHUNK_KEYS - 5, 3), (33, 300, 2), (64, 250, 1)])
def test_tree(device: torch.device, rows: int, start: int, group: int) -> None:
    case = make_case(device, rows=rows, start=start, group=group)
    tree = random_tree(rows).to(device)
    assert_close_to_reference(case, case.run(tree=tree), tree=tree)


@pytest.mark.parametrize(("rows", "start"), [(1, 0), (16, 250), (64, 100)])
def test_a_chain_is_a_tree_bit_for_bit(device: torch.device, rows: int, start: int) -> None:
    case = make_case(device, rows=rows, start=start, group=2, dtype=torch.float16)
    assert torch.equal(case.run(tree=chain(rows).to(device)), case.run())


@pytest.mark.parametrize(("dtype", "group", "window"), [(torch.float16, 4, None), (torch.bfloat16, 5, None), (torch.float32, 7, 150)])
def test_a_row_alone_has_the_bits_it_has_in_company(device: torch.device, dtype: torch.dtype, group: int, window: int | None) -> None:
    """The rows lie across the edge of a chunk, so that some share a tile with rows that look into one split more than they do."""
    case = make_case(device, rows=64, start=3 * CHUNK_KEYS - 20, group=group, dtype=dtype)
    together = case.run(window)
    for first, count in [(0, 1), (20, 1), (63, 1), (3, 2), (17, 5), (8, 16)]:
        part = attend(case.query[first : first + count], case.cache, case.start + first, window)
        assert torch.equal(part, together[first : first + count])


def test_a_row_of_a_tree_has_the_bits_it_has_in_a_smaller_tree(device: torch.device) -> None:
    case = make_case(device, rows=40, start=2 * CHUNK_KEYS - 10, dtype=torch.float16)
    tree = random_tree(40).to(device)
    together = case.run(tree=tree)
    for count in (1, 2, 5, 16):
        part = attend(case.query[:count], case.cache, case.start, tree=tree[:count, :count].contiguous())
        assert torch.equal(part, together[:count])


@pytest.mark.parametrize("tail", [0.0, 6e4, float("inf")])
@pytest.mark.parametrize("tree", [None, random_tree(5)])
def test_what_lies_behind_the_rows_changes_nothing(device: torch.device, tail: float, tree: Tensor | None) -> None:
    tree = None if tree is None else tree.to(device)
    garbage = make_case(device, rows=5, start=270, dtype=torch.float16)
    other = make_case(device, rows=5, start=270, dtype=torch.float16, tail=tail)
    result = garbage.run(tree=tree)
    assert result.isfinite().all()
    assert torch.equal(result, other.run(tree=tree))


@pytest.mark.parametrize("spare", [0, 1, 1000, 2 * ALL_SPLITS])
def test_the_capacity_changes_nothing(device: torch.device, spare: int) -> None:
    expected = make_case(device, rows=3, start=381, kv_heads=2, dtype=torch.float16).run()
    assert torch.equal(make_case(device, rows=3, start=381, kv_heads=2, dtype=torch.float16, spare=spare).run(), expected)


def test_rows_beyond_the_capacity_leave_the_others_alone(device: torch.device) -> None:
    """A captured launch has a fixed number of rows, of which the last may find no room at the end of a conversation."""
    case = make_case(device, rows=8, start=200, dtype=torch.float16, spare=0)
    short = case.cache[:, :-3].contiguous()
    assert torch.equal(attend(case.query, short, case.start)[:5], case.run()[:5])


def test_what_it_refuses(device: torch.device) -> None:
    case = make_case(device, rows=2, start=4)
    with pytest.raises(ValueError, match="rows"):
        make_case(device, rows=65, start=0).run()
    with pytest.raises(ValueError, match="window"):
        case.run(window=4, tree=chain(2).to(device))
    with pytest.raises(ValueError, match="contiguous"):
        attend(case.query, case.cache[:, :7], case.start)


def test_tiles_cut_rows_apart() -> None:
    """The groups tested for a row's bits include ones whose rows straddle two tiles."""
    assert PAIR_TILE.value % 5 != 0
    assert PAIR_TILE.value % 7 != 0
