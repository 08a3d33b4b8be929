"""How pairs, drafts, memory and downloads read on the screen: styled text of theme colours, told apart by words and glyphs too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from textual.content import Content
from textual.style import Style

from specchat.downloads import Download
from specchat.pairs import LOSS, Survey, Variant
from specchat.tui.screens.pairs_offers import Offer, Status, context_text
from specchat.tui.widgets.styles import MUTED
from specchat.visible import visible
from specdec.memory import INT8, Memory, PairNeed, size_text

GLYPHS: dict[Status, str] = {
    "ready": "●",
    "to fetch": "○",
    "queued": "◌",
    "downloading": "↓",
    "paused": "‖",
    "failed": "!",
    "too large": "▲",
    "incompatible": "≠",
    "unsupported": "✗",
}
COLOURS: dict[Status, str] = {
    "ready": "$text-success",
    "to fetch": MUTED,
    "queued": "$text-primary",
    "downloading": "$text-primary",
    "paused": "$text-warning",
    "failed": "$text-error",
    "too large": "$text-warning",
    "incompatible": "$text-error",
    "unsupported": "$text-error",
}
PARTS = (("target", "█", "$primary"), ("draft", "▓", "$accent"), ("kv", "▒", "$success"), ("workspace", "░", MUTED))
PART_NAMES = {"kv": "cache", "workspace": "runtime"}
DRAFT_HEAD = "Draft            State                  Needs  Memory"
DRAFT_WIDTH = 16
CONTEXT = "context"


def plain(text: str, style: str = "") -> Content:
    """Text of a model, user or file, never taken as markup; all in one line."""
    return Content.styled(" ".join(visible(text).split()), style)


def status(offer: Offer) -> str:
    """The state of an offer in words."""
    if offer.status == "to fetch" and offer.bytes_to_fetch:
        return f"to fetch {size_text(offer.bytes_to_fetch)}"
    if offer.status in ("downloading", "paused") and offer.percent is not None:
        return f"{offer.status} {offer.percent}%"
    return offer.status


def pair_line(found: Survey, offer: Offer, width: int, with_title: bool) -> Content:
    """A pair in the list: its name and the state of what is picked of it, and its title below."""
    words = status(offer)
    name = plain(found.spec.name, "bold").truncate(max(4, width - len(words) - 4), ellipsis=True)
    gap = " " * max(1, width - 2 - name.cell_length - len(words))
    line = Content.assemble((f"{GLYPHS[offer.status]} ", COLOURS[offer.status]), name, gap, (words, COLOURS[offer.status]))
    if not with_title:
        return line
    return Content("\n").join([line, Content.assemble("  ", plain(found.spec.title, MUTED).truncate(width - 2, ellipsis=True))])


def draft_line(offer: Offer) -> Content:
    """A draft among the choices: its name, state, need, and whether that fits; columns as in `DRAFT_HEAD`.

    Below 8 bits a weight stands what that costs.
    """
    name = plain(variant_name(offer.variant), "bold").truncate(DRAFT_WIDTH, ellipsis=True)
    need = f"{'~' if offer.need.estimated else ''}{size_text(offer.need.total_bytes)}"
    fit = "too large" if offer.need.fit == "does not fit" else offer.need.fit
    words = Content.styled(f"{GLYPHS[offer.status]} {status(offer)}".ljust(19), COLOURS[offer.status])
    line = Content.assemble(name.pad_right(DRAFT_WIDTH + 1 - name.cell_length), words, f"{need:>9}  {fit}")
    return Content("\n").join([line, Content.styled(f"  {LOSS}", "$text-warning")]) if offer.variant.int8 else line


def variant_name(variant: Variant) -> str:
    """A way to run a pair, by its draft: `int8, int4-shared-head`."""
    draft = variant.draft.spec.name if variant.draft else "no draft" if variant.int8 else "no model draft"
    return f"{INT8}, {draft}" if variant.int8 else draft


def draft_about(offer: Offer) -> Content:
    """What the picked draft is, and what to know of it."""
    return Content.assemble(plain(offer.about, MUTED), *(Content.assemble("  ", plain(each, "$text-warning")) for each in offer.reasons))


def about(found: Survey) -> Content:
    """What a pair is: title, target, licence and note."""
    pair = found.spec
    facts = plain(f"{pair.target}, licence {pair.license}", MUTED)
    lines = [plain(pair.title, "bold $text-primary"), facts, *([plain(pair.note)] if pair.note else [])]
    return Content("\n").join(lines)


def details_title(found: Survey) -> Content:
    """The name of a pair, and how to get to its drafts and contexts."""
    return Content.assemble(plain(found.spec.name, "bold"), ("  Tab: draft, context", MUTED))


def context_line(lengths: Sequence[int], fitting: Sequence[int], picked: int, focused: bool) -> Content:
    """The contexts to choose from, the picked one in brackets; those that do not fit are marked. Each part's meta holds its tokens."""
    line = Content.assemble(("Context ", "bold"))
    for length in lengths:
        words = context_text(length) if length in fitting else f"{context_text(length)}✗"
        if length == picked:
            part = Content.styled(f"[{words}]", "bold reverse" if focused else "bold $text-primary")
        else:
            part = Content.styled(f" {words} ", "" if length in fitting else MUTED)
        line = Content.assemble(line, part.stylize(Style.from_meta({CONTEXT: length})), " ")
    return line


