"""Which model drafts for a target: looked up and checked before anything is read, and left out with a reason where it cannot serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from specdec.architecture import ModelConfig, read_config
from specdec.checkpoint import Version
from specdec.compatibility import check_pair
from specdec.errors import CheckpointError, HubError, IncompatibleDraftError, SpecError
from specdec.events import Ready
from specdec.hub import locate
from specdec.memory import INT4, INT4_SHARED_HEAD, Draft, is_copy
from specdec.model.int4 import Backend, choose_backend
from specdec.model.linear import Dense, Linear, full_precision

SIBLING: Literal["sibling"] = "sibling"
# At 0.7 of full precision's time for a matrix, an INT4 sibling makes answers about a fifth faster and is accepted hardly less often.
WORTHWHILE_TIME = 0.85


@dataclass(frozen=True)
class DraftPlan:
    """Which model will draft: its kind, its directory and config (the target's own for an INT4 copy), and what multiplies in INT4.

    A sibling without a backend stays in full precision. `problem` is why there is no draft although `source` was asked for.
    """

    source: str | None
    directory: Path
    config: ModelConfig
    kind: Literal["int4", "sibling"] | None = None
    backend: Backend | None = None
    problem: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def need(self) -> Draft:
        """The draft as the memory estimate wants it."""
        if self.kind is None:
            return None
        return self.source if is_copy(self.source) else self.config

    def layer(self, dense: Dense) -> Linear:
        """What the draft makes of a matrix of its model; a head that is the target's own stays what it is."""
        if self.source == INT4_SHARED_HEAD and len(dense.weight) == self.config.vocab_size:
            return dense
        return self.backend.layer(dense) if self.backend else full_precision(dense)

    @property
    def copies(self) -> list[Version]:
        """What is to be made of the target's matrices for the draft while they are read."""
        return [self.layer] if self.kind == INT4 else []

    def without(self, error: SpecError) -> DraftPlan:
        """The plan to run without the draft that failed."""
        warnings = (*self.warnings, f"Running without the draft model. {error}")
        return replace(self, kind=None, backend=None, problem=error.cause, warnings=warnings)

    def tell(self, ready: Ready) -> Ready:
        """What is said of the target, and of the draft too."""
        update = {
            "draft": self.source if self.kind else None,
            "draft_kind": self.kind,
            "draft_backend": self.backend.name if self.backend else None,
            "draft_problem": self.problem,
            "warnings": ready.warnings + self.warnings,
        }
        return ready.model_copy(update=update)


def plan_draft(draft: str | None, target: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> DraftPlan:
    """Decide on the draft; one that is missing or does not fit its target becomes a warning and the plan's problem."""
    plan = DraftPlan(draft, target, config)
    if draft is None:
        return plan
    try:
        if is_copy(draft):
            return replace(plan, kind="int4", backend=choose_backend(device.type, dtype))
        directory = locate(draft)
        compatibility = check_pair(target, directory)
        if not compatibility.usable:
            raise IncompatibleDraftError(f"The draft {directory.name} does not fit its target: {' '.join(compatibility.reasons)}")
        return DraftPlan(draft, directory, read_config(directory), SIBLING, _quick_backend(device, dtype), "", compatibility.reasons)
    except (HubError, CheckpointError, IncompatibleDraftError) as error:
        return plan.without(error)


def other_needs(draft: str | None, others: Sequence[str]) -> dict[str, Draft]:
    """The drafts on disk that could be offered instead of one, as the memory estimate wants them; lighter copies of the target first."""
    found: dict[str, Draft] = {INT4_SHARED_HEAD: INT4_SHARED_HEAD} if draft == INT4 else {}
    for source in others:
        try:
            found[source] = source if is_copy(source) else read_config(locate(source))
        except (HubError, CheckpointError):
            continue
    return found


def _quick_backend(device: torch.device, dtype: torch.dtype) -> Backend | None:
    """An INT4 kernel for a sibling, where it is clearly faster; a draft's precision can cost acceptance, never text."""
    try:
        backend = choose_backend(device.type, dtype)
    except IncompatibleDraftError:
        return None
    return backend if backend.relative_time < WORTHWHILE_TIME else None
