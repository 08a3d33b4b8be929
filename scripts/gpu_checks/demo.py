"""The built-in demo pair on the device, with each of its drafters beside the one target."""

from __future__ import annotations

from gpu_checks.findings import Findings
from gpu_checks.setup import DtypeName, Setup
from specdec.draft_plan import SIBLING
from specdec.drafting.base import Drafter
from specdec.loading import Pair, load_pair, with_draft
from specdec.memory import INT4
from specdec.options import LoadOptions

TARGET_SOURCE, SIBLING_SOURCE = "builtin:demo/target", "builtin:demo/sibling"


def load_options(setup: Setup, dtype: DtypeName) -> LoadOptions:
    """The target alone, in exact mode."""
    return LoadOptions(target=TARGET_SOURCE, dtype=dtype, device=str(setup.device), exact="on")


def load_demo(setup: Setup, findings: Findings, dtype: DtypeName) -> tuple[Pair, dict[str, list[Drafter]]]:
    """The pair, and every drafter that works here by its name."""
    pair = load_pair(load_options(setup, dtype))
    drafters: dict[str, list[Drafter]] = {pair.ngram.name: [pair.ngram]}
    for name, source in {SIBLING: SIBLING_SOURCE, INT4: INT4}.items():
        drafted = with_draft(pair, source)
        if drafted.drafter is None:
            findings.skip(f"{name} draft in {dtype}", drafted.ready.draft_problem)
        else:
            drafters[name] = [drafted.drafter]
    return pair, drafters
