"""The residual norm against its formula in float64, at odd widths, in every dtype, alone and in company."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from specdec.kernels.norm import add_norm
from specdec.model.norm import Norm

EPS = 1e-5
# Half a step of a dtype, but a whole one for bfloat16, which Triton's interpreter truncates to; float32 adds a few of its own steps.
ROUNDING = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-7}
FLOAT32_ERROR = 2**-20


def operands(rows: int, hidden: int, dtype: torch.dtype, device: torch.device, size: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """x, delta and the norm's weight."""
    generator = torch.Generator().manual_seed(rows * hidden)
    x, delta = (torch.randn(rows, hidden, generator=generator) * size for _ in range(2))
    return x.to(device, dtype), delta.to(device, dtype), (torch.rand(hidden, generator=generator) + 0.5).to(device)


def exact(total: Tensor, weight: Tensor) -> Tensor:
    """The norm in float64, as it is defined."""
    wide = total.double()
    return wide / (wide.square().mean(-1, keepdim=True) + EPS).sqrt() * weight.double()


def close(found: Tensor, expected: Tensor) -> None:
    """As close as one rounding of the dtype and float32 arithmetic allow."""
    tolerance = ROUNDING[found.dtype] + FLOAT32_ERROR
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=torch.finfo(found.dtype).smallest_normal)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("rows", "hidden"), [(1, 64), (2, 100), (3, 1), (5, 896), (64, 257), (16, 4096), (1, 5120), (2, 16384)])
def test_sum_and_norm_are_the_formula(rows: int, hidden: int, dtype: torch.dtype, device: torch.device) -> None:
    x, delta, weight = operands(rows, hidden, dtype, device)
    norm = Norm(weight, EPS)
    total, normed = add_norm(x, delta, norm.scale, norm.floor)
    assert total.dtype == normed.dtype == dtype
    torch.testing.assert_close(total.double(), x.double() + delta.double(), rtol=ROUNDING[dtype] + FLOAT32_ERROR, atol=1e-9)
    close(normed, exact(total, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_sum_has_the_bits_of_torchs_addition(dtype: torch.dtype, device: torch.device) -> None:
    x, delta, weight = operands(7, 333, dtype, device)
    norm = Norm(weight, EPS)
    assert torch.equal(add_norm(x, delta, norm.scale, norm.floor)[0], x + delta)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_without_a_delta_the_sum_is_x_itself(dtype: torch.dtype, device: torch.device) -> None:
    x, _, weight = operands(4, 96, dtype, device)
    before = x.clone()
    norm = Norm(weight, EPS)
    total, normed = add_norm(x, None, norm.scale, norm.floor)
    assert total is x
    assert torch.equal(x, before)
    close(normed, exact(x, weight))


def test_the_operands_are_left_alone(device: torch.device) -> None:
    x, delta, weight = operands(3, 80, torch.float16, device)
    before = x.clone(), delta.clone()
    norm = Norm(weight, EPS)
    total, normed = add_norm(x, delta, norm.scale, norm.floor)
    assert torch.equal(x, before[0])
    assert torch.equal(delta, before[1])
    assert len({each.data_ptr() for each in (x, delta, total, normed)}) == 4


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3])
def test_tiny_and_huge_rows_keep_their_norm(size: float, device: torch.device) -> None:
    x, delta, weight = operands(2, 128, torch.float32, device, size)
    norm = Norm(weight, EPS)
    total, normed = add_norm(x, delta, norm.scale, norm.floor)
    close(normed, exact(total, weight))


def test_a_row_of_zeros_stays_zero(device: torch.device) -> None:
    x = torch.zeros(2, 48, dtype=torch.float16, device=device)
    norm = Norm(torch.ones(48, device=device), EPS)
    total, normed = add_norm(x, x, norm.scale, norm.floor)
    assert not total.any()
    assert not normed.any()


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("hidden", [100, 2048])
def test_a_row_has_the_same_bits_alone_and_among_others(hidden: int, dtype: torch.dtype, device: torch.device) -> None:
    x, delta, weight = operands(64, hidden, dtype, device)
    norm = Norm(weight, EPS)
    total, normed = add_norm(x, delta, norm.scale, norm.floor)
    for rows in (slice(0, 1), slice(37, 38), slice(61, 64)):
        own_total, own = add_norm(x[rows], delta[rows], norm.scale, norm.floor)
        assert torch.equal(own_total, total[rows])
        assert torch.equal(own, normed[rows])


def test_a_row_does_not_see_its_neighbours(device: torch.device) -> None:
    x, delta, weight = operands(3, 200, torch.float16, device)
    norm = Norm(weight, EPS)
    clean = add_norm(x, delta, norm.scale, norm.floor)[1][1]
    x[0], x[2] = math.nan, math.nan
    assert torch.equal(add_norm(x, delta, norm.scale, norm.floor)[1][1], clean)
