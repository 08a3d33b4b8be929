"""The INT4 copy: quantisation error, kernels against their reference, and which layers stay whole."""

from __future__ import annotations

import pytest
import torch

from specdec.errors import IncompatibleDraftError
from specdec.model import int4
from specdec.model.linear import Dense, full_precision


def matrix(rows: int = 96, width: int = 128, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_quantisation_is_within_half_a_step_of_every_weight() -> None:
    weight = matrix()
    codes, scale, low = int4.quantise(weight)
    assert int(codes.min()) == 0
    assert int(codes.max()) == 15
    error = (int4.dequantise(codes, scale, low) - weight).abs().view(96, -1, int4.GROUP)
    assert bool((error <= scale[..., None] / 2 + 1e-6).all())


def test_constant_groups_survive() -> None:
    weight = torch.full((16, 64), -0.37)
    torch.testing.assert_close(int4.dequantise(*int4.quantise(weight)), weight)


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 40])
@pytest.mark.parametrize("bias", [False, True])
def test_int4pack_multiplies_with_the_dequantised_weights(rows: int, bias: bool) -> None:
    dense = Dense(matrix(), matrix(1, 96)[0] if bias else None)
    x = matrix(rows, 128, seed=3)
    exact = x @ int4.dequantise(*int4.quantise(dense.weight)).T + (dense.bias if dense.bias is not None else 0)
    found = int4.int4pack(dense)(x)
    assert found.dtype == x.dtype
    assert float((found - exact).square().mean() / exact.square().mean()) < 1e-4


def test_bitsandbytes_backend_multiplies_with_its_own_codes() -> None:
    dense = Dense(matrix(128, 256))
    x = matrix(1, 256, seed=3)
    error = (int4.nf4(dense)(x) - x @ dense.weight.T).square().mean() / (x @ dense.weight.T).square().mean()
    assert float(error) < int4.TOLERATED_ERROR


def test_backend_is_measured_and_matrices_it_cannot_group_stay_whole() -> None:
    backend = int4.choose_backend("cpu", torch.float32)
    assert backend.name == "int4pack"
    assert backend.relative_time > 0
    odd = Dense(matrix(96, 120))
    torch.testing.assert_close(backend.layer(odd)(matrix(2, 120)), full_precision(odd)(matrix(2, 120)))
    assert isinstance(backend.layer(Dense(matrix())), int4.Int4PackLinear)


def test_a_wrong_kernel_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    int4.measure_backends.cache_clear()
    monkeypatch.setattr(int4, "BACKENDS", {"int4pack": lambda dense: lambda x: torch.zeros(x.shape[0], dense.weight.shape[0])})
    with pytest.raises(IncompatibleDraftError, match=r"int4pack: relative squared error 1\.000"):
        int4.choose_backend("cpu", torch.float32)
    int4.measure_backends.cache_clear()
