"""What there is to know of each pair: what is on disk, what it needs in memory, whether that fits and what is in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from specchat.choices import NO_DRAFT
from specdec.architecture import ModelConfig, read_config
from specdec.compatibility import check_pair
from specdec.errors import CheckpointError
from specdec.hub import DiskState, disk_state
from specdec.memory import (
    INT4,
    INT4_SHARED_HEAD,
    INT8,
    Draft,
    Fit,
    Memory,
    PairNeed,
    PairShape,
    Way,
    estimate_need,
    judge,
    largest_context,
    pair_need,
    resolve_dtype,
)
from specdec.registry import DraftSpec, PairSpec

Compatible = Literal["yes", "no", "unknown until downloaded"]
Kind = Literal["int4", "int4-shared-head", "sibling", "none"]

LOSS = "8 bits a weight: other text than full precision"


class Row(BaseModel):
    """Base of what a listing is made of: immutable, and plain JSON when dumped."""

    model_config = ConfigDict(frozen=True)


class NeedRow(Row):
    """Bytes needed at the pair's context, against what is free; `spare_bytes` below 0 is how much is short.

    `estimated` means worked out from the download size, because no config is on disk. `largest_context` is the most tokens
    that fit, and None while estimated.
    """

    total_bytes: int
    estimated: bool
    fit: Fit
    spare_bytes: int
    largest_context: int | None = None


class DraftRow(Row):
    """One draft of a pair, or none; `usable` means that the pair can be loaded with it as it is now."""

    name: str
    kind: Kind
    source: str | None
    on_disk: bool
    bytes_to_fetch: int
    need: NeedRow
    compatible: Compatible
    reasons: tuple[str, ...] = ()
    usable: bool


class PairRow(Row):
    """One pair; `need` is without a model draft, `problem` says why its target can never be loaded.

    Where the pair's INT4 copy does not fit, the one without an output head of its own follows it among the `drafts`. Where one of
    these does not fit, `int8` is the pair with 8 bits a weight, with the first draft that fits so, or with none.
    """

    name: str
    title: str
    license: str
    note: str
    context: int
    target: str
    on_disk: bool
    bytes_to_fetch: int
    need: NeedRow
    drafts: tuple[DraftRow, ...]
    int8: DraftRow | None = None
    problem: str = ""
    usable: bool


@dataclass(frozen=True)
class DraftSurvey:
    """What the disk tells of a draft; the `config` of a sibling is None while it is not there or cannot be loaded."""

    spec: DraftSpec
    state: DiskState
    config: Draft
    compatible: Compatible = "yes"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What the disk tells of a pair: enough to work out its row at any context, without looking again."""

    spec: PairSpec
    state: DiskState
    config: ModelConfig | None
    problem: str
    drafts: tuple[DraftSurvey, ...]


@dataclass(frozen=True)
class Variant:
    """A pair as it can be loaded: with a draft or with none, in full precision or with 8 bits a weight."""

    draft: DraftSurvey | None
    int8: bool = False

    @property
    def name(self) -> str:
        """The name of its draft, or `none`."""
        return self.draft.spec.name if self.draft else NO_DRAFT

    @property
    def kind(self) -> Kind:
        """What drafts."""
        if self.draft is None:
            return "none"
        return self.draft.config if isinstance(self.draft.config, str) else "sibling"


def rows(pairs: Mapping[str, PairSpec], memory: Memory) -> list[PairRow]:
    """The listing of all pairs, in order; reads the disk only."""
    return [pair_row(survey(pair), memory, pair.context) for pair in pairs.values()]


def survey(pair: PairSpec) -> Survey:
    """Look for a pair on the disk; takes a second for large tokenizers, which are compared."""
    state = disk_state(pair.target)
    config, problem = _config(state.path)
    return Survey(pair, state, config, problem, tuple(_survey_draft(draft, state) for draft in pair.drafts))


def variants(found: Survey, memory: Memory, context: int, picked: Way | None = None) -> list[Variant]:
    """The ways to load a pair: its drafts, best first, then none; lighter ones only where one of these does not fit at the context.

    They are, for an INT4 copy that does not, the copy without an output head of its own, and last 8 bits a weight. What is `picked`,
    by the name of a draft, stays listed at any context.
    """
    drafts: list[DraftSurvey] = []
    for draft in found.drafts:
        drafts.append(draft)
        wanted = picked is not None and picked.draft == INT4_SHARED_HEAD
        if draft.config == INT4 and not found.problem and (wanted or not fits(found, Variant(draft), memory, context)):
            drafts.append(sharing_head(draft))
    listed = [*map(Variant, drafts), Variant(None)]
    if found.problem or rounded(found):
        return listed
    if picked is not None and picked.int8:
        drafts.sort(key=lambda draft: draft.spec.name != picked.draft)
        return [*listed, _rounded(found, drafts if picked.draft is not None else (), memory, context)]
    serving = [variant for variant in listed if variant.draft is None or variant.draft.compatible != "no"]
    if all(fits(found, variant, memory, context) for variant in serving):
        return listed
    return [*listed, _rounded(found, drafts, memory, context)]


