"""What an export says about a conversation and its answers in words and numbers."""

from __future__ import annotations

from datetime import datetime

from specchat.transcript import Session, Turn
from specchat.visible import visible

UNTITLED = "Untitled conversation"


def local_time(moment: float) -> datetime:
    """A time in seconds since 1970 as the user's clock shows it."""
    return datetime.fromtimestamp(moment).astimezone()


def heading(session: Session) -> str:
    """The title on one line, whatever it holds."""
    return visible(" ".join(session.title.split())) or UNTITLED


def outcome(turn: Turn) -> str:
    """A word for an answer that did not come to its own end, or nothing."""
    if turn.error:
        return "failed"
    return "interrupted" if turn.interrupted else ""


def facts(turn: Turn) -> list[str]:
    """What an answer cost and what speculation saved, a phrase each."""
    answer = turn.statistics
    if answer is None:
        return []
    return [
        f"{answer.answer_tokens} tokens",
        f"{answer.tokens_per_second:.1f} tokens/s",
        f"first token after {answer.first_token_ms:.0f} ms",
        f"{answer.tokens_per_round:.2f} tokens per round",
        *(f"{name} accepted {drafter.accepted} of {drafter.tested} tested" for name, drafter in answer.drafters.items()),
    ]
