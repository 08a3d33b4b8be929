"""One forward pass at a fixed position, as a call that can be timed: with torch's own operations, captured, and as the engine runs it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gpu_checks.findings import Findings
from gpu_checks.setup import Setup
from gpu_checks.timing import Call
from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.model.operations import PLAIN
from specdec.model.rows import View
from specdec.passes import CudaRecorder, Passes, captured, recorder_for, unrecorded
from specdec.target import FASTEST, Execution, Target, tile_end

EAGER, GRAPH, ENGINE = "eager", "graph", "engine"
HOWS = (EAGER, GRAPH, ENGINE)
NO_GRAPHS = "CUDA graphs need a GPU"


def step_ways(
    setup: Setup, findings: Findings, decoder: Decoder, cache: KVCache, rows: int, start: int, what: str, name: str = ""
) -> dict[str, Call]:
    """Some rows at positions start.. with torch's own operations, the same as one graph, and the engine's pass with its kernels."""
    ways = with_graph(setup, findings, forward_pass(decoder, cache, rows, start), what, name)
    recorder = recorder_for(setup.device)
    passes = Passes(decoder, cache, recorder or unrecorded)
    call = partial(passes.run, random_tokens(decoder, rows), start, passes.loose_view(start, rows), 0)
    return ways | _working(findings, recorder, call, what, name)


def target_ways(findings: Findings, target: Target, execution: Execution, rows: int, start: int, what: str, name: str) -> dict[str, Call]:
    """A step of the target in an execution, as the engine runs it; it leaves the target in that execution."""
    tokens, recorder = random_tokens(target.decoder, rows), target.passes.record

    def step() -> Tensor:
        target.execution = execution
        return target.step(tokens, start)

    return _working(findings, recorder if isinstance(recorder, CudaRecorder) else None, step, what, name)


def _working(findings: Findings, recorder: CudaRecorder | None, call: Call, what: str, name: str) -> dict[str, Call]:
    """The engine's way, if its passes can be recorded."""
    call()
    if recorder is not None and recorder.problem is not None:
        findings.fail(f"recording {what}", RuntimeError(recorder.problem))
        return {}
    return {f"{name}{ENGINE}": call}


def forward_pass(
    decoder: Decoder,
    cache: KVCache,
    rows: int,
    start: int,
    execution: Execution = FASTEST,
    forward: Callable[..., Tensor] = Decoder.forward,
) -> Call:
    """Some rows at positions start.. over the cache in an execution, with torch's own operations."""
    rows = max(rows, execution.padded_rows)
    extent = tile_end(start) if execution.tiled else start + rows
    view = View(extent, execution.attention, execution.serial_attention, execution.tiled)
    tokens, plain = random_tokens(decoder, rows), copy.copy(decoder)
    plain.operations = PLAIN
    return lambda: forward(plain, tokens, start, cache, view)


def random_tokens(decoder: Decoder, rows: int) -> Tensor:
    """Tokens [rows], the same every time."""
    generator = torch.Generator().manual_seed(rows)
    return torch.randint(decoder.config.vocab_size, (rows,), generator=generator).to(decoder.device)


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
