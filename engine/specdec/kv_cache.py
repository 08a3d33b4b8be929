"""The preallocated key-value cache: rows are written in place, and rolling back is not looking at them."""

from __future__ import annotations

import torch
from torch import Tensor

from specdec.architecture import ModelConfig


class KVCache:
    """Keys and values of one sequence, `rows` [layers, 2 * kv_heads, capacity, head_dim], keys first.

    Which rows are true is the owner's business: a row counts only while something below its owner's length points at it.
    """

    def __init__(self, config: ModelConfig, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.capacity = capacity
        self.kv_heads = config.kv_heads
        self.rows = torch.zeros(config.layers, 2 * config.kv_heads, capacity, config.head_dim, dtype=dtype, device=device)

    def write(self, layer: int, start: int, keys_and_values: Tensor) -> None:
        """Store rows [rows, 2 * kv_heads, head_dim] of a layer from position `start` on."""
        self.rows[layer, :, start : start + keys_and_values.shape[0]].copy_(keys_and_values.transpose(0, 1))

    def read(self, layer: int, extent: int) -> tuple[Tensor, Tensor]:
        """Views of keys and values, each [kv_heads, extent, head_dim]."""
        both = self.rows[layer, :, :extent]
        return both[: self.kv_heads], both[self.kv_heads :]

    def gather(self, start: int, kept: Tensor) -> None:
        """Move the rows at `start + kept` (ascending offsets, [n] int64) together to `start`: the accepted path of a tree."""
        self.rows[:, :, start : start + len(kept)] = self.rows[:, :, start + kept]
