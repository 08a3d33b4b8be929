"""Stage `int4`: each 4-bit kernel on each matrix of the 8B shape, and what a step of the INT4 copy costs."""

from __future__ import annotations

import math
from functools import partial
from itertools import cycle, islice

import torch
from torch import Tensor

from gpu_checks.findings import Findings
from gpu_checks.floors import floor_ms, int4_matrix_bytes
from gpu_checks.forward import HOWS, step_ways, with_graph
from gpu_checks.goals import INT4_STEP
from gpu_checks.setup import ROWS, Setup
from gpu_checks.shapes import LLAMA_8B
from gpu_checks.steps import columns
from gpu_checks.synthetic import random_cache, random_weights
from gpu_checks.timing import Call, interleaved_ms
from specdec.architecture import ModelConfig
from specdec.checkpoint import Version
from specdec.model.decoder import Decoder
from specdec.model.int4 import BACKENDS, Backend, measure_backends
from specdec.model.linear import Dense, Linear, full_precision
from specdec.target import padded_capacity, prefill_tile_of

ROTATED_BYTES = 2**28
EXACT_ROWS = 8192
TIMED_BYTES = 2**32
CALLS = range(16, 513)
DENSE = "full precision"
TARGET, COPY = "target", "copy"


def measure(setup: Setup, findings: Findings) -> None:
    """The matrices with every backend that works here, then the whole step with each."""
    working = []
    for timing in measure_backends(setup.device.type, setup.dtype):
        if timing.relative_time is None:
            findings.skip(timing.name, timing.problem)
        else:
            working.append(Backend(timing.name, timing.relative_time))
    config = setup.shape(LLAMA_8B)
    for name, shape in matrices(config).items():
        findings.part(f"matrix {name}", partial(_matrix, setup, findings, name, shape, working))
    for backend in working:
        findings.part(f"step with {backend.name}", partial(_step, setup, findings, config, backend))


def matrices(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """The matrices of a model by name, each as [out, in]."""
    return {
        "qkv": (config.query_size + 2 * config.kv_size, config.hidden_size),
        "output": (config.hidden_size, config.query_size),
        "gate_up": (2 * config.intermediate_size, config.hidden_size),
        "down": (config.hidden_size, config.intermediate_size),
        "head": (config.vocab_size, config.hidden_size),
    }


def _matrix(setup: Setup, findings: Findings, name: str, shape: tuple[int, int], working: list[Backend]) -> None:
    out, width = shape
    dense = Dense(torch.randn(out, width, device=setup.device, dtype=setup.dtype).mul_(width**-0.5))
    x = torch.randn(max(ROWS), width, device=setup.device, dtype=setup.dtype)
    exact = exact_product(x, dense.weight)
    makers: dict[str, Version] = {DENSE: full_precision} | {backend.name: BACKENDS[backend.name] for backend in working}
    sizes = {DENSE: out * width * setup.dtype.itemsize}
    for kernel, make in makers.items():
        size = sizes.get(kernel, int4_matrix_bytes(out, width))
        floor = floor_ms(size, setup.bandwidth)
        layers = _copies(setup, dense, make, size)
        calls = 2 if setup.tiny else min(max(math.ceil(TIMED_BYTES / size), CALLS[0]), CALLS[-1])
        for rows in ROWS:
            ways = with_graph(setup, findings, _rotation(layers, calls, x[:rows]), f"{name} with {kernel}, rows {rows}")
            found = {how: ms / calls for how, ms in interleaved_ms(setup.device, ways, setup.repeats).items()}
            error = float((layers[0](x[:rows]).double() - exact[:rows]).norm() / exact[:rows].norm())
            findings.add(
                "a matrix product",
                matrix=name,
                out=out,
                width=width,
                kernel=kernel,
                rows=rows,
                error=error,
                floor_ms=floor,
                **columns(found, floor),
            )


def exact_product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T in float64, some rows of the matrix at a time."""
    return torch.cat([x.double() @ part.double().T for part in torch.split(weight, EXACT_ROWS)], dim=1)


def _copies(setup: Setup, dense: Dense, make: Version, size: int) -> list[Linear]:
    """As many copies of the matrix, each in memory of its own, as are together far larger than any cache."""
    count = 2 if setup.tiny else math.ceil(ROTATED_BYTES / size)
    return [make(Dense(dense.weight.clone())) for _ in range(count)]


def _rotation(layers: list[Linear], calls: int, x: Tensor) -> Call:
    """Some products in a row, each with the next copy of the matrix, so that none finds its weights in the cache."""
    turns = list(islice(cycle(layers), calls))

    @torch.inference_mode()
    def run() -> None:
        for layer in turns:
            layer(x)

    return run


def _step(setup: Setup, findings: Findings, config: ModelConfig, backend: Backend) -> None:
    """One row through the target and through its INT4 copy, taking turns; `c` is the ratio of their times."""
    context = setup.contexts[0]
    own, quantised = random_weights(config, setup.dtype, setup.device, [full_precision, backend.layer])
    target = Decoder(config, own, padded_capacity(context, prefill_tile_of(setup.device)))
    cache = random_cache(target, context)
    ways = step_ways(setup, findings, target, cache, 1, context - 1, "the target's step", f"{TARGET} ")
    copy = target.sharing(quantised)
    ways |= step_ways(setup, findings, copy, cache, 1, context - 1, f"a step with {backend.name}", f"{COPY} ")
    found = interleaved_ms(setup.device, ways, setup.repeats)
    for how in HOWS:
        if f"{TARGET} {how}" in found and f"{COPY} {how}" in found:
            target_ms, copy_ms = found[f"{TARGET} {how}"], found[f"{COPY} {how}"]
            cost = copy_ms / target_ms
            findings.add(
                "a step of the INT4 copy", kernel=backend.name, context=context, how=how, target_ms=target_ms, copy_ms=copy_ms, c=cost
            )
            findings.goal(INT4_STEP, f"{LLAMA_8B}, {backend.name}, context {context}, {how}", cost)
