"""The ways a pair can be run, with one of its drafts or with none, what is in the way of each, and what would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specchat.downloads import Download
from specchat.pairs import (
    Kind,
    NeedRow,
    Survey,
    Variant,
    draft_row,
    fits,
    need,
    rounded,
    sharing_head,
    to_fetch,
    variants,
)
from specdec.memory import INT4, Memory, PairNeed, Way, offer_text, place_text, size_text
from specdec.memory import offers as fitting_ways

Status = Literal["ready", "to fetch", "queued", "downloading", "paused", "failed", "too large", "incompatible", "unsupported"]
SHORTEST, LONGEST, LONGEST_GUESS = 2**10, 2**17, 2**15
ABOUT: dict[Kind, str] = {
    "none": "n-gram lookup only",
    "int4": "the target's own weights in 4 bits",
    "int4-shared-head": "the target's own weights in 4 bits, but for its output head: lighter",
}


@dataclass(frozen=True)
class Offer:
    """One way to run a pair; `reasons` tell why the draft cannot serve, or what to know of it.

    `bytes_to_fetch` counts target and draft; `percent` is that of a download under way, None while its size is unknown.
    """

    variant: Variant
    about: str
    status: Status
    on_disk: bool
    bytes_to_fetch: int
    need: NeedRow
    parts: PairNeed
    reasons: tuple[str, ...] = ()
    percent: int | None = None


def offers(found: Survey, memory: Memory, context: int, download: Download | None, picked: Way) -> list[Offer]:
    """All ways to run a pair at a context in tokens: its drafts, best first, then none, and lighter ones where these do not fit.

    `picked`, by the name of a draft, stays among them.
    """
    percent = 100 * download.done // download.total if download is not None and download.total else None
    listed = []
    for variant in variants(found, memory, context, picked):
        row = draft_row(found, variant, memory, context)
        on_disk = found.state.complete and row.on_disk
        source = row.source or ABOUT[variant.kind]
        listed.append(
            Offer(
                variant=variant,
                about=f"the target in 8 bits a weight; draft: {source}" if variant.int8 else source,
                status=_status(found.problem, on_disk, row.compatible != "no", row.need.fit != "does not fit", download),
                on_disk=on_disk,
                bytes_to_fetch=to_fetch(found.spec.download_bytes, found.state) + row.bytes_to_fetch,
                need=row.need,
                parts=need(found, variant, memory, context)[0],
                reasons=row.reasons,
                percent=percent,
            )
        )
    return listed


def contexts(found: Survey) -> list[int]:
    """The contexts to choose from, in tokens: powers of two up to the model's limit, and the pair's own."""
    limit = found.config.max_positions if found.config else max(LONGEST_GUESS, found.spec.context)
    powers = {SHORTEST << step for step in range((LONGEST // SHORTEST).bit_length())}
    return sorted({length for length in powers if length <= limit} | {found.spec.context})


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
    """How much memory is missing, and which of the contexts, drafts and precisions to pick from would fit.

    Once the offer is on disk, so must the other drafts be.
    """
    about = "about " if offer.need.estimated else ""
    short = f"It is {about}{size_text(-offer.need.spare_bytes)} too large for {place_text(memory)}."
    at_hand = [draft for draft in found.drafts if draft.compatible != "no" and (draft.state.complete or not offer.on_disk)]
    lighter = [sharing_head(draft) for draft in at_hand if draft.config == INT4]
    others = [*lighter, *at_hand] if offer.variant.kind == "int4" else [*at_hand, *lighter]
    drafts = {draft.spec.name: draft for draft in (*others, *filter(None, (offer.variant.draft,)))}
    lengths = sorted(length for length in {*contexts(found), context} if length <= context)

    def longest(way: Way) -> int:
        variant = Variant(drafts[way.draft] if way.draft is not None else None, way.int8)
        return max((length for length in lengths if fits(found, variant, memory, length)), default=0)

    asked = Way(offer.variant.draft.spec.name if offer.variant.draft else None, offer.variant.int8 or rounded(found))
    names = [draft.spec.name for draft in others]
    hints = [offer_text(asked, way, context, fitting) for way, fitting in fitting_ways(asked, names, context, longest)]
    return f"{short} What would fit: {'; '.join(hints)}." if hints else f"{short} Free some memory or pick a smaller pair."
