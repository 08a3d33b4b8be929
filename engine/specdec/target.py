"""The target on its cache: prefill and verification steps, in the execution that exact mode asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder, Weights
from specdec.model.linear import MAX_ROWS, Dense, with_skinny_product
from specdec.model.ops import AttentionKind
from specdec.model.rows import View
from specdec.passes import Passes, Record

Products = Literal["library", "skinny"]

TILE = 128
GPU_PREFILL_TILE = 512


@dataclass(frozen=True)
class Execution:
    """How the target runs its rows.

    `attention` names the kernel, kept to one CPU thread with `serial_attention`. With `tiled`, a row attends to a cache extent
    that depends on its position alone, and a round ends at the end of its tile. With `padded_rows`, every round runs that many
    rows; with `padded_prefill`, every prefill chunk runs a whole prefill tile of them. `products` says whether a round's matrix
    products are torch's own or those of specdec.kernels.matmul; prefill always has torch's.
    """

    attention: AttentionKind = "fused"
    tiled: bool = False
    padded_rows: int = 0
    padded_prefill: bool = False
    serial_attention: bool = False
    products: Products = "library"


FASTEST = Execution()


def tile_end(position: int, tile: int = TILE) -> int:
    """The end of the tile a position lies in: the extent its row sees in exact mode."""
    return (position // tile + 1) * tile


def prefill_tile_of(device: torch.device) -> int:
    """How many rows a prefill chunk has: on a GPU enough that its arithmetic, and not reading the weights, is what takes the time."""
    return GPU_PREFILL_TILE if device.type == "cuda" else TILE


class Target:
    """The target model and its cache; which rows are true is up to the session that drives it.

    With `record`, steps are recorded passes, whose cache extents come in tiers instead of tiles; the `split` kernel needs neither.
    `prefill_tile` is the device's own unless given. Raises ValueError if the decoder has tables for fewer positions than the cache.
    """

    def __init__(
        self,
        decoder: Decoder,
        context: int,
        execution: Execution = FASTEST,
        record: Record | None = None,
        prefill_tile: int | None = None,
    ) -> None:
        self.decoder = decoder
        self.context = context
        self.execution = execution
        self.prefill_tile = prefill_tile or prefill_tile_of(decoder.device)
        self.cache = KVCache(decoder.config, padded_capacity(context, self.prefill_tile), decoder.dtype, decoder.device)
        if len(decoder.tables.cos) < self.cache.capacity:
            raise ValueError(f"the decoder's tables hold {len(decoder.tables.cos)} positions, a cache for {context} {self.cache.capacity}")
        self._passes: dict[Products, Passes] = {"library": Passes(decoder, self.cache, record)}
        if decoder.operations.in_triton and _has_dense(decoder.weights):
            self._passes["skinny"] = Passes(decoder.sharing(_with_skinny_products(decoder.weights)), self.cache, record)

    @property
    def passes(self) -> Passes:
        """The passes of the execution."""
        return self.passes_with(self.execution.products)

    def passes_with(self, products: Products) -> Passes:
        """The passes with a kind of products."""
        return self._passes[products]

    @property
    def products(self) -> tuple[Products, ...]:
        """The kinds of products that steps can be run with."""
        return tuple(self._passes)

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """As Passes.unrecorded, for every kind of products."""
        with ExitStack() as stack:
            for passes in self._passes.values():
                stack.enter_context(passes.unrecorded())
            yield

    def rows_left(self, start: int) -> int:
        """How many rows a round that starts at this position may hold."""
        left = min(self.context - start, MAX_ROWS)
        if self._extent_bound:
            left = min(left, self.extent(start) - start)
        return min(left, self.execution.padded_rows) if self.execution.padded_rows else left

    def step(self, tokens: Sequence[int] | Tensor, start: int) -> Tensor:
        """Logits [tokens, vocab] after each of a round's tokens at positions start.., their rows written to the cache."""
        rows = torch.as_tensor(tokens, dtype=torch.int64, device=self.decoder.device)
        padded = _padded(rows, self.execution.padded_rows)
        extent = self.extent(start) if self._extent_bound else start + len(padded)
        return self.passes.run(padded, start, self._view(extent, self.execution.attention), 0)[: len(rows)]

    def prefill(self, tokens: Sequence[int], start: int) -> Iterator[int]:
        """Write the rows of prompt tokens at positions start..; yields the position reached after each chunk."""
        stop = start + len(tokens)
        begin = start
        kind: AttentionKind = "fused" if self.execution.attention == "split" else self.execution.attention
        while begin < stop:
            whole = tile_end(begin, self.prefill_tile)
            end = min(whole, stop)
            chunk = torch.tensor(tokens[begin - start : end - start], dtype=torch.int64, device=self.decoder.device)
            rows = _padded(chunk, self.prefill_tile if self.execution.padded_prefill else 0)
            extent = whole if self.execution.tiled or self.execution.padded_prefill else begin + len(rows)
            self.decoder.forward(rows, begin, self.cache, self._view(extent, kind), logits_from=len(rows))
            begin = end
            yield begin

    def extent(self, start: int) -> int:
        """The end of the tile or tier of a position: what its row sees where that may depend on its position alone."""
        return tile_end(start) if self.passes.record is None else self.passes.tier_end(start)

    @property
    def _extent_bound(self) -> bool:
        """Whether a round has to end where its first row's tile or tier does."""
        return self.execution.attention != "split" and (self.execution.tiled or self.passes.record is not None)

    def _view(self, extent: int, kind: AttentionKind) -> View:
        if kind == "split":
            return View(self.cache.capacity, kind)
        return View(extent, kind, self.execution.serial_attention, self.execution.tiled)


def _padded(rows: Tensor, count: int) -> Tensor:
    """At least `count` rows, the added ones being token 0."""
    return F.pad(rows, (0, count - len(rows))) if len(rows) < count else rows


def padded_capacity(context: int, prefill_tile: int) -> int:
    """Cache rows for a context: whole prefill tiles, and room for padding rows behind the last one."""
    return tile_end(context - 1, prefill_tile) + prefill_tile


def _has_dense(weights: Weights) -> bool:
    """Whether any of a model's matrices is as the checkpoint has it."""
    layer = weights.layers[0]
    return any(isinstance(linear, Dense) for linear in (layer.qkv, layer.output, layer.gate_up, layer.down, weights.head))


def _with_skinny_products(weights: Weights) -> Weights:
    """The same matrices, which take no memory a second time."""
    layers = [layer.remade(with_skinny_product) for layer in weights.layers]
    return replace(weights, layers=layers, head=with_skinny_product(weights.head))
