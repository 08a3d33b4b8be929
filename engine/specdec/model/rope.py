"""Rotary position embedding: the angle table, built once for all positions of the context."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specdec.architecture import ModelConfig, Rope


def inverse_frequencies(rope: Rope, head_dim: int) -> Tensor:
    """Angle per position of each pair of features, [head_dim / 2] float32.

    `llama3` keeps short wavelengths, divides long ones by `factor` and blends between (Llama 3.1).
    """
    frequencies = 1.0 / rope.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    if rope.kind == "linear":
        return frequencies / rope.factor
    if rope.kind == "llama3":
        wavelengths = 2 * math.pi / frequencies
        low, high = rope.low_frequency_factor, rope.high_frequency_factor
        smooth = ((rope.original_positions / wavelengths - low) / (high - low)).clamp(0, 1)
        return smooth * frequencies + (1 - smooth) * frequencies / rope.factor
    return frequencies


def rotary_tables(config: ModelConfig, positions: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(cos, signed sin), each [positions, 1, head_dim].

    The first half of the sine is negated, so that rotating is `x * cos + x.roll(head_dim / 2) * signed_sin`.
    """
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), inverse_frequencies(config.rope, config.head_dim))
    cos = angles.cos().repeat(1, 2)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=1)
    return cos[:, None].to(device, dtype), sin[:, None].to(device, dtype)