def _rounded(found: Survey, drafts: Sequence[DraftSurvey], memory: Memory, context: int) -> Variant:
    """A pair with 8 bits a weight: with the first of the drafts that serves and fits so, else with none."""
    options = [Variant(draft, int8=True) for draft in drafts if draft.compatible != "no"]
    return next((variant for variant in options if fits(found, variant, memory, context)), Variant(None, int8=True))


def sharing_head(draft: DraftSurvey) -> DraftSurvey:
    """The lighter form of an INT4 copy: without an output head of its own."""
    return replace(draft, spec=DraftSpec(name=INT4_SHARED_HEAD, kind="int4"), config=INT4_SHARED_HEAD)


def rounded(found: Survey) -> bool:
    """Whether a pair has 8 bits a weight by its own choice, in all its variants."""
    return found.spec.dtype == INT8


def fits(found: Survey, variant: Variant, memory: Memory, context: int) -> bool:
    """Whether a variant of a pair fits into memory at a context in tokens."""
    return judge(need(found, variant, memory, context)[0], memory) != "does not fit"


def pair_row(found: Survey, memory: Memory, context: int) -> PairRow:
    """The row of a pair at a context in tokens; arithmetic only."""
    pair = found.spec
    listed = [(variant, draft_row(found, variant, memory, context)) for variant in variants(found, memory, context)]
    alone = next(row.need for variant, row in listed if variant == Variant(None))
    return PairRow(
        name=pair.name,
        title=pair.title,
        license=pair.license,
        note=pair.note,
        context=context,
        target=pair.target,
        on_disk=found.state.complete,
        bytes_to_fetch=to_fetch(pair.download_bytes, found.state),
        need=alone,
        drafts=tuple(row for variant, row in listed if variant.draft is not None and not variant.int8),
        int8=next((row for variant, row in listed if variant.int8), None),
        problem=found.problem,
        usable=found.config is not None and alone.fit != "does not fit",
    )


def draft_row(found: Survey, variant: Variant, memory: Memory, context: int) -> DraftRow:
    """The row of a variant of a pair at a context in tokens."""
    row = _need_row(found, variant, memory, context)
    draft = variant.draft
    ready = found.config is not None and (draft is None or (draft.state.complete and draft.compatible == "yes"))
    source = draft.spec.source if draft else None
    return DraftRow(
        name=variant.name,
        kind=variant.kind,
        source=source,
        on_disk=draft.state.complete if draft else found.state.complete,
        bytes_to_fetch=to_fetch(draft.spec.download_bytes, draft.state) if draft and source else 0,
        need=row,
        compatible=draft.compatible if draft else "yes",
        reasons=draft.reasons if draft else (),
        usable=ready and row.fit != "does not fit",
    )


def need(found: Survey, variant: Variant, memory: Memory, context: int) -> tuple[PairNeed, bool]:
    """The bytes a variant of a pair needs, by what takes them, and whether they are estimated because a config is not on disk."""
    shape = _shape(found, variant, memory)
    if shape is not None:
        return pair_need(shape, context), False
    draft, dtype = variant.draft, resolve_dtype(found.spec.dtype, memory.device)
    size = 0 if draft is None else draft.config if isinstance(draft.config, str) else draft.spec.download_bytes
    return estimate_need(found.spec.download_bytes, size, context, dtype, memory.device, variant.int8 or rounded(found)), True


def _survey_draft(draft: DraftSpec, target: DiskState) -> DraftSurvey:
    if draft.source is None:
        return DraftSurvey(draft, DiskState(target.path, 0), INT4)
    state = disk_state(draft.source)
    config, _ = _config(state.path)
    if target.path is None or state.path is None:
        return DraftSurvey(draft, state, config, "unknown until downloaded")
    verdict = check_pair(target.path, state.path)
    return DraftSurvey(draft, state, config, "yes" if verdict.usable else "no", verdict.reasons)


def to_fetch(download_bytes: int, state: DiskState) -> int:
    """Bytes of a source that are still to come."""
    return 0 if state.complete else max(0, download_bytes - state.bytes_on_disk)


def _shape(found: Survey, variant: Variant, memory: Memory) -> PairShape | None:
    """What would be loaded, None while that is not on disk; a sibling counts in full precision, as not every machine has it in INT4."""
    config, size = (variant.draft.config, variant.draft.spec.download_bytes) if variant.draft else (None, 0)
    if found.config is None or (config is None and size):
        return None
    dtype = resolve_dtype(found.spec.dtype, memory.device)
    return PairShape(found.config, config, dtype, memory.device, variant.int8 or rounded(found))


def _config(directory: Path | None) -> tuple[ModelConfig | None, str]:
    """A model's config, or None and, where it is on disk but cannot be loaded, the reason."""
    if directory is None:
        return None, ""
    try:
        return read_config(directory), ""
    except CheckpointError as error:
        return None, error.cause


def _need_row(found: Survey, variant: Variant, memory: Memory, context: int) -> NeedRow:
    parts, estimated = need(found, variant, memory, context)
    shape = _shape(found, variant, memory)
    most = None if shape is None else largest_context(shape, memory)
    spare = memory.free - parts.total
    return NeedRow(total_bytes=parts.total, estimated=estimated, fit=judge(parts, memory), spare_bytes=spare, largest_context=most)
