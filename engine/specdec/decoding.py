"""The loop: rounds of draft, verify, accept."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from specdec.drafting.base import Draft, Drafter
from specdec.drafting.controller import Choice, Controller
from specdec.events import Finish, Source
from specdec.options import MAX_DRAFT_TOKENS
from specdec.sampling import Sampler
from specdec.target import Target
from specdec.verification import Rule, Verdict, verify


@dataclass(frozen=True)
class DecodingPlan:
    """What one answer may do; `eos` are the token ids that end it, `max_tokens` counts the answer's tokens."""

    sampler: Sampler
    rule: Rule
    drafters: Sequence[Drafter]
    forced: bool
    draft_tokens: int | None
    eos: Collection[int]
    max_tokens: int


@dataclass(frozen=True)
class DecodedRound:
    """One target forward pass: its tokens and their sources, what was proposed, and the milliseconds.

    `finish` is set on the last round. An end-of-sequence token is the last of its `tokens`; what was drafted behind it counts
    as not tested.
    """

    tokens: list[int]
    sources: list[Source]
    drafter: str
    drafted: list[int]
    tested: int
    accepted: int
    draft_ms: float
    verify_ms: float
    finish: Finish | None


def decode(
    target: Target, controller: Controller, tokens: list[int], plan: DecodingPlan, stopped: Callable[[], bool]
) -> Iterator[DecodedRound]:
    """Extend `tokens` in place, a round at a time; all but its last token have their rows in the target's cache.

    The context's end finishes an answer like max_tokens does. `stopped` is asked once a round.
    """
    answered = 0
    finish: Finish | None = None
    while finish is None:
        started = time.perf_counter()
        position = len(tokens)
        room = min(plan.max_tokens - answered, target.context - position)
        limit = min(target.rows_left(position - 1), room) - 1
        choice, bucket, draft = _draft(controller, plan, min(limit, MAX_DRAFT_TOKENS))
        drafted_at = time.perf_counter()
        logits = target.step([tokens[-1], *draft.tokens], position - 1)
        verdict = verify(plan.rule, plan.sampler, logits, position, draft.tokens, draft.q)
        verified_at = time.perf_counter()
        draft_ms, verify_ms = (drafted_at - started) * 1000, (verified_at - drafted_at) * 1000
        emitted = _until_eos(verdict.tokens, plan.eos)
        accepted, tested = min(verdict.accepted, len(emitted)), min(verdict.tested, len(emitted))
        tokens.extend(emitted)
        plan.sampler.extend(emitted)
        for drafter in plan.drafters:
            drafter.observe(emitted, accepted if drafter is choice.drafter else 0)
        controller.observe(choice, bucket, tested, accepted, draft_ms, verify_ms, len(draft.tokens) + 1)
        answered += len(emitted)
        finish = _finish(emitted[-1], plan, answered, len(tokens) >= target.context, stopped)
        yield DecodedRound(
            emitted,
            _sources(choice, draft, verdict, len(emitted)),
            choice.drafter.name if choice.drafter and draft.tokens else "off",
            draft.tokens,
            tested,
            accepted,
            draft_ms,
            verify_ms,
            finish,
        )


def _draft(controller: Controller, plan: DecodingPlan, limit: int) -> tuple[Choice, int, Draft]:
    choice = controller.choose(plan.drafters, limit, plan.draft_tokens, plan.forced)
    if choice.drafter is None or choice.length == 0:
        return Choice(None, 0), 0, Draft([])
    bucket = choice.drafter.confidence_bucket()
    return choice, bucket, choice.drafter.propose(choice.length, plan.sampler, plan.rule)


def _until_eos(tokens: list[int], eos: Collection[int]) -> list[int]:
    for index, token in enumerate(tokens):
        if token in eos:
            return tokens[: index + 1]
    return tokens


def _finish(last: int, plan: DecodingPlan, answered: int, full: bool, stopped: Callable[[], bool]) -> Finish | None:
    if last in plan.eos:
        return "eos"
    if answered >= plan.max_tokens:
        return "max_tokens"
    if full:
        return "context"
    return "stopped" if stopped() else None


def _sources(choice: Choice, draft: Draft, verdict: Verdict, emitted: int) -> list[Source]:
    """Where each emitted token came from; the target's own one is a correction, a bonus, or plain."""
    own: Source = "target" if not draft.tokens else "bonus" if verdict.accepted == len(draft.tokens) else "corrected"
    accepted: list[Source] = [choice.drafter.source] * verdict.accepted if choice.drafter else []
    return [*accepted, own][:emitted]
