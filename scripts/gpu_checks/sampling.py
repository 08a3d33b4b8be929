"""Stage `sampling`: what drawing tokens costs beside the pass that gives their logits, for the device and for the host that asks for it."""

from __future__ import annotations

import time
from functools import partial
from itertools import count

import torch
from torch import Tensor

from gpu_checks.findings import Findings
from gpu_checks.floors import floor_ms, step_bytes
from gpu_checks.setup import Setup
from gpu_checks.shapes import LLAMA_8B, QWEN_8B
from gpu_checks.timing import Call, interleaved_ms, once_ms
from specdec.options import Sampling
from specdec.sampling import Sampler, plan

ROWS = (1, 5, 16)
SPREAD = 3.0
WAYS = {
    "greedy": Sampling(temperature=0),
    "temperature": Sampling(temperature=0.7),
    "top-k": Sampling(temperature=0.7, top_k=40),
    "top-p": Sampling(temperature=0.7, top_p=0.95),
    "min-p": Sampling(temperature=0.7, min_p=0.05),
    "penalty": Sampling(temperature=0.7, repetition_penalty=1.1),
}


def measure(setup: Setup, findings: Findings) -> None:
    """Vocabularies of two sizes; what a draw takes is also set beside the least that a plain step of the model can take."""
    for name in (LLAMA_8B, QWEN_8B):
        findings.part(name, partial(_vocabulary, setup, findings, name))


def _vocabulary(setup: Setup, findings: Findings, name: str) -> None:
    config = setup.shape(name)
    step = floor_ms(step_bytes(config, setup.contexts[0], setup.dtype.itemsize), setup.bandwidth)
    for rows in ROWS:
        logits = torch.randn(rows, config.vocab_size, generator=torch.Generator().manual_seed(rows)) * SPREAD
        there = logits.to(setup.device, setup.dtype)
        draws = {way: _drawing(setup, sampling, there) for way, sampling in WAYS.items()}
        found = interleaved_ms(setup.device, draws, setup.repeats)
        for way, ms in found.items():
            host = _host_ms(setup, draws[way])
            findings.add("a draw", model=name, rows=rows, way=way, ms=ms, host_ms=host, of_a_step=ms / step)


def _drawing(setup: Setup, sampling: Sampling, logits: Tensor) -> Call:
    """A draw at the next position each time, so that noise is made as often as in an answer."""
    vocabulary = logits.shape[1]
    context = range(0, vocabulary, max(1, vocabulary // 100))
    sampler = Sampler(plan(sampling.model_copy(update={"seed": 0}), {}), vocabulary, list(context), setup.device)
    drafted = torch.zeros(len(logits) - 1, dtype=torch.int64, device=setup.device)
    positions = count(len(context), len(logits))
    return lambda: sampler.draw(logits, next(positions), drafted)


def _host_ms(setup: Setup, call: Call) -> float:
    """The least milliseconds until the host may go on, of calls that find the device idle."""
    least = float("inf")
    for _ in range(setup.repeats):
        once_ms(setup.device, lambda: None)
        began = time.perf_counter()
        call()
        least = min(least, (time.perf_counter() - began) * 1000)
    return least
