"""The product of a few rows: against float64, on odd shapes, with the same bits for a row whatever runs beside it."""

from __future__ import annotations

import itertools

import pytest
import torch
from tests.engine.kernels.mended_interpreter import mended_interpreter  # noqa: F401
from torch import Tensor

from specdec.kernels.matmul import part_width, skinny
from specdec.model.int8 import Int8Linear, int8, quantise_int8
from specdec.model.linear import Dense, SkinnyLinear, with_skinny_product

TYPES = (torch.float16, torch.bfloat16)
WIDTHS = (16, 48, 320, 4096)
OUTS = (1, 17, 320)
ROWS = (33, 3, 16, 17, 64, 2, 1, 8, 4, 7, 15, 5)

# Half a step of a dtype, but a whole one for bfloat16, which Triton's interpreter truncates to.
ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7}


def numbers(*shape: int, seed: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


def assert_close(found: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Within one rounding to the result's type and the roundings of a float32 sum, both counted with the sum of magnitudes."""
    exact = x.double() @ weight.double().T
    magnitudes = x.double().abs() @ weight.double().abs().T
    if bias is not None:
        exact = exact + bias.double()
    allowed = 1.01 * exact.abs() * ROUNDING[found.dtype] + magnitudes * 2.0**-20
    assert bool(((found.double() - exact).abs() <= allowed).all())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("outs", "width", "rows"), [*zip(OUTS * 4, WIDTHS * 3, ROWS, strict=True)])
def test_product_is_within_rounding_of_float64(outs: int, width: int, rows: int, dtype: torch.dtype, device: torch.device) -> None:
    x = numbers(rows, width, seed=1, dtype=dtype, device=device)
    weight = numbers(outs, width, seed=2, dtype=dtype, device=device)
    bias = numbers(outs, seed=3, dtype=dtype, device=device) if rows % 2 else None
    found = skinny(x, weight, bias)
    assert found.dtype == dtype
    assert found.shape == (rows, outs)
    assert_close(found, x, weight, bias)


@pytest.mark.parametrize("dtype", [*TYPES, torch.float32])
@pytest.mark.parametrize(("outs", "width", "rows"), [(17, 48, 5), (40, 320, 17), (33, 4096, 2)])
def test_product_with_codes_is_within_rounding_of_float64(
    outs: int, width: int, rows: int, dtype: torch.dtype, device: torch.device
) -> None:
    x = numbers(rows, width, seed=1, dtype=dtype, device=device)
    codes, scale = quantise_int8(numbers(outs, width, seed=2, dtype=torch.float32, device=device))
    bias = numbers(outs, seed=3, dtype=dtype, device=device) if rows % 2 else None
    found = skinny(x, codes, bias, scale)
    assert found.dtype == dtype
    assert_close(found, x, codes.double() * scale.double()[:, None], bias)


def test_float32_is_multiplied_in_full(device: torch.device) -> None:
    x = numbers(5, 1040, seed=1, dtype=torch.float32, device=device)
    weight = numbers(33, 1040, seed=2, dtype=torch.float32, device=device)
    assert_close(skinny(x, weight), x, weight, None)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("outs", "width"), [(17, 320), (40, 2048)])
def test_a_rows_bits_do_not_depend_on_the_rows_beside_it(outs: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
    x = numbers(33, width, seed=1, dtype=dtype, device=device)
    weight = numbers(outs, width, seed=2, dtype=dtype, device=device)
    bias = numbers(outs, seed=3, dtype=dtype, device=device)
    alone = torch.cat([skinny(x[row : row + 1], weight, bias) for row in (0, 1, 4, 15, 32)])
    for rows in (2, 5, 16, 33):
        kept = [place for place, row in enumerate((0, 1, 4, 15, 32)) if row < rows]
        together = skinny(x[:rows], weight, bias)[[(0, 1, 4, 15, 32)[place] for place in kept]]
        assert torch.equal(alone[kept], together)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("outs", "width"), [(17, 320), (40, 4096)])
