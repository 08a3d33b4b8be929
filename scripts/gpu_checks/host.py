"""Stage `host`: how much of a round the GPU works, and how much of it the host keeps it waiting."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from gpu_checks.answering import DrawnLengths, begin
from gpu_checks.demo import load_demo
from gpu_checks.findings import Findings
from gpu_checks.goals import IDLE
from gpu_checks.setup import Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B
from gpu_checks.synthetic import random_decoder
from specdec.draft_plan import SIBLING
from specdec.drafting.base import Drafter
from specdec.drafting.model import ModelDrafter
from specdec.exactness import probe_tokens
from specdec.options import Message, Sampling
from specdec.passes import recorder_for
from specdec.target import Target

PROMPT = (Message(role="user", content="Tell me a story about a dog."),)
PLAIN = "plain"
DRAFT_TOKENS = 4
WARM_UP_ANSWERS = 2
ANSWERS = 5
SYNTHETIC = f"{LLAMA_8B} with {LLAMA_1B}, random weights"


def measure(setup: Setup, findings: Findings) -> None:
    """The demo pair, whose steps are far too small for a GPU, and a pair of full size."""
    findings.part("demo pair", partial(_demo, setup, findings))
    findings.part(SYNTHETIC, partial(_synthetic, setup, findings))


def _demo(setup: Setup, findings: Findings) -> None:
    pair, drafters = load_demo(setup, findings, setup.dtypes[0])
    prompt = pair.codec.render((*PROMPT, Message(role="assistant", content="The dog saw the cat. " * 8)))
    _rounds(setup, findings, "demo pair", pair.target, {PLAIN: [], **drafters}, prompt, pair.codec.eos)


def _synthetic(setup: Setup, findings: Findings) -> None:
    context = setup.contexts[0]
    decoder, sibling = (random_decoder(setup.shape(name), setup.dtype, setup.device, context) for name in (LLAMA_8B, LLAMA_1B))
    record = recorder_for(setup.device)
    target = Target(decoder, context, record=record)
    ways: dict[str, list[Drafter]] = {
        PLAIN: [],
        SIBLING: [ModelDrafter(SIBLING, sibling, decoder.config.vocab_size, context, record=record)],
    }
    _rounds(setup, findings, SYNTHETIC, target, ways, probe_tokens(target, context // 2), ())


def _rounds(
    setup: Setup,
    findings: Findings,
    what: str,
    target: Target,
    ways: dict[str, list[Drafter]],
    prompt: Sequence[int],
    eos: Collection[int],
) -> None:
    """Each way's rounds timed as they are, then the work of the GPU in the same rounds under a profiler, which slows only the host."""
    max_tokens = 16 if setup.tiny else 48
    for name, drafters in ways.items():

        def rounds(drafters: Sequence[Drafter] = drafters) -> Iterator[object]:
            lengths = DrawnLengths(0, DRAFT_TOKENS, DRAFT_TOKENS)
            return begin(target, drafters, lengths, list(prompt), Sampling(temperature=0), eos, max_tokens)

        for _ in range(WARM_UP_ANSWERS):
            _wall_ms(setup, rounds())
        times = [_wall_ms(setup, rounds()) for _ in range(ANSWERS)]
        wall = statistics.median(times)
        busy = _busy_ms(setup, findings, rounds())
        idle = None if busy is None else 1 - busy / wall
        host = None if busy is None else wall - busy
        findings.add("a round", models=what, drafter=name, wall_ms=wall, gpu_ms=busy, gpu_waits_ms=host, gpu_idle_share=idle)
        if idle is not None and what == SYNTHETIC:
            findings.goal(IDLE, f"{what}, {name}", idle)


def _wall_ms(setup: Setup, rounds: Iterator[object]) -> float:
    """Milliseconds of one of these rounds, the mean over all of them."""
    _finish(setup)
    began = time.perf_counter()
    count = sum(1 for _ in rounds)
    _finish(setup)
    return (time.perf_counter() - began) * 1000 / count


def _busy_ms(setup: Setup, findings: Findings, rounds: Iterator[object]) -> float | None:
    """Milliseconds that kernels and copies take on the GPU in one of these rounds."""
    if not setup.on_gpu:
        findings.skip("GPU time of a round", "the device is a CPU")
        return None
    _finish(setup)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        count = sum(1 for _ in rounds)
        _finish(setup)
    worked = sum(event.time_range.elapsed_us() for event in profiler.events() or () if event.device_type.name == "CUDA")
    if not worked:
        findings.skip("GPU time of a round", "the profiler saw no work on the GPU")
        return None
    return float(worked) / 1000 / count


def _finish(setup: Setup) -> None:
    if setup.on_gpu:
        torch.cuda.synchronize(setup.device)
