"""8-bit weights: how far they are from the matrix, and a product that is that of the codes, for a row alone as in company."""

from __future__ import annotations

import pytest
import torch

from specdec.model import int8 as module
from specdec.model.int8 import int8, quantise_int8
from specdec.model.linear import Dense

# Half a step of bfloat16, to which activations and results are rounded on a CPU.
ROUNDING = 2.0**-9


def matrix(rows: int = 96, width: int = 128, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_quantisation_is_within_half_a_step_of_every_weight(dtype: torch.dtype) -> None:
    weight = matrix().to(dtype)
    codes, scale = quantise_int8(weight)
    assert (codes.dtype, scale.dtype) == (torch.int8, torch.float32)
    assert (codes.shape, scale.shape) == (weight.shape, weight.shape[:1])
    assert codes.abs().amax(1).eq(127).all()
    error = (codes.double() * scale.double()[:, None] - weight.double()).abs()
    assert bool((error <= scale.double()[:, None] * (0.5 + 1e-4)).all())


def test_rows_of_zeros_and_of_one_number_survive() -> None:
    weight = torch.tensor([0.0, -0.37, 1e-6])[:, None].expand(3, 16).contiguous()
    codes, scale = quantise_int8(weight)
    assert bool((scale > 0).all())
    torch.testing.assert_close(codes * scale[:, None], weight)


def test_rows_are_quantised_a_few_at_a_time_with_the_same_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quantise_int8(matrix(20))
    monkeypatch.setattr(module, "QUANTISED_ROWS", 7)
    for found, expected in zip(quantise_int8(matrix(20)), whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [16, 41, 208])
@pytest.mark.parametrize("rows", [1, 5, 16, 40])
def test_the_product_is_that_of_the_codes(rows: int, width: int, dtype: torch.dtype) -> None:
    bias = matrix(1, 33, seed=2)[0].to(dtype) if rows % 2 else None
    layer = int8(Dense(matrix(33, width, seed=1).to(dtype), bias))
    x = matrix(rows, width, seed=3).to(dtype)
    found = layer(x)
    assert found.dtype == dtype
    weight = layer.codes.double() * layer.scale.double()[:, None]
    exact, magnitudes = x.double() @ weight.T, x.double().abs() @ weight.abs().T
    shift = 0 if bias is None else bias.double()
    allowed = 1.01 * ROUNDING * (magnitudes + exact.abs() + (exact + shift).abs())
    assert bool(((found.double() - exact - shift).abs() <= allowed).all())


def test_sums_that_float16_does_not_hold_are_no_infinities() -> None:
    layer = int8(Dense(torch.full((16, 256), 0.01, dtype=torch.float16)))
    found = layer(torch.full((17, 256), 100.0, dtype=torch.float16))
    torch.testing.assert_close(found, torch.full((17, 16), 256.0, dtype=torch.float16), rtol=0.01, atol=0)


def test_a_rows_bits_do_not_depend_on_the_rows_beside_it() -> None:
    layer = int8(Dense(matrix(320, 208)))
    x = matrix(16, 208, seed=3)
    alone = torch.cat([layer(row) for row in torch.split(x, 1)])
    assert all(torch.equal(layer(x[:rows]), alone[:rows]) for rows in range(2, 17))
