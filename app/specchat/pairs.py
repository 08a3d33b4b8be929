"""What `specchat pairs` shows: for each pair what is on disk, what it needs in memory, whether that fits and what is in the way."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from specchat.visible import visible
from specdec.architecture import ModelConfig, read_config
from specdec.compatibility import check_pair
from specdec.errors import CheckpointError
from specdec.hub import DiskState, disk_state
from specdec.memory import Fit, Memory, PairNeed, estimate_need, judge, largest_context, pair_need, resolve_dtype, size_text
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


def rows(pairs: Mapping[str, PairSpec], memory: Memory) -> list[PairRow]:
    """The listing of all pairs, in order; reads the disk only."""
    return [_pair_row(pair, memory) for pair in pairs.values()]


def table(listing: list[PairRow]) -> str:
    """The listing as plain text, at most 100 columns wide; `~` marks an estimate."""
    lines = [HEADER]
    for pair in listing:
        lines += _pair_lines(pair)
    return visible("\n".join(line.rstrip() for line in lines))


def _pair_row(pair: PairSpec, memory: Memory) -> PairRow:
    state = disk_state(pair.target)
    config, problem = _config(state.path)
    need = _need_row(pair, memory, config, None, 0)
    usable = config is not None and need.fit != "does not fit"
    return PairRow(
        name=pair.name,
        title=pair.title,
        license=pair.license,
        note=pair.note,
        context=pair.context,
        target=pair.target,
        on_disk=state.complete,
        bytes_to_fetch=_to_fetch(pair.download_bytes, state),
        need=need,
        drafts=tuple(_draft_row(pair, draft, memory, state.path, config) for draft in pair.drafts),
        problem=problem,
        usable=usable,
    )


def _draft_row(pair: PairSpec, draft: DraftSpec, memory: Memory, target_dir: Path | None, target: ModelConfig | None) -> DraftRow:
    compatible: Compatible = "yes"
    reasons: tuple[str, ...] = ()
    if draft.source is None:
        state = DiskState(target_dir, 0)
        need = _need_row(pair, memory, target, "int4", "int4")
    else:
        state = disk_state(draft.source)
        need = _need_row(pair, memory, target, _config(state.path)[0], draft.download_bytes)
        compatible = "unknown until downloaded"
        if target_dir is not None and state.path is not None:
            verdict = check_pair(target_dir, state.path)
            compatible, reasons = ("yes" if verdict.usable else "no"), verdict.reasons
    return DraftRow(
        name=draft.name,
        kind=draft.kind,
        source=draft.source,
        on_disk=state.complete,
        bytes_to_fetch=0 if draft.source is None else _to_fetch(draft.download_bytes, state),
        need=need,
        compatible=compatible,
        reasons=reasons,
        usable=target is not None and state.complete and compatible == "yes" and need.fit != "does not fit",
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


def _need_row(
    pair: PairSpec,
    memory: Memory,
    target: ModelConfig | None,
    draft: ModelConfig | Literal["int4"] | None,
    draft_download: int | Literal["int4"],
) -> NeedRow:
    known = target is not None and (draft is not None or not draft_download)
    dtype = resolve_dtype(pair.dtype, memory.device)
    if target is not None and known:
        need = pair_need(target, draft, pair.context, dtype, memory.device)
        most = largest_context(target, draft, memory, dtype)
    else:
        need = estimate_need(pair.download_bytes, draft_download, pair.context, dtype, memory.device)
        most = None
    return _against(need, memory, not known, most)


def _against(need: PairNeed, memory: Memory, estimated: bool, most: int | None) -> NeedRow:
    spare = memory.free - need.total
    return NeedRow(total_bytes=need.total, estimated=estimated, fit=judge(need, memory), spare_bytes=spare, largest_context=most)


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
