"""Stage `steps`: a forward pass of each shape over rows and contexts, as the engine runs it and as one CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from gpu_checks.findings import Findings
from gpu_checks.floors import floor_ms, step_bytes
from gpu_checks.forward import HOWS, step_ways
from gpu_checks.goals import PLAIN_STEP, SIBLING_STEP, VERIFY
from gpu_checks.setup import ROWS, Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B, SHAPES
from gpu_checks.synthetic import random_cache, random_decoder
from gpu_checks.timing import interleaved_ms

Times = dict[tuple[str, int, int, str], float]


def measure(setup: Setup, findings: Findings) -> None:
    """Every shape at every context and number of rows, then what they say of each other."""
    times: Times = {}
    for name in SHAPES:
        findings.part(name, partial(_shape, setup, findings, name, times))
    for how in HOWS:
        _compare(setup, findings, times, how)


def _shape(setup: Setup, findings: Findings, name: str, times: Times) -> None:
    config, longest = setup.shape(name), max(setup.contexts)
    decoder = random_decoder(config, setup.dtype, setup.device, longest)
    cache = random_cache(decoder, longest)
    for context in setup.contexts:
        floor = floor_ms(step_bytes(config, context, setup.dtype.itemsize), setup.bandwidth)
        for rows in ROWS:
            what = f"{name}, rows {rows}, context {context}"
            ways = step_ways(setup, findings, decoder, cache, rows, context - rows, what)
            found = interleaved_ms(setup.device, ways, setup.repeats)
            times.update({(name, context, rows, how): ms for how, ms in found.items()})
            findings.add("a forward pass", model=name, context=context, rows=rows, floor_ms=floor, **columns(found, floor))


def columns(found: Mapping[str, float], floor: float) -> dict[str, float]:
    """The milliseconds of each way of running something, and the share of them that the floor explains."""
    return {f"{how}_ms": ms for how, ms in found.items()} | {f"{how}_share": floor / ms for how, ms in found.items()}


def _compare(setup: Setup, findings: Findings, times: Times, how: str) -> None:
    short, most = setup.contexts[0], max(ROWS)
    for name in SHAPES:
        for context in setup.contexts:
            if (name, context, most, how) in times:
                ratio = times[name, context, most, how] / times[name, context, 1, how]
                findings.add("16 rows against 1", model=name, context=context, how=how, ratio=ratio)
                if (name, context) == (LLAMA_8B, short):
                    findings.goal(VERIFY, f"{name}, context {short}, {how}", ratio)
    plain = times.get((LLAMA_8B, short, 1, how))
    sibling = times.get((LLAMA_1B, short, 1, how))
    if plain is not None:
        floor = floor_ms(step_bytes(setup.shape(LLAMA_8B), short, setup.dtype.itemsize), setup.bandwidth)
        findings.goal(PLAIN_STEP, f"{LLAMA_8B}, context {short}, {how}", floor / plain)
        if sibling is not None:
            findings.goal(SIBLING_STEP, f"context {short}, {how}", sibling / plain)
