"""The target on its cache: prefill and verification steps, in the execution that exact mode asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.model.ops import AttentionKind

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
    """The target model and its cache; which rows are true is up to the session that drives it."""

    def __init__(self, decoder: Decoder, context: int, execution: Execution = FASTEST) -> None:
        self.decoder = decoder
        self.context = context
        self.execution = execution
        self.cache = KVCache(decoder.config, padded_capacity(context), decoder.dtype, decoder.device)

    def rows_left(self, start: int) -> int:
        """How many rows a round that starts at this position may hold."""
        left = min(self.context - start, MAX_ROWS)
        if self.execution.tiled:
            left = min(left, tile_end(start) - start)
        return min(left, self.execution.padded_rows) if self.execution.padded_rows else left

    def step(self, tokens: Sequence[int], start: int) -> Tensor:
        """Logits [tokens, vocab] after each of a round's tokens at positions start.., their rows written to the cache."""
        return self._run(tokens, start, self.execution.padded_rows, logits_from=0)[: len(tokens)]

    def prefill(self, tokens: Sequence[int], start: int) -> Iterator[int]:
        """Write the rows of prompt tokens at positions start..; yields the position reached after each chunk."""
        stop = start + len(tokens)
        begin = start
        while begin < stop:
            end = min(tile_end(begin), stop)
            chunk = tokens[begin - start : end - start]
            self._run(chunk, begin, TILE if self.execution.padded_prefill else 0, logits_from=TILE)
            begin = end
            yield begin

    def _run(self, tokens: Sequence[int], start: int, padded_rows: int, logits_from: int) -> Tensor:
        padding = max(0, padded_rows - len(tokens))
        rows = torch.tensor([*tokens, *[0] * padding], dtype=torch.int64, device=self.decoder.device)
        extent = tile_end(start) if self.execution.tiled else start + len(rows)
        execution = self.execution
        return self.decoder.forward(
            rows,
            start,
            self.cache,
            extent=extent,
            kind=execution.attention,
            serial_attention=execution.serial_attention,
            always_biased=execution.tiled,
            logits_from=logits_from,
        )


def padded_capacity(context: int) -> int:
    """Cache rows for a context: whole tiles, and room for padding rows behind the last one."""
    return tile_end(context - 1) + TILE
