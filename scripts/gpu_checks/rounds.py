"""Stage `rounds`: end to end on the demo pair, plain decoding and every drafter taking turns."""

from __future__ import annotations

import sys

from gpu_checks.demo import SIBLING_SOURCE, load_options
from gpu_checks.findings import Findings
from gpu_checks.setup import Setup
from specdec.benchmark import runner
from specdec.benchmark.plan import BenchPlan, Method
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.benchmark.summary import PLAIN, differences, summarise
from specdec.events import BenchStarted, Measured
from specdec.loading import INT4, SIBLING
from specdec.options import Drafting

METHODS = (
    Method(name=PLAIN, drafting=Drafting(draft="off")),
    Method(name="ngram", drafting=Drafting(draft="ngram")),
    Method(name=SIBLING, drafting=Drafting(draft="model"), draft=SIBLING_SOURCE),
    Method(name=INT4, drafting=Drafting(draft="model"), draft=INT4),
    Method(name="auto", drafting=Drafting(draft="auto"), draft=SIBLING_SOURCE),
)
CATEGORIES = ("chat", "story", "edit", "repetitive")


def measure(setup: Setup, findings: Findings) -> None:
    """The engine's own benchmark of the demo pair, until the stage's time is over."""
    categories, per_category = (CATEGORIES[-1:], 1) if setup.tiny else (CATEGORIES, 3)
    plan = BenchPlan(
        load=load_options(setup, setup.dtypes[0]),
        methods=METHODS,
        temperatures=(0.0, 0.7),
        repeats=1 if setup.tiny else 3,
        max_tokens=16 if setup.tiny else 128,
        prompts=tuple(choose(read_prompts(OWN_PROMPTS), categories, per_category)),
    )
    measured: list[Measured] = []
    for event in runner.run(plan, _tell, lambda: findings.seconds_left <= 0):
        if isinstance(event, BenchStarted):
            for name, reason in event.left_out.items():
                findings.skip(name, reason)
            findings.add("how the target runs", exact=event.environment.exact, reason=event.environment.exact_reason, answers=event.answers)
        elif isinstance(event, Measured):
            measured.append(event)
    apart = differences(measured)
    for key, figures in summarise(measured).items():
        findings.add(
            "end to end, demo pair",
            temperature=key.temperature,
            category=key.category,
            drafter=key.method,
            tokens_per_second=figures.tokens_per_second.median,
            speedup=figures.speedup.median if figures.speedup else None,
            speedup_low=figures.speedup.low if figures.speedup else None,
            speedup_high=figures.speedup.high if figures.speedup else None,
            tokens_per_round=figures.tokens_per_round,
            acceptance=figures.acceptance,
            draft_ms=figures.draft_ms,
            verify_ms=figures.verify_ms,
            host_ms=figures.host_ms,
        )
    findings.add("answers against plain decoding", answers=len(measured), different=len(apart))


def _tell(stage: str, done: int, total: int) -> None:
    if done == total:
        print(f"{stage} ...", file=sys.stderr, flush=True)
