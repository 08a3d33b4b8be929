"""The target on its cache: prefill and verification steps, in the execution that exact mode asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.model.ops import AttentionKind
from specdec.model.rows import View
from specdec.passes import Passes, Record

TILE = 128
MAX_ROWS = 16


@dataclass(frozen=True)
class Execution:
    """How the target runs its rows.

    `attention` names the kernel, kept to one CPU thread with `serial_attention`. With `tiled`, a row attends to a cache extent
    that depends on its position alone, and a round ends at the end of its tile. With `padded_rows`, every round runs that many
    rows; with `padded_prefill`, every prefill chunk runs a whole tile of them.
    """

    attention: AttentionKind = "fused"
    tiled: bool = False
    padded_rows: int = 0
    padded_prefill: bool = False
    serial_attention: bool = False


FASTEST = Execution()


def tile_end(position: int) -> int:
    """The end of the tile a position lies in: the extent its row sees in exact mode."""
    return (position // TILE + 1) * TILE


class Target:
    """The target model and its cache; which rows are true is up to the session that drives it.

    With `record`, steps are recorded passes, whose cache extents come in tiers instead of tiles; the `split` kernel needs neither.
    """

    def __init__(self, decoder: Decoder, context: int, execution: Execution = FASTEST, record: Record | None = None) -> None:
        self.decoder = decoder
        self.context = context
        self.execution = execution
        self.cache = KVCache(decoder.config, padded_capacity(context), decoder.dtype, decoder.device)
        self.passes = Passes(decoder, self.cache, record)

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
            end = min(tile_end(begin), stop)
            chunk = torch.tensor(tokens[begin - start : end - start], dtype=torch.int64, device=self.decoder.device)
            rows = _padded(chunk, TILE if self.execution.padded_prefill else 0)
            extent = tile_end(begin) if self.execution.tiled or self.execution.padded_prefill else begin + len(rows)
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


def padded_capacity(context: int) -> int:
    """Cache rows for a context: whole tiles, and room for padding rows behind the last one."""
    return tile_end(context - 1) + TILE
