"""The gated activation against its formula in float64, at odd widths, in every dtype, alone and in company."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
from specdec.kernels.swiglu import swiglu

# Half a step of a dtype, but a whole one for bfloat16, which Triton's interpreter truncates to; float32 adds a step for each unit of
# the exponent of exp.
ROUNDING = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-7}
FLOAT32_ERROR = 2**-17


def operand(rows: int, width: int, dtype: torch.dtype, device: torch.device, size: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(rows * width)
    return (torch.randn(rows, 2 * width, generator=generator) * size).to(device, dtype)


def close(found: Tensor, gate_up: Tensor) -> None:
    """As close to float64 as one rounding of the dtype and float32 arithmetic allow."""
    gate, up = gate_up.double().chunk(2, dim=-1)
    information = torch.finfo(found.dtype)
    tolerance = ROUNDING[found.dtype] + FLOAT32_ERROR
    expected = (gate / (1 + (-gate).exp()) * up).clamp(information.min, information.max)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=information.smallest_normal)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 14336), (3, 100), (5, 1024), (7, 1025), (64, 33), (16, 3072)])
def test_it_is_the_formula(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
    gate_up = operand(rows, width, dtype, device)
    before = gate_up.clone()
    found = swiglu(gate_up)
    assert found.shape == (rows, width)
    assert found.dtype == dtype
    assert found.is_contiguous()
    assert torch.equal(gate_up, before)
    close(found, gate_up)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")
@pytest.mark.parametrize("dtype", ROUNDING)
def test_gates_far_from_zero_are_zero_or_the_identity(dtype: torch.dtype, device: torch.device) -> None:
    gate = torch.tensor([-200.0, -80.0, -20.0, 0.0, 20.0, 80.0, 200.0], device=device, dtype=dtype)
    gate_up = torch.stack((gate, torch.full_like(gate, 2.0))).reshape(1, -1)
    found = swiglu(gate_up)
    close(found, gate_up)
    assert found[0, -3:].tolist() == [40.0, 160.0, 400.0]


@pytest.mark.parametrize("dtype", ROUNDING)
def test_a_row_has_the_same_bits_alone_and_among_others(dtype: torch.dtype, device: torch.device) -> None:
    gate_up = operand(64, 100, dtype, device)
    together = swiglu(gate_up)
    for rows in (slice(0, 1), slice(37, 38), slice(61, 64)):
        assert torch.equal(swiglu(gate_up[rows]), together[rows])
