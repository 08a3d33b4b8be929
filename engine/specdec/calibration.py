"""Timing each step of a loaded pair on this machine, for the controller; bounded to about two seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import torch

from specdec.drafting.base import Drafter
from specdec.drafting.controller import Costs
from specdec.exactness import probe_tokens, timed_ms
from specdec.model.linear import MAX_ROWS
from specdec.moments import Moment
from specdec.options import Sampling
from specdec.sampling import Sampler, plan
from specdec.target import TILE, Target
from specdec.verification import Rule

BUDGET_MS = 2000.0
REPEATS = 5
ALL_THREADS = torch.get_num_threads()
ROWS = (1, 2, 4, 8, MAX_ROWS)
LENGTHS = (1, 5)


def calibrate(target: Target, drafters: Sequence[Drafter]) -> Costs:
    """Costs measured at a short context, the best of interleaved repeats; leaves the caches' contents undefined."""
    start = min(TILE // 4, max(0, target.context - 2 * MAX_ROWS))
    tokens = probe_tokens(target, start + MAX_ROWS)
    list(target.prefill(tokens[:start], 0))
    device = target.decoder.device
    sampler = Sampler(plan(Sampling(temperature=0, seed=0), {}), target.decoder.config.vocab_size, (), device)
    rows = [count for count in ROWS if count <= target.rows_left(start)]
    steps: dict[object, Callable[[], float]] = {count: lambda n=count: timed_ms(target, tokens[:n], start) for count in rows}  # type: ignore[misc]
    for drafter in drafters:
        for length in LENGTHS:
            steps[drafter.name, length] = lambda d=drafter, n=length: _draft_ms(d, n, tokens[: start + 1], sampler, device)  # type: ignore[misc]
    best = _interleaved(steps)
    drafts = {drafter.name: {length: best[drafter.name, length] for length in LENGTHS} for drafter in drafters}
    return Costs({count: best[count] for count in rows}, drafts)


def available_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(target: Target, spare_cores: int = 0) -> int:
    """One thread, unless all of them take a step at least a tenth faster; sets torch's thread count and returns it.

    All means that `spare_cores` of the machine's cores stay free.
    """
    every = max(1, min(ALL_THREADS, available_cores() - spare_cores))
    if target.decoder.device.type != "cpu" or every == 1:
        torch.set_num_threads(every)
        return every

    def step(threads: int) -> float:
        torch.set_num_threads(threads)
        return timed_ms(target, [0], 0) + timed_ms(target, [0] * 4, 0)

    best = _interleaved({1: lambda: step(1), every: lambda: step(every)})
    chosen = every if best[every] < 0.9 * best[1] else 1
    torch.set_num_threads(chosen)
    return chosen


def _draft_ms(drafter: Drafter, length: int, tokens: Sequence[int], sampler: Sampler, device: torch.device) -> float:
    """Milliseconds of a draft of that many tokens."""
    drafter.begin(tokens)
    began = Moment(device)
    drafter.propose(length, sampler, Rule("coupled"))
    return began.ms_until(Moment(device))


def _interleaved(steps: dict[object, Callable[[], float]]) -> dict[object, float]:
    """The best time of each step over interleaved rounds, as many as the budget allows but at least two (the first warms up)."""
    best: dict[object, float] = {}
    began = time.perf_counter()
    for repeat in range(REPEATS + 1):
        for name, step in steps.items():
            taken = step()
            best[name] = taken if repeat < 2 else min(best[name], taken)
        if repeat and (time.perf_counter() - began) * 1000 > BUDGET_MS:
            break
    return best
