"""The loop: rounds of draft, verify, accept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.drafting.base import Draft, Drafter
from specdec.drafting.controller import Choice, Controller
from specdec.events import Finish, Source
from specdec.moments import Moment
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

    The context's end finishes an answer like max_tokens does. `stopped` is asked once a round. A device that runs recorded passes
    is given the next round before the last one is handed on, so that it need not wait for whoever reads it.
    """
    ahead = target.passes.record is not None
    controller.begin()
    rounds = _Rounds(target, controller, tokens, plan, stopped, len(tokens))
    launched = rounds.launch()
    while True:
        settled = rounds.settle(launched)
        if ahead and settled.finish is None:
            launched = rounds.launch()
        yield settled
        if settled.finish is not None:
            return
        if not ahead:
            launched = rounds.launch()


@dataclass(frozen=True)
class _Launched:
    """A round the device has been given: what was chosen and drafted, the target's logits to come, and when each part began."""

    choice: Choice
    bucket: int
    q: Tensor | None
    chain: Tensor
    logits: Tensor
    draft_began: Moment
    verify_began: Moment


@dataclass(frozen=True)
class _Rounds:
    """The two halves of a round: what the device is told to do, and what comes of it."""

    target: Target
    controller: Controller
    tokens: list[int]
    plan: DecodingPlan
    stopped: Callable[[], bool]
    prompt_tokens: int

    def launch(self) -> _Launched:
        """Choose, draft and run the target, without waiting for the device."""
        target, position = self.target, len(self.tokens)
        device = target.decoder.device
        draft_began = Moment(device)
        room = min(self.plan.max_tokens - (position - self.prompt_tokens), target.context - position)
        limit = min(target.rows_left(position - 1), room) - 1
        choice, bucket, draft = _draft(self.controller, self.plan, min(limit, MAX_DRAFT_TOKENS))
        verify_began = Moment(device)
        chain = torch.as_tensor(draft.tokens, dtype=torch.int64, device=device)
        logits = target.step(torch.cat((chain.new_full((1,), self.tokens[-1]), chain)), position - 1)
        return _Launched(choice, bucket, draft.q, chain, logits, draft_began, verify_began)

    def settle(self, launched: _Launched) -> DecodedRound:
        """Verify, extend the answer and tell everyone."""
        plan, choice, device = self.plan, launched.choice, self.target.decoder.device
        verdict = verify(plan.rule, plan.sampler, launched.logits, len(self.tokens), launched.chain, launched.q)
        ended = Moment(device)
        draft_ms, verify_ms = launched.draft_began.ms_until(launched.verify_began), launched.verify_began.ms_until(ended)
        emitted = _until_eos(verdict.tokens, plan.eos)
        accepted, tested = min(verdict.accepted, len(emitted)), min(verdict.tested, len(emitted))
        self.tokens.extend(emitted)
        plan.sampler.extend(emitted)
        for drafter in plan.drafters:
            drafter.observe(emitted, accepted if drafter is choice.drafter else 0)
        self.controller.observe(choice, launched.bucket, tested, accepted, draft_ms, verify_ms, len(verdict.drafted) + 1)
        answered, full = len(self.tokens) - self.prompt_tokens, len(self.tokens) >= self.target.context
        return DecodedRound(
            emitted,
            _sources(choice, verdict, len(emitted)),
            choice.drafter.name if choice.drafter and verdict.drafted else "off",
            verdict.drafted,
            tested,
            accepted,
            draft_ms,
            verify_ms,
            _finish(emitted[-1], plan, answered, full, self.stopped),
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


def _sources(choice: Choice, verdict: Verdict, emitted: int) -> list[Source]:
    """Where each emitted token came from; the target's own one is a correction, a bonus, or plain."""
    own: Source = "target" if not verdict.drafted else "bonus" if verdict.accepted == len(verdict.drafted) else "corrected"
    accepted: list[Source] = [choice.drafter.source] * verdict.accepted if choice.drafter else []
    return [*accepted, own][:emitted]
