"""The 4-bit product: packing loses nothing, and products are those of the dequantised weights, with the same bits in any company."""

from __future__ import annotations

import pytest
import torch
from tests.engine.kernels.mended_interpreter import mended_interpreter  # noqa: F401
from torch import Tensor

from specdec.kernels.int4_matmul import CODES_PER_WORD, TILE_OUT, Int4Weights, int4_product, pack
from specdec.model import int4
from specdec.model.int4 import GROUP, TOLERATED_ERROR, TritonLinear, dequantise, quantise, triton
from specdec.model.linear import Dense

TYPES = (torch.float16, torch.bfloat16)
WIDTHS = (32, 96, 320, 4096)
OUTS = (1, 17, 320)
ROWS = (33, 3, 16, 17, 64, 2, 1, 8, 4, 7, 15, 5)

# Half a step of a dtype, but a whole one for bfloat16, which Triton's interpreter truncates to.
ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7}


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stored(scale: Tensor) -> Tensor:
    return scale.to(torch.float16).float()


def unpacked(weights: Int4Weights) -> tuple[Tensor, Tensor, Tensor]:
    """What `pack` was given, read off its words; scale and minimum as float16 holds them."""
    outs, width = weights.shape
    tiles, blocks = weights.codes.shape[:2]
    places = 4 * torch.arange(CODES_PER_WORD, dtype=torch.int32)
    codes = (weights.codes[..., None, :] >> places[:, None]) & 15
    codes = codes.transpose(1, 2).reshape(tiles * TILE_OUT, -1)[:outs, :width]
    pairs = weights.scales_and_minima.permute(0, 3, 1, 2).reshape(tiles * TILE_OUT, blocks * CODES_PER_WORD, 1)
    scale, low = pairs.contiguous().view(torch.float16)[:outs, : width // weights.group].float().unbind(-1)
    return codes, scale, low


@pytest.mark.parametrize("group", [16, 32, 64])
@pytest.mark.parametrize(("outs", "width"), [(1, 64), (17, 320), (65, 576)])
def test_packing_keeps_every_code_scale_and_minimum(outs: int, width: int, group: int) -> None:
    codes, scale, low = quantise(numbers(outs, width, seed=0), group)
    weights = pack(codes, scale, low)
    assert weights.shape == (outs, width)
    assert weights.group == group
    found_codes, found_scale, found_low = unpacked(weights)
    assert torch.equal(found_codes, codes)
    assert torch.equal(found_scale, stored(scale))
    assert torch.equal(found_low, stored(low))


def assert_close(found: Tensor, x: Tensor, weight: Tensor, weight_error: Tensor, bias: Tensor | None) -> None:
    """Within the weights' own rounding, one rounding to the result's type, and the roundings of a float32 sum."""
    exact = x.double() @ weight.double().T
    magnitudes = x.double().abs() @ weight.double().abs().T
    if bias is not None:
        exact = exact + bias.double()
    allowed = 1.01 * exact.abs() * ROUNDING[found.dtype] + magnitudes * 2.0**-20 + x.double().abs() @ weight_error.double().T
    assert bool(((found.double() - exact).abs() <= allowed).all())


def weight_error(codes: Tensor, scale: Tensor, low: Tensor, dtype: torch.dtype) -> Tensor:
    """What a weight may be off: a rounding to float16 of code * scale and of the sum, and one to x's type."""
    product, weight = dequantise(codes, scale, torch.zeros_like(low)), dequantise(codes, scale, low)
    to_type = ROUNDING[dtype] if dtype != torch.float16 else 0
    return 1.01 * (product * 2.0**-11 + weight.abs() * (2.0**-11 + to_type))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("outs", "width", "rows"), [*zip(OUTS * 4, WIDTHS * 3, ROWS, strict=True)])