def memory_lines(offer: Offer, memory: Memory, width: int) -> Content:
    """What an offer needs against what is free: a sentence, a bar whose end is the larger of both, and what takes the bytes."""
    need = offer.need
    place = "GPU memory" if memory.device == "gpu" else "Memory"
    left = f"{size_text(need.spare_bytes)} left" if need.spare_bytes >= 0 else f"short by {size_text(-need.spare_bytes)}"
    about = "~" if need.estimated else ""
    style = "bold $text-success" if need.fit == "fits" else "bold $text-warning" if need.fit == "tight" else "bold $text-error"
    sentence = Content.assemble(
        (place, "bold"),
        f" {about}{size_text(need.total_bytes)} of {size_text(memory.free)} free: ",
        (f"{need.fit}, {left}", style),
    )
    return Content("\n").join([sentence, _memory_bar(offer.parts, memory.free, width), *_legend(offer.parts, width)])


def download_lines(name: str, download: Download, width: int) -> Content:
    """A download that is not done: its bar with bytes, speed and time left, or why it failed and what to do."""
    if download.state == "failed" and download.error is not None:
        cause = plain(str(download.error))
        return Content.assemble((f"{GLYPHS['failed']} {visible(name)} failed: ", "bold $text-error"), cause)
    share = download.done / download.total if download.total else 0.0
    label = plain(name, "bold").truncate(20, ellipsis=True)
    bar_width = max(8, width - label.cell_length - 7)
    filled = round(share * bar_width)
    percent = f"{int(100 * share):>4}%" if download.total else "    "
    bar = Content.assemble(label, " ", ("━" * filled, "$primary"), ("─" * (bar_width - filled), MUTED), percent)
    return Content("\n").join([bar, plain("  " + ", ".join(_progress(download)), MUTED).truncate(width, ellipsis=True)])


def duration(seconds: float) -> str:
    """A time for people, rounded to two units: `2 min 50 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _progress(download: Download) -> list[str]:
    """What is known of a download, the most important first."""
    known = [f"{size_text(download.done)} of {size_text(download.total)}"] if download.total else []
    if download.state != "running":
        known.insert(0, "waits for the one before" if download.state == "queued" else "paused")
    elif download.bytes_per_second > 0:
        known.append(f"{size_text(round(download.bytes_per_second))}/s")
    if download.seconds_left is not None:
        known.append(f"{duration(download.seconds_left)} left")
    if download.state == "running":
        known.append(download.file or "asking the hub")
    return known


def _memory_bar(parts: PairNeed, free: int, width: int) -> Content:
    """Cells of each part, then of what stays free; where the pair is too large a bar stands where free memory ends."""
    whole = max(parts.total, free, 1)
    edges, at = [0], 0
    for name, _, _ in PARTS:
        at += getattr(parts, name)
        edges.append(round(at * width / whole))
    cells = [(glyph * (end - start), colour) for (_, glyph, colour), (start, end) in zip(PARTS, pairwise(edges), strict=True)]
    bar = Content.assemble(*cells, ("·" * (width - edges[-1]), MUTED))
    if parts.total <= free:
        return bar
    end = min(width - 1, free * width // whole)
    return Content.assemble(bar[:end], ("┃", "bold $text-error"), bar[end + 1 :])


def _legend(parts: PairNeed, width: int) -> list[Content]:
    """Each part of the bar with its bytes, in as many lines as it takes; parts of no bytes are left out."""
    lines: list[Content] = []
    for name, glyph, colour in PARTS:
        count = getattr(parts, name)
        part = Content.assemble((glyph, colour), f" {PART_NAMES.get(name, name)} {size_text(count)}")
        if count and lines and lines[-1].cell_length + 2 + part.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], "  ", part)
        elif count:
            lines.append(part)
    return lines
