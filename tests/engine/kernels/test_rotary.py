"""Rotation, norms and cache write against float64, for every head size and ratio of heads, with guards around the cache."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from specdec.architecture import ModelConfig, Rope
from specdec.kernels.rotary import rotate_and_write
from specdec.model.norm import Norm
from specdec.model.rope import rotary_tables

EPS = 1e-6
# Half a step of a dtype, but a whole one for bfloat16, which Triton's interpreter truncates to; float32 adds a few of its own steps.
ROUNDING = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-7}
FLOAT32_ERROR = 2**-20
EMPTY = 77.0


@dataclass
class Case:
    """The operands of a call over a cache that holds EMPTY everywhere."""

    qkv: Tensor
    heads: int
    kv_heads: int
    cos: Tensor
    sin: Tensor
    cache_rows: Tensor
    q_norm: Norm | None = None
    k_norm: Norm | None = None

    def run(self, start: int) -> Tensor:
        """The queries; the cache is written."""
        qkv = self.qkv.clone()
        q, k = self.q_norm, self.k_norm
        scales = (None, None, None) if q is None or k is None else (q.scale, k.scale, q.floor)
        rotate_and_write(qkv, self.heads, self.cos, self.sin, torch.tensor([start], device=qkv.device), self.cache_rows, *scales)
        assert torch.equal(qkv[:, self.heads :], self.qkv[:, self.heads :])
        return qkv[:, : self.heads]

    def exact(self, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and what bounds their float32 error, in float64: [rows, heads + kv_heads, head_dim] split by heads."""
        wide = self.qkv[:, : self.heads + self.kv_heads].double()
        if self.q_norm is not None and self.k_norm is not None:
            length = (wide.square().mean(-1, keepdim=True) + EPS).sqrt()
            scales = (self.q_norm.scale.expand(self.heads, -1), self.k_norm.scale.expand(self.kv_heads, -1))
            wide = wide / length * torch.cat(scales).double() * wide.shape[-1] ** -0.5
        stop = start + len(wide)
        cos, sin = self.cos[start:stop].double(), self.sin[start:stop].double()
        first, second = wide.chunk(2, dim=-1)
        partners = torch.cat((second, first), dim=-1)
        turned, size = wide * cos + partners * sin, (wide * cos).abs() + (partners * sin).abs()
        return turned[:, : self.heads], turned[:, self.heads :], size


def case(
    rows: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    capacity: int = 96,
    positions: int | None = None,
    normed: bool = False,
) -> Case:
    generator = torch.Generator().manual_seed(rows * heads * head_dim)

    def norm() -> Norm:
        return Norm((torch.rand(head_dim, generator=generator) + 0.5).to(device), EPS)

    config = ModelConfig(
        family="qwen3" if normed else "llama",
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        layers=1,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        max_positions=capacity,
        rms_eps=EPS,
        rope=Rope(10000.0),
        tied=True,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        qk_norm=normed,
        windows=(None,),
    )
    qkv = torch.randn(rows, heads + 2 * kv_heads, head_dim, generator=generator).to(device, dtype)
    cos, sin = rotary_tables(config, positions or capacity, dtype, device)
    cache_rows = torch.full((2 * kv_heads, capacity, head_dim), EMPTY, device=device, dtype=dtype)
    return Case(qkv, heads, kv_heads, cos, sin, cache_rows, norm() if normed else None, norm() if normed else None)


def close(found: Tensor, expected: Tensor, size: Tensor) -> None:
    """As close as one rounding of the dtype and float32 arithmetic on terms of that size allow."""
    step = torch.finfo(found.dtype).smallest_normal
    allowed = ROUNDING[found.dtype] * expected.abs() + FLOAT32_ERROR * size + step
    error = (found.double() - expected).abs()
    assert (error <= allowed).all(), f"{(error - allowed).max()} too far"


