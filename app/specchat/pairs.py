"""What `specchat pairs` shows: for each pair what is on disk, what it needs in memory, whether that fits and what is in the way."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from specchat.visible import visible
from specdec.architecture import ModelConfig, read_config
from specdec.compatibility import check_pair
from specdec.errors import CheckpointError
from specdec.hub import DiskState, disk_state
from specdec.memory import Draft, Fit, Memory, PairNeed, estimate_need, judge, largest_context, pair_need, resolve_dtype, size_text
from specdec.registry import DraftSpec, PairSpec

Compatible = Literal["yes", "no", "unknown until downloaded"]

WIDTH = 100
COLUMNS = "{:<20} {:<10} {:>11}  {:<26} {:>10}  {}"
HEADER = COLUMNS.format("PAIR", "DRAFT", "NEEDS", "FIT", "TO FETCH", "STATE")


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
    """One draft of a pair; `usable` means that the pair can be loaded with it as it is now."""

    name: str
    kind: Literal["int4", "sibling"]
    source: str | None
    on_disk: bool
    bytes_to_fetch: int
    need: NeedRow
    compatible: Compatible
    reasons: tuple[str, ...] = ()
    usable: bool


class PairRow(Row):
    """One pair; `need` is without a model draft, `problem` says why its target can never be loaded."""

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


def rows(pairs: Mapping[str, PairSpec], memory: Memory) -> list[PairRow]:
    """The listing of all pairs, in order; reads the disk only."""
    return [pair_row(survey(pair), memory, pair.context) for pair in pairs.values()]


def survey(pair: PairSpec) -> Survey:
    """Look for a pair on the disk; takes a second for large tokenizers, which are compared."""
    state = disk_state(pair.target)
    config, problem = _config(state.path)
    return Survey(pair, state, config, problem, tuple(_survey_draft(draft, state) for draft in pair.drafts))


def pair_row(found: Survey, memory: Memory, context: int) -> PairRow:
    """The row of a pair at a context in tokens; arithmetic only."""
    pair = found.spec
    alone = _need_row(found, None, memory, context)
    return PairRow(
        name=pair.name,
        title=pair.title,
        license=pair.license,
        note=pair.note,
        context=context,
        target=pair.target,
        on_disk=found.state.complete,
        bytes_to_fetch=_to_fetch(pair.download_bytes, found.state),
        need=alone,
        drafts=tuple(_draft_row(found, draft, memory, context) for draft in found.drafts),
        problem=found.problem,
        usable=found.config is not None and alone.fit != "does not fit",
    )


def need(found: Survey, draft: DraftSurvey | None, memory: Memory, context: int) -> tuple[PairNeed, bool]:
    """The bytes a pair needs with a draft, by what takes them, and whether they are estimated because a config is not on disk."""
    pair, dtype = found.spec, resolve_dtype(found.spec.dtype, memory.device)
    config, size = (draft.config, draft.spec.download_bytes) if draft else (None, 0)
    if found.config is not None and (config is not None or not size):
        return pair_need(found.config, config, context, dtype, memory.device), False
    return estimate_need(pair.download_bytes, "int4" if config == "int4" else size, context, dtype, memory.device), True


def table(listing: list[PairRow]) -> str:
    """The listing as plain text, at most 100 columns wide; `~` marks an estimate."""
    lines = [HEADER]
    for pair in listing:
        lines += _pair_lines(pair)
    return visible("\n".join(line.rstrip() for line in lines))


def _survey_draft(draft: DraftSpec, target: DiskState) -> DraftSurvey:
    if draft.source is None:
        return DraftSurvey(draft, DiskState(target.path, 0), "int4")
    state = disk_state(draft.source)
    config, _ = _config(state.path)
    if target.path is None or state.path is None:
        return DraftSurvey(draft, state, config, "unknown until downloaded")
    verdict = check_pair(target.path, state.path)
    return DraftSurvey(draft, state, config, "yes" if verdict.usable else "no", verdict.reasons)


def _draft_row(found: Survey, draft: DraftSurvey, memory: Memory, context: int) -> DraftRow:
    row = _need_row(found, draft, memory, context)
    ready = found.config is not None and draft.state.complete and draft.compatible == "yes"
    return DraftRow(
        name=draft.spec.name,
        kind=draft.spec.kind,
        source=draft.spec.source,
        on_disk=draft.state.complete,
        bytes_to_fetch=0 if draft.spec.source is None else _to_fetch(draft.spec.download_bytes, draft.state),
        need=row,
        compatible=draft.compatible,
        reasons=draft.reasons,
        usable=ready and row.fit != "does not fit",
    )


def _config(directory: Path | None) -> tuple[ModelConfig | None, str]:
    """A model's config, or None and, where it is on disk but cannot be loaded, the reason."""
    if directory is None:
        return None, ""
    try:
        return read_config(directory), ""
    except CheckpointError as error:
        return None, error.cause


def _to_fetch(download_bytes: int, state: DiskState) -> int:
    return 0 if state.complete else max(0, download_bytes - state.bytes_on_disk)


def _need_row(found: Survey, draft: DraftSurvey | None, memory: Memory, context: int) -> NeedRow:
    parts, estimated = need(found, draft, memory, context)
    most = None
    if found.config is not None and not estimated:
        dtype = resolve_dtype(found.spec.dtype, memory.device)
        most = largest_context(found.config, draft.config if draft else None, memory, dtype)
    spare = memory.free - parts.total
    return NeedRow(total_bytes=parts.total, estimated=estimated, fit=judge(parts, memory), spare_bytes=spare, largest_context=most)


def _pair_lines(pair: PairRow) -> list[str]:
    lines = [""]
    name = pair.name
    for draft in pair.drafts:
        to_fetch = draft.bytes_to_fetch + pair.bytes_to_fetch
        lines.append(_line(name, draft.name, draft.need, to_fetch, _state(pair, draft)))
        name = ""
    if not pair.drafts:
        lines.append(_line(name, "-", pair.need, pair.bytes_to_fetch, "ready" if pair.usable else _obstacle(pair, pair.on_disk)))
    about = f"{pair.title}, licence {pair.license}, context {pair.context}. {pair.note}"
    reasons = [f"{draft.name}: {reason}" for draft in pair.drafts for reason in draft.reasons if reason != pair.problem]
    for text in (about, *filter(None, (pair.problem,)), *reasons):
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def _line(pair: str, draft: str, need: NeedRow, to_fetch: int, state: str) -> str:
    needs = f"{'~ ' if need.estimated else ''}{size_text(need.total_bytes)}"
    left = f"{size_text(need.spare_bytes)} left" if need.spare_bytes >= 0 else f"short by {size_text(-need.spare_bytes)}"
    fit = left if need.fit == "does not fit" else f"{need.fit}, {left}"
    return COLUMNS.format(_short(pair, 20), _short(draft, 10), needs, fit, size_text(to_fetch) if to_fetch else "-", state)


def _state(pair: PairRow, draft: DraftRow) -> str:
    if draft.usable:
        return "ready"
    if draft.compatible == "no":
        return "incompatible"
    return _obstacle(pair, pair.on_disk and draft.on_disk)


def _obstacle(pair: PairRow, on_disk: bool) -> str:
    if pair.problem:
        return "unsupported"
    return "too large" if on_disk else "not on disk"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
