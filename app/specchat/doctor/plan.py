"""The short benchmark of a pair: one prompt of every kind, every way of decoding, about a minute on a small pair."""

from __future__ import annotations

from collections.abc import Sequence

from specchat.bench.methods import AUTO, COUPLED, methods
from specchat.choices import NO_DRAFT, options_for
from specchat.pairs import DraftRow, PairRow
from specdec.benchmark.plan import BenchPlan, Method
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.memory import size_text
from specdec.options import Drafting
from specdec.registry import PairSpec

REPEATS = 3
MAX_TOKENS = 64
GREEDY = 0.0


def short_plan(spec: PairSpec, row: PairRow) -> BenchPlan:
    """The benchmark of a pair with those of its drafts that can be used as it is now.

    Raises UsageError for a draft's name that means another way of decoding.
    """
    return BenchPlan(
        load=options_for(spec, NO_DRAFT, 0, "auto", Drafting()),
        methods=_methods([draft for draft in row.drafts if draft.usable]),
        prompts=tuple(choose(read_prompts(OWN_PROMPTS), per_category=1)),
        temperatures=(GREEDY,),
        repeats=REPEATS,
        max_tokens=MAX_TOKENS,
    )


def obstacle(row: PairRow) -> str:
    """Why a pair cannot be measured as it is now; empty if it can."""
    if row.problem:
        return row.problem
    if row.need.fit == "does not fit":
        return f"The pair does not fit into memory, even without a draft: it is short by {size_text(-row.need.spare_bytes)}."
    if not row.on_disk:
        return f"The pair is not on disk; `specchat pull {row.name}` fetches {size_text(row.bytes_to_fetch)}."
    return ""


def _methods(drafts: Sequence[DraftRow]) -> tuple[Method, ...]:
    """Plain, by n-grams, with each of the drafts, and as the engine chooses with the first of them."""
    every = methods({draft.name: draft.source or draft.kind for draft in drafts}, [COUPLED], [], against_transformers=False)
    return tuple(method for method in every if method.name == AUTO or method.drafting.draft != "auto")
