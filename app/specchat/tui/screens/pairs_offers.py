"""The ways a pair can be run, with one of its drafts or with none, what is in the way of each, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from specchat.choices import NO_DRAFT
from specchat.downloads import Download
from specchat.pairs import NeedRow, Survey, need, pair_row
from specdec.memory import Memory, PairNeed, judge, size_text

Status = Literal["ready", "to fetch", "queued", "downloading", "paused", "failed", "too large", "incompatible", "unsupported"]
SHORTEST, LONGEST, LONGEST_GUESS = 2**10, 2**17, 2**15


@dataclass(frozen=True)
class Offer:
    """One way to run a pair: `draft` is a name or `none`; `reasons` tell why the draft cannot serve, or what to know of it.

    `bytes_to_fetch` counts target and draft; `percent` is that of a download under way, None while its size is unknown.
    """

    draft: str
    about: str
    status: Status
    on_disk: bool
    bytes_to_fetch: int
    need: NeedRow
    parts: PairNeed
    reasons: tuple[str, ...] = ()
    percent: int | None = None


def offers(found: Survey, memory: Memory, context: int, download: Download | None) -> list[Offer]:
    """All ways to run a pair at a context in tokens: its drafts, best first, then none."""
    row = pair_row(found, memory, context)
    percent = 100 * download.done // download.total if download is not None and download.total else None
    listed = []
    for survey, draft in zip((*found.drafts, None), (*row.drafts, None), strict=True):
        on_disk = row.on_disk and (draft is None or draft.on_disk)
        needed = row.need if draft is None else draft.need
        compatible = draft is None or draft.compatible != "no"
        listed.append(
            Offer(
                draft=NO_DRAFT if draft is None else draft.name,
                about="n-gram lookup only" if draft is None else draft.source or "the target's own weights in 4 bits",
                status=_status(found.problem, on_disk, compatible, needed.fit != "does not fit", download),
                on_disk=on_disk,
                bytes_to_fetch=row.bytes_to_fetch + (0 if draft is None else draft.bytes_to_fetch),
                need=needed,
                parts=need(found, survey, memory, context)[0],
                reasons=() if draft is None else draft.reasons,
                percent=percent,
            )
        )
    return listed


def contexts(found: Survey) -> list[int]:
    """The contexts to choose from, in tokens: powers of two up to the model's limit, and the pair's own."""
    limit = found.config.max_positions if found.config else max(LONGEST_GUESS, found.spec.context)
    powers = {SHORTEST << step for step in range((LONGEST // SHORTEST).bit_length())}
    return sorted({length for length in powers if length <= limit} | {found.spec.context})


def fits(found: Survey, draft: str, memory: Memory, context: int) -> bool:
    """Whether a pair fits into memory with a draft, by its name, at a context in tokens."""
    survey = next((each for each in found.drafts if each.spec.name == draft), None)
    return judge(need(found, survey, memory, context)[0], memory) != "does not fit"


def guidance(found: Survey, offer: Offer, memory: Memory, context: int) -> str:
    """What Enter would do with an offer, or what is in its way and how to go on; one or two sentences."""
    match offer.status:
        case "ready":
            return "Enter uses it."
        case "unsupported":
            return f"{found.problem} Pick another pair."
        case "incompatible":
            return f"{' '.join(offer.reasons)} Pick another draft."
        case "queued" | "downloading":
            return "It can be used once it is downloaded; p pauses."
        case "paused" | "failed":
            return "d goes on with the download where it ended."
    lacking = _shortage(found, offer, memory, context)
    size = f" {size_text(offer.bytes_to_fetch)}" if offer.bytes_to_fetch else ""
    if offer.status == "to fetch":
        return f"Not on disk. Download{size}? Press d."
    return lacking if offer.on_disk else f"{lacking} Download{size} all the same? Press d."


def context_text(tokens: int) -> str:
    """A context length for people: `16k`."""
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)


def _status(problem: str, on_disk: bool, compatible: bool, fits: bool, download: Download | None) -> Status:
    if problem:
        return "unsupported"
    if not on_disk and download is not None and download.state != "done":
        return "downloading" if download.state == "running" else download.state
    if not compatible:
        return "incompatible"
    if not fits:
        return "too large"
    return "ready" if on_disk else "to fetch"


def _shortage(found: Survey, offer: Offer, memory: Memory, context: int) -> str:
    """How much memory is missing, and which other draft or context would fit."""
    place = "the GPU" if memory.device == "gpu" else "memory"
    about = "about " if offer.need.estimated else ""
    short = f"It is {about}{size_text(-offer.need.spare_bytes)} too large for {place}."
    hints = list(_fitting(found, offer, memory, context))
    return f"{short} {' or '.join(hints)} would fit." if hints else f"{short} Free some memory or pick a smaller pair."


def _fitting(found: Survey, offer: Offer, memory: Memory, context: int) -> Iterator[str]:
    """The longest context that fits with the same draft, and the other draft that fits at the longest one, where it is longer still.

    Once the offer is on disk, so must the other draft be.
    """
    at_hand = [draft for draft in found.drafts if draft.state.complete or not offer.on_disk]
    drafts = [draft.spec.name for draft in at_hand if draft.compatible != "no"]
    lengths = [length for length in contexts(found) if length <= context]
    longest = {
        name: max((length for length in lengths if fits(found, name, memory, length)), default=0)
        for name in (offer.draft, *drafts, NO_DRAFT)
    }
    same = longest.pop(offer.draft)
    if same:
        yield f"A context of {context_text(same)}"
    best = max(longest, key=lambda name: longest[name], default=NO_DRAFT)
    if longest.get(best, 0) > same:
        words = "no model draft" if best == NO_DRAFT else f"the draft {best}"
        at = "" if longest[best] == context else f" at a context of {context_text(longest[best])}"
        yield f"{words}{at}" if same else f"{words[0].upper()}{words[1:]}{at}"