def test_product_is_that_of_the_dequantised_weights(outs: int, width: int, rows: int, dtype: torch.dtype, device: torch.device) -> None:
    codes, scale, low = quantise(numbers(outs, width, seed=1))
    x = numbers(rows, width, seed=2).to(device, dtype)
    bias = numbers(outs, seed=3).to(device, dtype) if rows % 2 else None
    found = int4_product(x, pack(codes.to(device), scale.to(device), low.to(device)), bias)
    assert found.dtype == dtype
    weight = dequantise(codes, stored(scale), stored(low)).to(device)
    assert_close(found, x, weight, weight_error(codes, scale, low, dtype).to(device), bias)


@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_exact_weights_are_rounded_once(dtype: torch.dtype, device: torch.device) -> None:
    """With weights both types hold exactly, nothing is left but the float32 sum and the last rounding."""
    codes = torch.randint(0, 16, (33, 288), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    scale, low = torch.full((33, 9), 0.25), torch.full((33, 9), -2.0)
    x = numbers(3, 288, seed=2).to(device, dtype)
    weight = dequantise(codes, scale, low).to(device)
    found = int4_product(x, pack(codes.to(device), scale.to(device), low.to(device)))
    assert_close(found, x, weight, torch.zeros_like(weight), None)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("outs", "width"), [(65, 320), (17, 2048)])
def test_a_rows_bits_do_not_depend_on_the_rows_beside_it(outs: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
    x = numbers(33, width, seed=1).to(device, dtype)
    weights = pack(*quantise(numbers(outs, width, seed=2).to(device)))
    bias = numbers(outs, seed=3).to(device, dtype)
    looked_at = (0, 1, 4, 15, 32)
    alone = {row: int4_product(x[row : row + 1], weights, bias)[0] for row in looked_at}
    for rows in (2, 5, 16, 33):
        together = int4_product(x[:rows], weights, bias)
        assert all(torch.equal(together[row], alone[row]) for row in looked_at if row < rows)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_stands_behind_the_width_of_a_row_is_not_read(device: torch.device) -> None:
    """A width that is no whole block: the next row's infinities must not reach this one, though the padding's weights are zero."""
    x = numbers(2, 96, seed=1).to(device, torch.float16)
    weights = pack(*quantise(numbers(17, 96, seed=2).to(device)))
    clean = int4_product(x, weights)
    x[1] = float("inf")
    assert torch.equal(int4_product(x, weights)[0], clean[0])


def test_what_cannot_be_packed_or_multiplied_is_refused(device: torch.device) -> None:
    codes, scale, low = quantise(numbers(16, 96, seed=0).to(device))
    with pytest.raises(ValueError, match="beyond float16"):
        pack(codes, scale * 1e6, low)
    with pytest.raises(ValueError, match="power of two from 16 on"):
        pack(codes, scale[:, :1], low[:, :1])
    weights = pack(codes, scale, low)
    for x in (torch.zeros(1, 96, device=device), torch.zeros(1, 96 + GROUP, dtype=torch.float16, device=device)):
        with pytest.raises(ValueError, match="a product of"):
            int4_product(x, weights)


@pytest.mark.parametrize("dtype", [*TYPES, torch.float32])
def test_the_layer_of_the_int4_copy_is_near_the_matrix(dtype: torch.dtype, device: torch.device) -> None:
    dense = Dense(numbers(48, 160, seed=1).to(device, dtype), numbers(48, seed=2).to(device, dtype))
    x = numbers(3, 160, seed=3).to(device, dtype)
    found, exact = triton(dense)(x), dense(x).float()
    assert found.dtype == dtype
    assert float((found.float() - exact).square().mean() / exact.square().mean()) < TOLERATED_ERROR


def test_a_large_matrix_is_packed_in_pieces_as_if_it_were_one(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = Dense(numbers(150, 64, seed=1).to(device, torch.float16))
    whole = triton(dense)
    monkeypatch.setattr(int4, "QUANTISED_ROWS", TILE_OUT)
    pieces = triton(dense)
    assert isinstance(whole, TritonLinear)
    assert isinstance(pieces, TritonLinear)
    assert torch.equal(pieces.weights.codes, whole.weights.codes)
    assert torch.equal(pieces.weights.scales_and_minima, whole.weights.scales_and_minima)
    assert pieces.weights.shape == whole.weights.shape