def check(tested: Case, start: int) -> None:
    """Queries, keys and values of one call, and that nothing else was written."""
    rows, kv_heads = len(tested.qkv), tested.kv_heads
    capacity = tested.cache_rows.shape[1]
    queries, keys, size = tested.exact(start)
    close(tested.run(start), queries, size[:, : tested.heads])
    held = min(rows, capacity - start)
    written = tested.cache_rows[:, start : start + held].transpose(0, 1)
    close(written[:, :kv_heads], keys[:held], size[:held, tested.heads :])
    assert torch.equal(written[:, kv_heads:], tested.qkv[:held, tested.heads + kv_heads :])
    assert (tested.cache_rows[:, :start] == EMPTY).all()
    assert (tested.cache_rows[:, start + held :] == EMPTY).all()


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(
    ("rows", "group", "kv_heads", "head_dim"),
    [
        (1, 1, 2, 64),
        (2, 2, 1, 80),
        (3, 3, 1, 96),
        (1, 4, 2, 128),
        (5, 5, 1, 64),
        (1, 6, 1, 80),
        (2, 7, 1, 128),
        (2, 8, 1, 96),
        (64, 1, 1, 32),
    ],
)
def test_queries_keys_and_values(
    rows: int, group: int, kv_heads: int, head_dim: int, dtype: torch.dtype, normed: bool, device: torch.device
) -> None:
    check(case(rows, group * kv_heads, kv_heads, head_dim, dtype, device, normed=normed), start=11)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_positions_near_32k(dtype: torch.dtype, device: torch.device) -> None:
    check(case(3, 4, 2, 128, dtype, device, capacity=2**15), start=2**15 - 3)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("head_dim", [64, 80])
def test_the_first_position_turns_nothing(head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
    tested = case(1, 3, 1, head_dim, dtype, device)
    assert torch.equal(tested.run(0), tested.qkv[:, :3])
    assert torch.equal(tested.cache_rows[:, 0], tested.qkv[0, 3:])


def test_a_quarter_turn_swaps_the_halves(device: torch.device) -> None:
    tested = case(1, 1, 1, 80, torch.float32, device)
    tested.cos.zero_()
    tested.sin.copy_(tested.sin.sign())
    tested.sin[:, :, :40], tested.sin[:, :, 40:] = -1, 1
    first, second = tested.qkv[0, 0].chunk(2)
    assert torch.equal(tested.run(5)[0, 0], torch.cat((-second, first)))


@pytest.mark.parametrize("start", [29, 31, 32, 40])
def test_rows_beyond_the_capacity_are_not_written(start: int, device: torch.device) -> None:
    tested = case(5, 2, 2, 80, torch.float16, device, capacity=32, positions=64)
    surroundings = torch.full((6, *tested.cache_rows.shape[1:]), EMPTY, device=device, dtype=torch.float16)
    tested.cache_rows = surroundings[1:5]
    if start < 32:
        check(tested, start)
    else:
        queries, _, size = tested.exact(start)
        close(tested.run(start), queries, size[:, :2])
        assert (tested.cache_rows == EMPTY).all()
    assert (surroundings[0] == EMPTY).all()
    assert (surroundings[5] == EMPTY).all()


def test_rows_beyond_the_tables_read_nothing(device: torch.device) -> None:
    tested = case(3, 2, 1, 64, torch.float32, device, capacity=16)
    around = torch.full((2, 18, 1, 64), torch.nan, device=device)
    around[0, :16], around[1, :16] = tested.cos, tested.sin
    tested.cos, tested.sin = around[0, :16], around[1, :16]
    found = tested.run(15)
    assert found[0].isfinite().all()
    assert not found[1:].any()


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_row_has_the_same_bits_alone_and_among_others(dtype: torch.dtype, normed: bool, device: torch.device) -> None:
    together = case(64, 2, 1, 80, dtype, device, normed=normed)
    queries = together.run(20)
    for row in (0, 37, 63):
        alone = case(64, 2, 1, 80, dtype, device, normed=normed)
        alone.qkv = alone.qkv[row : row + 1]
        assert torch.equal(alone.run(20 + row), queries[row : row + 1])
        assert torch.equal(alone.cache_rows[:, 20 + row], together.cache_rows[:, 20 + row])
