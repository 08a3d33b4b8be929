"""An examination as text for people: short sections, 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from specchat.bench.texts import listing
from specchat.doctor.examination import Gains
from specchat.doctor.plan import GREEDY
from specchat.pairs import DraftRow, PairRow
from specchat.pairs_table import rounding
from specdec.benchmark.diagnosis import Finding
from specdec.benchmark.summary import OVERALL, PLAIN, Figures, Key
from specdec.machine_facts import Gpu, Int4Timing, MachineFacts
from specdec.memory import INT8, Memory, size_text

WIDTH = 80
INDENT = "  "
LABEL = 12
NEEDS = "  {:<18.18} {:>12}  {:<13} {:>12} {:>16}"
GAINS = "  {:<16.16} {:>7} {:>8} {:>12} {:>10} {:>9} {:>10}"
WELL = "All is well: speculation gains here what it can."


def machine_section(facts: MachineFacts) -> str:
    """What the machine offers."""
    rows = [
        ("processor", f"{facts.processor}, {facts.cores} cores to use"),
        ("memory", f"{size_text(facts.free_bytes)} free of {size_text(facts.total_bytes)}"),
        *(("GPU", _gpu(gpu, facts)) for gpu in facts.gpus),
        *([] if facts.gpus else [("GPU", "none found")]),
        ("device", f"{facts.device}; a large copy there reads and writes {size_text(round(facts.copy_bytes_per_second))} a second"),
        ("torch", f"{facts.versions.get('torch') or 'missing'}, {f'CUDA {facts.cuda}' if facts.cuda else 'built without CUDA'}"),
        ("packages", ", ".join(f"{name} {version or 'missing'}" for name, version in facts.versions.items() if name != "torch")),
        *(("INT4", words) for words in _int4(facts.int4, facts.int4_chosen)),
    ]
    return _section("Machine", _table(rows))


def pair_section(pair: PairRow, memory: Memory) -> str:
    """What a pair needs, with each draft and with none, against what is free."""
    place = "on the GPU" if memory.device == "gpu" else "in memory"
    needs = {"none": pair.need} | {draft.name: draft.need for draft in pair.drafts}
    if pair.int8:
        needs[INT8] = pair.int8.need
    tilde = " ~ marks an estimate." if any(need.estimated for need in needs.values()) else ""
    lines = [
        *_wrapped(f"{pair.title}, context {pair.context}; {size_text(memory.free)} free {place}.{tilde}", INDENT),
        NEEDS.format("DRAFT", "NEEDS", "FIT", "LEFT", "LONGEST CONTEXT"),
    ]
    for name, need in needs.items():
        total = f"{'~ ' if need.estimated else ''}{size_text(need.total_bytes)}"
        longest = "-" if need.largest_context is None else f"{need.largest_context}"
        lines.append(NEEDS.format(name, total, need.fit, size_text(need.spare_bytes), longest))
    for draft in pair.drafts:
        for reason in _reasons(pair, draft):
            lines += _wrapped(f"{draft.name}: {reason}", INDENT)
    lines += _wrapped(rounding(pair), INDENT)
    return _section(f"Pair {pair.name}", lines)


def gain_section(gains: Gains) -> str:
    """What every way of decoding gained over plain decoding, all prompts together, and whether any changed a text."""
    found = gains.measurements
    plan = found.plan
    lines: list[str] = []
    if found.started:
        where = found.started.environment
        lines += _wrapped(
            f"{where.dtype} on {where.device}, {_count(where.threads, 'thread')}, "
            f"exact mode {'on' if where.exact else 'off'}: {where.exact_reason}.",
            INDENT,
        )
    rows = [(method.name, gains.figures.get(Key(GREEDY, method.name, OVERALL))) for method in plan.methods]
    measured = [_gain(name, row) for name, row in rows if row is not None]
    if measured:
        lines += [GAINS.format("METHOD", "TOK/S", "SPEEDUP", "QUARTILES", "PREDICTED", "ACCEPTED", "TOK/ROUND"), *measured]
    for name, reason in (found.started.left_out if found.started else {}).items():
        lines += _wrapped(f"{name} was left out: {reason}", INDENT)
    for sentence in listing(gains.texts).items:
        lines += _wrapped(sentence, INDENT)
    if found.interrupted or found.error:
        of = f" of {found.started.answers}" if found.started else ""
        lines += _wrapped(f"Ended after {len(found.measured)}{of} answers{'' if measured else ', before the first repeat'}.", INDENT)
    settings = f"{_count(len(plan.prompts), 'prompt')}, {plan.max_tokens} tokens each, greedy, {_count(plan.repeats, 'repeat')}"
    return _section(f"Speculation: {settings}", lines)


def obstacle_section(reason: str) -> str:
    """Why nothing was measured."""
    return _section("Speculation: not measured", _wrapped(reason, INDENT))


def finding_section(findings: Sequence[Finding], well: bool) -> str:
    """What holds speculation back, or that nothing does; empty where neither can be said."""
    if not findings:
        return _section("Diagnosis", [INDENT + WELL]) if well else ""
    lines: list[str] = []
    for number, finding in enumerate(findings, 1):
        lines += _wrapped(f"{number}. {finding.name}: {finding.measured}", INDENT, INDENT + "   ")
        lines += _wrapped(finding.sentence, INDENT + "   ")
        lines += _wrapped(f"Next: {finding.next_step}", INDENT + "   ")
    return _section("Diagnosis", lines)


def _gpu(gpu: Gpu, facts: MachineFacts) -> str:
    unused = "" if facts.device != "cpu" else "; not used: " + ("torch cannot reach it" if facts.cuda else "torch is built without CUDA")
    return (
        f"{gpu.name}, {size_text(gpu.free_bytes)} free of {size_text(gpu.total_bytes)}, "
        f"driver {gpu.driver}, compute capability {gpu.capability}{unused}"
    )


def _int4(timings: Sequence[Int4Timing], chosen: str | None) -> list[str]:
    """A line for each backend: its time, or what is in the way, and why it is the one in use."""
    working = sum(timing.relative_time is not None for timing in timings)
    why = "the fastest" if working > 1 else "the only one that works"
    return [
        f"{timing.name}: {timing.problem}"
        if timing.relative_time is None
        else f"{timing.name}: {timing.relative_time:.2f} of full precision's time{f'; chosen, {why}' if timing.name == chosen else ''}"
        for timing in timings
    ] or ["no backend"]


def _reasons(pair: PairRow, draft: DraftRow) -> list[str]:
    fetch = [] if draft.on_disk or not pair.on_disk else [f"not on disk; `specchat pull {pair.name} --draft {draft.name}` fetches it."]
    return [*fetch, *(reason for reason in draft.reasons if reason != pair.problem)]


def _gain(name: str, figures: Figures) -> str:
    speedup = figures.speedup if name != PLAIN else None
    return GAINS.format(
        name,
        f"{figures.tokens_per_second.median:.1f}",
        f"{speedup.median:.2f}x" if speedup else "-",
        f"{speedup.low:.2f} to {speedup.high:.2f}" if speedup else "-",
        "-" if figures.predicted_speedup is None else f"{figures.predicted_speedup:.2f}x",
        "-" if figures.acceptance is None else f"{100 * figures.acceptance:.0f}%",
        f"{figures.tokens_per_round:.2f}",
    )


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([*_wrapped(title, ""), *(line.rstrip() for line in lines)])


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Rows of a label and its words; a label that repeats is shown once."""
    lines: list[str] = []
    last = ""
    for label, words in rows:
        lines += _wrapped(words, f"{INDENT}{'' if label == last else label:<{LABEL}}", " " * (len(INDENT) + LABEL))
        last = label
    return lines


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=first if rest is None else rest, break_on_hyphens=False)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
