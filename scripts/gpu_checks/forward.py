"""One forward pass at a fixed position, as a call that can be timed, captured or compiled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gpu_checks.findings import Findings
from gpu_checks.setup import Setup
from gpu_checks.timing import Call, captured
from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.target import FASTEST, Execution, tile_end

EAGER, GRAPH = "eager", "graph"
NO_GRAPHS = "CUDA graphs need a GPU"


def forward_pass(
    decoder: Decoder,
    cache: KVCache,
    rows: int,
    start: int,
    execution: Execution = FASTEST,
    forward: Callable[..., Tensor] = Decoder.forward,
) -> Call:
    """Some rows at positions start.. over the cache, as the target runs them in that execution."""
    rows = max(rows, execution.padded_rows)
    extent = tile_end(start) if execution.tiled else start + rows
    generator = torch.Generator().manual_seed(rows)
    tokens = torch.randint(decoder.config.vocab_size, (rows,), generator=generator).to(decoder.device)
    kind, serial = execution.attention, execution.serial_attention
    return lambda: forward(decoder, tokens, start, cache, extent=extent, kind=kind, serial_attention=serial)


def with_graph(setup: Setup, findings: Findings, call: Call, what: str, name: str = "") -> dict[str, Call]:
    """A call as it is and as a CUDA graph, by `name` and how it runs; where it cannot be captured the findings say why."""
    ways: dict[str, Call] = {f"{name}{EAGER}": call}
    if not setup.on_gpu:
        findings.skip("CUDA graphs", NO_GRAPHS)
        return ways
    try:
        ways[f"{name}{GRAPH}"] = captured(call)
    except RuntimeError as error:
        findings.fail(f"graph of {what}", error)
    return ways
