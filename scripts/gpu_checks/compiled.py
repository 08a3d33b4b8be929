"""Stage `compile`: the same forward pass under torch.compile, which kernels of our own would have to beat."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gpu_checks.findings import NO_TIME, Findings
from gpu_checks.floors import floor_ms, step_bytes
from gpu_checks.forward import forward_pass, step_ways, with_graph
from gpu_checks.limit import time_limit
from gpu_checks.setup import Setup
from gpu_checks.shapes import SHAPES
from gpu_checks.steps import columns
from gpu_checks.synthetic import random_cache, random_decoder
from gpu_checks.timing import Call, interleaved_ms
from specdec.model.decoder import Decoder

COMPILE_SECONDS = 120.0
COMPILED_ROWS = (1, 16)


def measure(setup: Setup, findings: Findings) -> None:
    """One row and 16 rows at the shortest context, each number of rows compiled by itself."""
    for rows in COMPILED_ROWS:
        for name in SHAPES:
            findings.part(f"{name}, rows {rows}", partial(_shape, setup, findings, name, rows))


def _shape(setup: Setup, findings: Findings, name: str, rows: int) -> None:
    config, context = setup.shape(name), setup.contexts[0]
    decoder = random_decoder(config, setup.dtype, setup.device, context)
    cache = random_cache(decoder, context)
    what = f"{name}, rows {rows}, context {context}"
    ways = step_ways(setup, findings, decoder, cache, rows, context - rows, what)
    seconds: float | None = None
    if setup.on_gpu:
        try:
            compiled = forward_pass(decoder, cache, rows, context - rows, forward=compiled_forward())
            seconds = _first_call_seconds(findings, compiled)
            ways |= with_graph(setup, findings, compiled, f"compiled {what}", "compiled_")
        except Exception as error:
            findings.fail(f"compiling {what}", error)
    else:
        findings.skip("torch.compile", "it is measured on a GPU only")
    floor = floor_ms(step_bytes(config, context, setup.dtype.itemsize), setup.bandwidth)
    found = interleaved_ms(setup.device, ways, setup.repeats)
    findings.add(
        "a forward pass under torch.compile",
        model=name,
        context=context,
        rows=rows,
        compile_seconds=seconds,
        floor_ms=floor,
        **columns(found, floor),
    )


def compiled_forward() -> Callable[..., Tensor]:
    """The decoder's forward pass, compiled anew for each position and number of rows it is called with.

    Without gradients but outside of inference mode, whose tensors torch.compile cannot trace.
    """
    torch.compiler.reset()
    compiled: Callable[..., Tensor] = torch.compile(inspect.unwrap(Decoder.forward), dynamic=False)
    return torch.no_grad()(compiled)


def _first_call_seconds(findings: Findings, call: Call) -> float:
    """The seconds of compiling; raises TimeoutError if that takes too long."""
    left = min(COMPILE_SECONDS, findings.seconds_left)
    if left < 1:
        raise TimeoutError(NO_TIME)
    began = time.perf_counter()
    with time_limit(left):
        call()
        torch.cuda.synchronize()
    return time.perf_counter() - began