def test_a_rows_bits_with_codes_do_not_depend_on_the_rows_beside_it(
    outs: int, width: int, dtype: torch.dtype, device: torch.device
) -> None:
    x = numbers(16, width, seed=1, dtype=dtype, device=device)
    codes, scale = quantise_int8(numbers(outs, width, seed=2, dtype=dtype, device=device))
    alone = torch.cat([skinny(x[row : row + 1], codes, None, scale) for row in range(16)])
    for rows in (2, 5, 16):
        assert torch.equal(skinny(x[:rows], codes, None, scale), alone[:rows])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("rows", [1, 16, 17])
def test_layers_take_the_kernel_for_few_rows_and_the_librarys_product_for_more(rows: int, dtype: torch.dtype, device: torch.device) -> None:
    x = numbers(rows, 96, seed=1, dtype=dtype, device=device)
    dense = Dense(numbers(40, 96, seed=2, dtype=dtype, device=device), numbers(40, seed=3, dtype=dtype, device=device))
    layer = with_skinny_product(dense)
    assert isinstance(layer, SkinnyLinear)
    assert layer.weight is dense.weight
    assert torch.equal(layer(x), skinny(x, dense.weight, dense.bias) if rows <= 16 else dense(x))
    codes, scale = quantise_int8(dense.weight)
    found = Int8Linear(codes, scale, dense.bias, in_triton=True)(x)
    assert found.dtype == dtype
    if rows <= 16:
        assert torch.equal(found, skinny(x, codes, dense.bias, scale))
    elif device.type == "cuda":
        assert_close(found, x, codes.double() * scale.double()[:, None], dense.bias)


def test_layers_that_the_kernel_does_not_take_stay_as_they_are() -> None:
    narrow, quantised = Dense(torch.ones(16, 24)), int8(Dense(torch.ones(16, 32)))
    assert with_skinny_product(narrow) is narrow
    assert with_skinny_product(quantised) is quantised


def test_rows_that_are_not_numbers_stay_by_themselves(device: torch.device) -> None:
    x = numbers(3, 48, seed=1, dtype=torch.float16, device=device)
    weight = numbers(17, 48, seed=2, dtype=torch.float16, device=device)
    clean = skinny(x, weight)
    x[1] = float("nan")
    spoilt = skinny(x, weight)
    assert torch.equal(spoilt[[0, 2]], clean[[0, 2]])
    assert bool(spoilt[1].isnan().all())


def test_a_view_of_wider_rows_is_multiplied_as_its_copy(device: torch.device) -> None:
    x = numbers(4, 96, seed=1, dtype=torch.float16, device=device)[:, :48]
    weight = numbers(17, 48, seed=2, dtype=torch.float16, device=device)
    assert torch.equal(skinny(x, weight), skinny(x.contiguous(), weight))


def test_a_matrix_that_does_not_fit_is_refused(device: torch.device) -> None:
    weight = numbers(32, 48, seed=2, dtype=torch.float16, device=device)
    for x, other in ((weight[:1, :32], weight), (weight[:1, :32], weight[:, :32]), (weight[:1, :24], weight[:, :24].contiguous())):
        with pytest.raises(ValueError, match="must be contiguous and fit"):
            skinny(x, other)


def test_codes_and_their_scale_go_together(device: torch.device) -> None:
    weight = numbers(32, 48, seed=2, dtype=torch.float16, device=device)
    codes, scale = quantise_int8(weight)
    for matrix, its_scale in ((codes, None), (weight, scale)):
        with pytest.raises(ValueError, match="has a scale"):
            skinny(weight[:1], matrix, None, its_scale)


def test_parts_cover_the_width_and_none_is_empty() -> None:
    for width, tiles in itertools.product((16, 1024, 4096, 14336), (1, 10, 64, 128, 4008)):
        part = part_width(width, 256, tiles=tiles, programs=128, least=1024)
        parts = -(-width // part)
        assert part % 256 == 0
        assert parts == 1 or (part >= 1024 and tiles * parts <= 128)
    assert part_width(4096, 256, tiles=128, programs=128, least=1024) == 4096
    assert part_width(4096, 256, tiles=32, programs=128, least=1024) == 1024
