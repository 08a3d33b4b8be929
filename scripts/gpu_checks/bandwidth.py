"""The two ceilings of a device, measured: bytes moved and matrix arithmetic done per second."""

from __future__ import annotations

import torch

from gpu_checks.timing import median_ms

REPEATS = 10


def copy_bytes_per_second(device: torch.device, size: int) -> float:
    """The median rate of a copy of `size` bytes on the device, bytes read and bytes written counted."""
    source = torch.randint(2**62, (size // 8,), dtype=torch.int64, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / median_ms(device, lambda: target.copy_(source), REPEATS) * 1000


def multiplications_per_second(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """The median rate of a product of two square random matrices, in floating-point operations (2 side^3 a product)."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / median_ms(device, lambda: left @ right, REPEATS) * 1000
