"""A decoder's forward passes over one cache; a GPU replays recorded ones, so that a pass costs the host one launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.model.linear import MAX_ROWS
from specdec.model.rows import View

FIRST_TIER = 512
T = TypeVar("T")
Body = Callable[[], Tensor]
Record = Callable[[Body], Body]
Key = tuple[int, View, int]


def unrecorded(body: Body) -> Body:
    """A recording that is the pass itself."""
    return body


def captured(body: Callable[[], T], pool: Any = None) -> Callable[[], T]:
    """A body as one CUDA graph, with everything in it that is no tensor as it is now; what it returns is the graph's own memory.

    It is run twice before, for kernels are compiled and workspaces made at their first use. Raises RuntimeError where it cannot be
    captured.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        out = body()

    def replay() -> T:
        graph.replay()
        return out

    return replay


class CudaRecorder:
    """Records passes as CUDA graphs that share one memory pool.

    After a first failure passes are run as they are; `problem` then says why.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._pool: Any = None

    def __call__(self, body: Body) -> Body:
        if self.problem is not None:
            return body
        try:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            return captured(body, self._pool)
        except RuntimeError as error:
            self.problem = (str(error).splitlines() or [type(error).__name__])[0]
            return body


@dataclass(frozen=True)
class _Recording:
    """A pass that reads `tokens` [rows] and `start` [1], both int64 on the device, and gives logits."""

    tokens: Tensor
    start: Tensor
    replay: Body


class Passes:
    """Runs passes of a decoder over a cache, recording those of up to 16 rows when they are first needed.

    Without `record` the host runs every pass itself, which is the fastest on a CPU.
    """

    def __init__(self, decoder: Decoder, cache: KVCache, record: Record | None) -> None:
        self.decoder = decoder
        self.cache = cache
        self.record = record
        self._recordings: dict[Key, _Recording] = {}

    def loose_view(self, start: int, rows: int) -> View:
        """The cheapest view for rows whose bits may depend on what runs with them."""
        if self.record is None or rows > MAX_ROWS:
            return View(start + rows)
        if self.decoder.operations.split_attention is not None:
            return View(self.cache.capacity, "split")
        return View(self.tier_end(start + rows - 1))

    def tier_end(self, position: int) -> int:
        """The end of the tier a position lies in: recorded passes have fixed extents, and few of them if each is twice the one before."""
        return min(self.cache.capacity, max(FIRST_TIER, 1 << position.bit_length()))

    def run(self, tokens: Tensor, start: int, view: View, logits_from: int) -> Tensor:
        """As Decoder.forward."""
        if self.record is None or len(tokens) > MAX_ROWS:
            return self.decoder.forward(tokens, start, self.cache, view, logits_from=logits_from)
        key = (len(tokens), view, logits_from)
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = self._recording(tokens, start, view, logits_from)
        recording.tokens.copy_(tokens)
        recording.start.fill_(start)
        return recording.replay().clone()

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Run passes as they would be recorded, without recording them: the same results, nothing kept."""
        record, recordings = self.record, self._recordings
        self.record, self._recordings = record and unrecorded, {}
        try:
            yield
        finally:
            self.record, self._recordings = record, recordings

    def _recording(self, tokens: Tensor, start: int, view: View, logits_from: int) -> _Recording:
        assert self.record is not None
        own_tokens = tokens.clone()
        own_start = torch.full((1,), start, device=tokens.device)
        body = partial(self.decoder.forward, own_tokens, own_start, self.cache, view, logits_from=logits_from)
        return _Recording(own_tokens, own_start, self.record(body))


def recorder_for(device: torch.device) -> CudaRecorder | None:
    """How passes on a device are recorded."""
    return CudaRecorder() if device.type == "cuda" else None
