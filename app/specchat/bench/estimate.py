"""The speedup calculator: what drafting gains by the book, for an acceptance rate and costs that are given, not measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from specdec.benchmark.speedup import Estimate, best_length, estimates
from specdec.errors import UsageError
from specdec.options import MAX_DRAFT_TOKENS

BEST = "best"
LENGTHS_BEYOND_BEST = 3
SOURCE = "By the formula of Leviathan, Kalman and Matias (arXiv 2211.17192), with the same acceptance rate at every position."


@dataclass(frozen=True)
class Estimated:
    """The answer and what it answers; `rows` are the draft lengths from 0 on, `chosen` is one of them."""

    acceptance: float
    cost: float
    verify_cost: float
    chosen: Estimate
    best: bool
    rows: tuple[Estimate, ...]


def estimated(acceptance: float, cost: float, verify_cost: float, length: str) -> Estimated:
    """What drafts of a length gain, or of the length that gains most; costs are in plain steps. Raises UsageError."""
    if not 0 <= acceptance <= 1:
        raise UsageError(f"--acceptance: {acceptance:g} is not between 0 and 1.", "It is accepted over tested tokens.")
    if not (0 <= cost < math.inf):
        raise UsageError(f"--cost: {cost:g} is not 0 or more.", "It is the time of a drafted token over that of a plain step.")
    if not (0 < verify_cost < math.inf):
        raise UsageError(f"--verify-cost: {verify_cost:g} is not above 0.", "It is the time of a verification over that of a plain step.")
    rows = estimates(acceptance, cost, MAX_DRAFT_TOKENS, verify_cost)
    chosen = rows[best_length(acceptance, cost, MAX_DRAFT_TOKENS, verify_cost) if length == BEST else _whole(length)]
    return Estimated(acceptance, cost, verify_cost, chosen, length == BEST, tuple(rows))


def text(found: Estimated) -> str:
    """For people: one line for a length; for the best one a table up to a little beyond it."""
    chosen = found.chosen
    if not found.best:
        return f"{_sentence(chosen)}\n{SOURCE}"
    shown = [row for row in found.rows if row.length <= chosen.length + LENGTHS_BEYOND_BEST]
    lines = ["LENGTH  TOKENS/ROUND  SPEEDUP"]
    lines += [f"{row.length:>6}  {row.tokens_per_round:>12.2f}  {row.speedup:>6.2f}x" for row in shown]
    best = f"Best: {_sentence(chosen)}" if chosen.length else f"No draft of up to {MAX_DRAFT_TOKENS} tokens is faster than plain decoding."
    return "\n".join([*lines, best, SOURCE])


def as_object(found: Estimated) -> dict[str, Any]:
    """The same for programs."""
    return {
        "acceptance": found.acceptance,
        "cost": found.cost,
        "verify_cost": found.verify_cost,
        **vars(found.chosen),
        "best": found.best,
        "lengths": [vars(row) for row in found.rows],
    }


def _sentence(row: Estimate) -> str:
    return f"length {row.length}: {row.tokens_per_round:.2f} tokens per round, {row.speedup:.2f}x as fast as plain decoding."


def _whole(length: str) -> int:
    if not length.isdecimal() or int(length) > MAX_DRAFT_TOKENS:
        raise UsageError(f"--length: {length!r} is neither {BEST} nor a whole number from 0 to {MAX_DRAFT_TOKENS}.", "Give one of these.")
    return int(length)
