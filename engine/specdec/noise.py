"""Counter-based random numbers: a value depends on (seed, stream, position, token id) and on nothing else.

That is what lets a draft and its target draw with the same luck, and makes a seed mean the same text however it was drafted.
"""

from __future__ import annotations

import torch
from torch import Tensor

TARGET, DRAFT, ACCEPT, RESIDUAL = range(4)

_MASK64 = (1 << 64) - 1
_MASK32 = (1 << 32) - 1


def _mix64(value: int) -> int:
    """splitmix64's finaliser (Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK64
    return value ^ (value >> 31)


def _key(seed: int, stream: int, position: int) -> int:
    return _mix64(_mix64(_mix64(seed + 0x9E3779B97F4A7C15) ^ (stream << 56)) + position * 0x9E3779B97F4A7C15 & _MASK64)


def uniform(seed: int, stream: int, position: int) -> float:
    """One number in [0, 1)."""
    return (_key(seed, stream, position) >> 11) * 2.0**-53


def gumbel(seed: int, stream: int, position: int, rows: int, ids: Tensor) -> Tensor:
    """Gumbel noise [rows, ids] float32 for positions position..position+rows-1 and token ids [n] int64.

    Adding it to log-probabilities and taking the argmax draws from them. The hash is two rounds of a 32-bit mixer
    (Wellons' lowbias32), each keyed with half of the position's 64-bit key.
    """
    keys = [_key(seed, stream, position + row) for row in range(rows)]
    low = torch.tensor([key & _MASK32 for key in keys], device=ids.device)[:, None]
    high = torch.tensor([key >> 32 for key in keys], device=ids.device)[:, None]
    bits = _mix32(_mix32(ids + low & _MASK32).bitwise_xor_(high))
    exponential = bits.double().add_(0.5).mul_(-(2.0**-32)).log1p_().neg_()
    return exponential.log_().neg_().float()


def _mix32(x: Tensor) -> Tensor:
    x ^= x >> 16
    x.mul_(0x7FEB352D).bitwise_and_(_MASK32)
    x ^= x >> 15
    x.mul_(0x846CA68B).bitwise_and_(_MASK32)
    x ^= x >> 16
    return x
