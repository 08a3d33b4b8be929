"""Stage `rounds`: end to end on the demo pair, plain decoding and every drafter taking turns."""

from __future__ import annotations

from gpu_checks.benching import bench, tell
from gpu_checks.demo import SIBLING_SOURCE, load_options
from gpu_checks.findings import Findings
from gpu_checks.setup import Setup
from specdec.benchmark.plan import BenchPlan, Method
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.benchmark.summary import PLAIN
from specdec.draft_plan import SIBLING
from specdec.memory import INT4
from specdec.options import Drafting

CATEGORIES = ("chat", "story", "edit", "repetitive")


def methods(sibling: str) -> tuple[Method, ...]:
    """Plain decoding and every drafter of a pair whose sibling lies there."""
    return (
        Method(name=PLAIN, drafting=Drafting(draft="off")),
        Method(name="ngram", drafting=Drafting(draft="ngram")),
        Method(name=SIBLING, drafting=Drafting(draft="model"), draft=sibling),
        Method(name=INT4, drafting=Drafting(draft="model"), draft=INT4),
        Method(name="auto", drafting=Drafting(draft="auto"), draft=sibling),
    )


def measure(setup: Setup, findings: Findings) -> None:
    """The engine's own benchmark of the demo pair, until the stage's time is over."""
    categories, per_category = (CATEGORIES[-1:], 1) if setup.tiny else (CATEGORIES, 3)
    plan = BenchPlan(
        load=load_options(setup, setup.dtypes[0]),
        methods=methods(SIBLING_SOURCE),
        temperatures=(0.0, 0.7),
        repeats=1 if setup.tiny else 3,
        max_tokens=16 if setup.tiny else 128,
        prompts=tuple(choose(read_prompts(OWN_PROMPTS), categories, per_category)),
    )
    found = bench(plan, findings)
    tell(found, findings, "demo pair")
    if found.problem is not None:
        findings.fail("demo pair", found.problem)
