"""Conversations to show: turns with rounds over given texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from specchat.transcript import Setup, Turn
from specdec.events import Finish, Round, Run, Source, Statistics

SPEED = Statistics(
    prompt_tokens=9,
    reused_tokens=0,
    prefill_ms=3.0,
    first_token_ms=4.0,
    answer_tokens=40,
    decode_ms=220.0,
    tokens_per_second=182.4,
    rounds=10,
    tokens_per_round=4.0,
    draft_ms=100.0,
    verify_ms=110.0,
    drafters={},
)


def round_of(*runs: tuple[Source, str], rejected: str = "") -> Round:
    """A round whose tokens have two characters each."""
    made = tuple(Run(source=source, text=text, tokens=tuple(range((len(text) + 1) // 2))) for source, text in runs)
    return Round(index=0, drafter="model", drafted=4, tested=3, accepted=2, runs=made, rejected=rejected, draft_ms=1.0, verify_ms=2.0)


def rounds_over(text: str) -> Iterator[Round]:
    """Rounds that make up a text: drafted, from n-grams, corrected, a bonus, plain, and again."""
    patterns: Sequence[Sequence[tuple[Source, int]]] = (
        (("draft", 7), ("corrected", 2)),
        (("ngram", 9), ("bonus", 3)),
        (("target", 4),),
        (("draft", 5), ("bonus", 2)),
    )
    at = 0
    while at < len(text):
        runs: list[tuple[Source, str]] = []
        for source, size in patterns[at % len(patterns)]:
            if part := text[at : at + size]:
                runs.append((source, part))
                at += len(part)
        yield round_of(*runs, rejected=" wrong way" if runs[-1][0] == "corrected" else "")


def prompt(turn_id: str, text: str) -> Turn:
    """A user's turn."""
    return Turn(id=turn_id, parent=None, role="user", created=0.0, text=text)


def answer(turn_id: str, text: str, finish: Finish | None = "eos", error: str = "") -> Turn:
    """An answer that ended, decoded by rounds."""
    turn = Turn(id=turn_id, parent=None, role="assistant", created=0.0, finish=finish, error=error)
    turn.add(rounds_over(text))
    turn.setup = Setup(pair="demo", target="builtin:demo")
    turn.statistics = SPEED
    return turn
