"""The INT4 copy: quantisation error, kernels against their reference, and which layers stay whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from specdec.errors import IncompatibleDraftError
from specdec.model import int4
from specdec.model.linear import Dense, Linear, full_precision


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


def test_a_large_matrix_is_quantised_in_pieces_as_if_it_were_one(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, x = Dense(matrix(208, 64)), matrix(3, 64, seed=3)
    whole = int4.int4pack(dense)
    monkeypatch.setattr(int4, "QUANTISED_ROWS", 64)
    pieces = int4.int4pack(dense)
    assert isinstance(whole, int4.Int4PackLinear)
    assert isinstance(pieces, int4.Int4PackLinear)
    assert torch.equal(pieces.packed, whole.packed)
    assert torch.equal(pieces.scales_and_zeros, whole.scales_and_zeros)
    assert torch.equal(pieces(x), whole(x))


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


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("int4pack", [(16, 32), (96, 160)], [(16, 48), (17, 32)]),
        ("nf4", [(1, 64), (17, 320)], [(16, 32), (16, 96)]),
        ("triton", [(1, 32), (17, 96)], [(16, 16), (16, 48)]),
    ],
)
def test_each_backend_takes_the_shapes_its_kernel_can_group(
    name: str, taken: list[tuple[int, int]], refused: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(dense: Dense) -> Linear:
        return made

    made = Dense(matrix())
    monkeypatch.setitem(int4.BACKENDS, name, built)
    backend = int4.Backend(name, 1.0)
    assert all(backend.layer(Dense(matrix(*shape))) is made for shape in taken)
    assert all(backend.layer(Dense(matrix(*shape))) is not made for shape in refused)


def test_int4pack_takes_whole_tiles_of_a_gpu_only() -> None:
    assert int4.takes("int4pack", torch.empty(16, 256, device="meta"))
    assert not int4.takes("int4pack", torch.empty(16, 160, device="meta"))


def test_triton_is_not_tried_on_a_cpu() -> None:
    timings = {timing.name: timing for timing in int4.measure_backends("cpu", torch.float32)}
    assert timings["triton"].relative_time is None
    assert timings["triton"].problem == "needs a GPU"


def test_a_spell_in_which_the_machine_is_slow_meets_all_layers_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], count()

    def taking(seconds: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def layer(x: torch.Tensor) -> torch.Tensor:
            clock[0] += seconds * (100 if next(calls) < int4.REPEATS else 1)
            return x

        return layer

    monkeypatch.setattr(int4, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert int4._interleaved_seconds([taking(2.0), taking(1.0)], torch.zeros(1)) == pytest.approx([2.0, 1.0])


def test_without_the_triton_package_the_backend_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    int4.measure_backends.cache_clear()
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "specdec.kernels.int4_matmul", raising=False)
    monkeypatch.delitem(sys.modules, "specdec.kernels.matmul", raising=False)
    monkeypatch.setattr(int4, "NOT_TRIED_ON_A_CPU", {})
    monkeypatch.setattr(int4, "BACKENDS", {"triton": int4.triton})
    (timing,) = int4.measure_backends("cpu", torch.float32)
    int4.measure_backends.cache_clear()
    assert timing.relative_time is None
    assert timing.problem is not None
    assert "triton" in timing.problem


def test_a_wrong_kernel_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    int4.measure_backends.cache_clear()
    monkeypatch.setattr(int4, "BACKENDS", {"int4pack": lambda dense: lambda x: torch.zeros(x.shape[0], dense.weight.shape[0])})
    with pytest.raises(IncompatibleDraftError, match=r"int4pack: relative squared error 1\.000"):
        int4.choose_backend("cpu", torch.float32)
    int4.measure_backends.cache_clear()
