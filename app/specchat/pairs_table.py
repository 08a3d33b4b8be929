"""What `specchat pairs` shows: a line for each way to load a pair, and sentences about it below."""

from __future__ import annotations

import textwrap

from specchat.pairs import LOSS, DraftRow, NeedRow, PairRow
from specchat.visible import visible
from specdec.memory import INT8, size_text

WIDTH = 100
COLUMNS = "{:<20} {:<16} {:>11}  {:<20} {:>10}  {}"
HEADER = COLUMNS.format("PAIR", "DRAFT", "NEEDS", "FIT", "TO FETCH", "STATE")


def table(listing: list[PairRow]) -> str:
    """The listing as plain text, at most 100 columns wide; `~` marks an estimate."""
    lines = [HEADER]
    for pair in listing:
        lines += _pair_lines(pair)
    return visible("\n".join(line.rstrip() for line in lines))


def _pair_lines(pair: PairRow) -> list[str]:
    lines = [""]
    name = pair.name
    for draft in pair.drafts:
        to_fetch = draft.bytes_to_fetch + pair.bytes_to_fetch
        lines.append(_line(name, draft.name, draft.need, to_fetch, _state(pair, draft)))
        name = ""
    if pair.int8:
        to_fetch = pair.int8.bytes_to_fetch + pair.bytes_to_fetch
        lines.append(_line(name, INT8, pair.int8.need, to_fetch, _state(pair, pair.int8)))
    elif not pair.drafts:
        lines.append(_line(name, "-", pair.need, pair.bytes_to_fetch, "ready" if pair.usable else _obstacle(pair, pair.on_disk)))
    about = f"{pair.title}, licence {pair.license}, context {pair.context}. {pair.note}"
    reasons = [f"{draft.name}: {reason}" for draft in pair.drafts for reason in draft.reasons if reason != pair.problem]
    for text in (about, *filter(None, (pair.problem, rounding(pair))), *reasons):
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def rounding(pair: PairRow) -> str:
    """What 8 bits a weight cost, where a pair is offered so; else empty."""
    if pair.int8 is None:
        return ""
    draft = "no model draft" if pair.int8.kind == "none" else f"the draft {pair.int8.name}"
    return f"{INT8}, with {draft}, has {LOSS}."


def _line(pair: str, draft: str, need: NeedRow, to_fetch: int, state: str) -> str:
    needs = f"{'~ ' if need.estimated else ''}{size_text(need.total_bytes)}"
    left = f"{size_text(need.spare_bytes)} left" if need.spare_bytes >= 0 else f"short by {size_text(-need.spare_bytes)}"
    fit = left if need.fit == "does not fit" else f"{need.fit}, {left}"
    return COLUMNS.format(_short(pair, 20), _short(draft, 16), needs, fit, size_text(to_fetch) if to_fetch else "-", state)


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
