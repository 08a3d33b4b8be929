"""Where the rows of a forward pass lie and what they see of the cache: a block from its qkv product to its output product.

On a CPU the host slices tables and cache at positions it knows. A recorded pass has to run again at any position, so there only
the device knows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.architecture import ModelConfig
from specdec.kv_cache import KVCache
from specdec.model.norm import Norm
from specdec.model.operations import Operations
from specdec.model.ops import (
    AttentionKind,
    attention,
    attention_on_one_thread,
    causal_bias,
    causal_table,
    gathered_bias,
    rotate_,
    window_bias,
)
from specdec.model.rope import rotary_tables


@dataclass(frozen=True)
class View:
    """What rows see: cache rows below `extent`, and of those none later than themselves.

    `attention` names the kernel, kept to one CPU thread with `serial`. With `always_biased` a bias is added even where it hides
    nothing, so that a row is computed alone as it is in company.
    """

    extent: int
    attention: AttentionKind = "fused"
    serial: bool = False
    always_biased: bool = False


class Tables:
    """What depends on positions alone: rotary cosines and signed sines [positions, 1, head_dim], and causal biases."""

    def __init__(self, config: ModelConfig, positions: int, dtype: torch.dtype, device: torch.device) -> None:
        self.windows = set(config.windows)
        self.cos, self.sin = rotary_tables(config, positions, dtype, device)
        self.causal = causal_table(positions, dtype, device)


class HostRows:
    """Rows at positions start.., known to the host."""

    def __init__(self, config: ModelConfig, tables: Tables, cache: KVCache, start: int, rows: int, view: View) -> None:
        self._config = config
        self._cache = cache
        self._start = start
        self._view = view
        self._attend = attention_on_one_thread if view.serial else attention
        self._cos, self._sin = tables.cos[start : start + rows], tables.sin[start : start + rows]
        self._biases: dict[int | None, Tensor | None] = {None: None}
        if view.always_biased or rows > 1 or view.extent > start + 1 or tables.windows != {None}:
            bias = causal_bias(tables.causal, start, rows, view.extent)
            self._biases = {window: bias if window is None else window_bias(bias, start, window) for window in tables.windows}

    def mix(self, index: int, qkv: Tensor, q_norm: Norm | None, k_norm: Norm | None) -> Tensor:
        """Write keys and values of layer `index` and attend: qkv [rows, (heads + 2 * kv_heads) * head_dim] to [rows, heads * head_dim]."""
        config = self._config
        heads, rotated = config.heads, config.heads + config.kv_heads
        qkv = qkv.view(-1, rotated + config.kv_heads, config.head_dim)
        if q_norm is not None and k_norm is not None:
            qkv[:, :heads] = q_norm(qkv[:, :heads])
            qkv[:, heads:rotated] = k_norm(qkv[:, heads:rotated])
        rotate_(qkv[:, :rotated], self._cos, self._sin)
        self._cache.write(index, self._start, qkv[:, heads:])
        key, value = self._cache.read(index, self._view.extent)
        return self._attend(self._view.attention, qkv[:, :heads], key, value, self._biases[config.windows[index]])


class DeviceRows:
    """Rows at positions start.., `start` [1] int64 being on the device; all else is fixed."""

    def __init__(
        self, config: ModelConfig, tables: Tables, operations: Operations, cache: KVCache, start: Tensor, rows: int, view: View
    ) -> None:
        self._config = config
        self._tables = tables
        self._operations = operations
        self._cache = cache
        self._start = start
        self._view = view
        self._biases: dict[int | None, Tensor] = {}
        if view.attention != "split":
            dtype = cache.rows.dtype
            self._biases = {window: gathered_bias(start, rows, view.extent, window, dtype) for window in tables.windows}

    def mix(self, index: int, qkv: Tensor, q_norm: Norm | None, k_norm: Norm | None) -> Tensor:
        """As HostRows.mix."""
        config, operations = self._config, self._operations
        qkv = qkv.view(-1, config.heads + 2 * config.kv_heads, config.head_dim)
        cache_rows = self._cache.rows[index]
        operations.rotate_and_write(qkv, config.heads, self._tables.cos, self._tables.sin, self._start, cache_rows, q_norm, k_norm)
        query, window = qkv[:, : config.heads], config.windows[index]
        if self._view.attention == "split" and operations.split_attention is not None:
            return operations.split_attention(query, cache_rows, self._start, window)
        key, value = self._cache.read(index, self._view.extent)
        return attention(self._view.attention, query, key, value, self._biases[window])
