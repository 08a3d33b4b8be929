"""What an answer cost, as a table for people."""

from __future__ import annotations

from specdec.events import DrafterStatistics, Ready, Statistics


def figures(statistics: Statistics, ready: Ready) -> str:
    """The statistics of one answer and how the engine ran it; one topic a line, a drafter with its positions below."""
    answer = statistics
    rows = [
        (
            "answer",
            f"{answer.answer_tokens} tokens, {answer.tokens_per_second:.1f} tokens/s, first token after {answer.first_token_ms:.0f} ms",
        ),
        ("prompt", f"{answer.prompt_tokens} tokens, {answer.reused_tokens} reused, prefill {answer.prefill_ms:.0f} ms"),
        ("rounds", f"{answer.rounds}, {answer.tokens_per_round:.2f} tokens per round"),
        ("time", f"draft {answer.draft_ms:.0f} ms, verify {answer.verify_ms:.0f} ms, decode {answer.decode_ms:.0f} ms"),
    ]
    for name, drafter in answer.drafters.items():
        rows += _drafter_rows(name, drafter)
    rows += [
        ("exact", f"{'on' if ready.exact else 'off'}: {ready.exact_reason}"),
        ("engine", f"{ready.target} on {ready.device}, {ready.dtype}, threads {ready.threads}, context {ready.context}"),
        ("draft", " ".join(dict.fromkeys(filter(None, (ready.draft, ready.draft_kind, ready.draft_backend)))) or "none"),
    ]
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows)


def _drafter_rows(name: str, drafter: DrafterStatistics) -> list[tuple[str, str]]:
    rows = [
        (
            name,
            f"accepted {drafter.accepted} of {drafter.tested} tested{_percent(drafter.accepted, drafter.tested)}, "
            f"{drafter.drafted} drafted in {drafter.rounds} rounds",
        )
    ]
    positions = zip(drafter.accepted_by_position, drafter.tested_by_position, strict=False)
    shown = [f"{number}: {accepted}/{tested}" for number, (accepted, tested) in enumerate(positions, 1) if tested]
    if shown:
        rows.append(("  by position", "  ".join(shown)))
    return rows


def _percent(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.0f}%)" if whole else ""
