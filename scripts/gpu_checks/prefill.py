"""Stage `prefill`: how fast prompts are read, in chunks of the engine's own size and of a smaller one, against a large product's rate."""

from __future__ import annotations

from functools import partial

from gpu_checks.bandwidth import multiplications_per_second
from gpu_checks.findings import Findings
from gpu_checks.floors import prefill_operations
from gpu_checks.setup import Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B, QWEN_8B
from gpu_checks.synthetic import random_decoder
from gpu_checks.timing import interleaved_ms
from specdec.exactness import probe_tokens
from specdec.target import GPU_PREFILL_TILE, TILE, Target

REPEATS = 5


def measure(setup: Setup, findings: Findings) -> None:
    """Prompts as long as the contexts, into an empty cache."""
    rate = multiplications_per_second(setup.device, setup.dtype, 256 if setup.tiny else 8192)
    for name in (LLAMA_8B, QWEN_8B, LLAMA_1B):
        findings.part(name, partial(_shape, setup, findings, name, rate))


def _shape(setup: Setup, findings: Findings, name: str, rate: float) -> None:
    config = setup.shape(name)
    decoder = random_decoder(config, setup.dtype, setup.device, max(setup.contexts) + 2 * GPU_PREFILL_TILE)
    for count in setup.contexts:
        ways = {}
        for tile in (GPU_PREFILL_TILE, TILE):
            target = Target(decoder, count, prefill_tile=tile)
            ways[f"chunks of {tile}"] = partial(_read, target, probe_tokens(target, count))
        found = interleaved_ms(setup.device, ways, min(setup.repeats, REPEATS))
        floor = prefill_operations(config, count) / rate * 1000
        for chunks, ms in found.items():
            findings.add(
                "reading a prompt",
                model=name,
                tokens=count,
                chunks=chunks,
                floor_ms=floor,
                ms=ms,
                share=floor / ms,
                tokens_per_second=count / ms * 1000,
            )


def _read(target: Target, tokens: list[int]) -> None:
    for _ in target.prefill(tokens, 0):
        pass
