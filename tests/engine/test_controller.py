"""The controller spends time only where it pays, and notices when that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from specdec.drafting.base import Draft
from specdec.drafting.controller import PLAIN_EVERY, PROBE_SHARE, Choice, Controller, Costs
from specdec.events import Source
from specdec.options import MAX_DRAFT_TOKENS
from specdec.sampling import Sampler
from specdec.verification import Rule

FLAT = {1: 1.0, 16: 1.3}
STEEP = {1: 1.0, 2: 1.9, 16: 16.0}


def costs_of(verify: dict[int, float], token_ms: dict[str, float]) -> Costs:
    """Costs with drafts that take the same time for every token."""
    return Costs(verify, {name: {1: milliseconds} for name, milliseconds in token_ms.items()})


@dataclass
class Scripted:
    """A drafter with a fixed number of tokens accepted a round; `bucket` -1 means nothing to propose."""

    name: str
    accepts: int
    bucket: int = 0
    source: Source = "draft"
    priors: tuple[float, ...] = (0.75,)

    def begin(self, tokens: Sequence[int]) -> None: ...

    def confidence_bucket(self) -> int:
        return self.bucket

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        return Draft([0] * k)

    def observe(self, tokens: Sequence[int], accepted: int) -> None: ...


def play(controller: Controller, costs: Costs, drafters: Sequence[Scripted], rounds: int) -> tuple[list[Choice], float, int]:
    """Choices, milliseconds and tokens of some rounds in which costs are as calibrated."""
    choices, spent, tokens = [], 0.0, 0
    for _ in range(rounds):
        choice = controller.choose(drafters, MAX_DRAFT_TOKENS, None, False)
        accepted = min(choice.length, choice.drafter.accepts) if isinstance(choice.drafter, Scripted) else 0
        draft_ms = costs.draft(choice.drafter.name, choice.length) if choice.drafter else 0.0
        verify_ms = costs.verify(choice.length + 1)
        controller.observe(choice, 0, min(accepted + 1, choice.length), accepted, draft_ms, verify_ms, choice.length + 1)
        choices.append(choice)
        spent += draft_ms + verify_ms
        tokens += accepted + 1
    return choices, spent, tokens


def settled(drafters: Sequence[Scripted], verify: dict[int, float], draft_ms: dict[str, float]) -> list[Choice]:
    costs = costs_of(verify, draft_ms)
    controller = Controller(costs)
    play(controller, costs, drafters, 300)
    return play(controller, costs, drafters, 100)[0]


def test_a_good_cheap_draft_is_used_at_its_accepted_length() -> None:
    choices = settled([Scripted("a", 4)], FLAT, {"a": 0.1})
    assert {(c.drafter and c.drafter.name, c.length) for c in choices} == {("a", 4)}


def test_the_better_of_two_drafters_wins() -> None:
    choices = settled([Scripted("slow", 6), Scripted("quick", 4)], FLAT, {"slow": 0.6, "quick": 0.1})
    assert sum(c.drafter is not None and c.drafter.name == "quick" for c in choices) > 95


@pytest.mark.parametrize(
    ("verify", "draft_ms", "accepts"), [(FLAT, 0.1, 0), (FLAT, 1.5, 2), (STEEP, 0.1, 2)], ids=["refused", "slow draft", "dear rows"]
)
def test_a_draft_that_does_not_pay_costs_next_to_nothing(verify: dict[int, float], draft_ms: float, accepts: int) -> None:
    costs = costs_of(verify, {"a": draft_ms})
    controller = Controller(costs)
    drafter = Scripted("a", accepts)
    play(controller, costs, [drafter], 50)
    choices, spent, tokens = play(controller, costs, [drafter], 3000)
    assert sum(c.drafter is None for c in choices) > 2800
    assert any(c.drafter is drafter for c in choices)
    assert spent / tokens < costs.verify(1) * (1 + 3 * PROBE_SHARE)


def test_probes_notice_when_a_useless_draft_turns_good() -> None:
    costs = costs_of(FLAT, {"a": 0.1})
    controller = Controller(costs)
    drafter = Scripted("a", 0)
    play(controller, costs, [drafter], 400)
    drafter.accepts = 5
    play(controller, costs, [drafter], 1500)
    assert sum(c.drafter is drafter for c in play(controller, costs, [drafter], 100)[0]) > 90


def test_ngram_takes_over_when_it_matches_and_leaves_when_it_does_not() -> None:
    costs = costs_of(FLAT, {"ngram": 0.001, "model": 0.3})
    controller = Controller(costs)
    ngram, model = Scripted("ngram", 12, bucket=-1), Scripted("model", 3)
    play(controller, costs, [ngram, model], 200)
    ngram.bucket = 0
    play(controller, costs, [ngram, model], 60)
    assert all(c.drafter is ngram for c in play(controller, costs, [ngram, model], 50)[0])
    ngram.bucket = -1
    assert all(c.drafter is not ngram for c in play(controller, costs, [ngram, model], 50)[0])


def test_a_machine_slower_than_calibrated_is_learned() -> None:
    calibrated, real = costs_of(FLAT, {"a": 0.05}), costs_of(FLAT, {"a": 1.2})
    controller = Controller(calibrated)
    play(controller, real, [Scripted("a", 2)], 300)
    assert sum(c.drafter is None for c in play(controller, real, [Scripted("a", 2)], 200)[0]) > 180


def test_every_choice_can_be_forced() -> None:
    useless = Scripted("a", 0)
    costs = costs_of(STEEP, {"a": 5.0})
    controller = Controller(costs)
    play(controller, costs, [useless], 100)
    assert controller.choose([useless], 9, None, True).drafter is useless
    assert controller.choose([useless], 9, 7, False) == Choice(useless, 7)
    assert controller.choose([useless], 3, 7, True) == Choice(useless, 3)
    assert controller.choose([useless], 9, 0, True) == Choice(None, 0)
    assert controller.choose([useless], 0, 7, True) == Choice(None, 0)
    assert controller.choose([], 9, 7, True) == Choice(None, 0)


def test_costs_between_and_beyond_the_measured_ones_lie_on_straight_lines() -> None:
    costs = Costs({1: 1.0, 4: 1.6, 12: 3.2}, {"a": {1: 0.5, 5: 1.3}, "b": {1: 0.2}})
    assert [round(costs.verify(rows), 3) for rows in (1, 2, 4, 8, 12, 16)] == [1.0, 1.2, 1.6, 2.4, 3.2, 4.0]
    assert [round(costs.draft("a", length), 3) for length in (1, 2, 5, 10)] == [0.5, 0.7, 1.3, 2.3]
    assert [round(costs.draft("b", length), 3) for length in (1, 10)] == [0.2, 2.0]


def test_a_draft_whose_verification_is_dearer_than_calibrated_is_given_up() -> None:
    """In a long context several rows cost more beside one than at load; common drift would hide it."""
    costs = costs_of(FLAT, {"model": 0.1})
    controller, drafter = Controller(costs), Scripted("model", 0)
    spent = tokens = 0.0
    for turn in range(600):
        choice = controller.choose([drafter], MAX_DRAFT_TOKENS, None, False)
        accepted = int(choice.length > 0 and turn % 2)
        verify_ms = costs.verify(choice.length + 1) * (1.0 if choice.length == 0 else 1.6)
        draft_ms = costs.draft("model", choice.length) if choice.drafter else 0.0
        controller.observe(choice, 0, min(accepted + 1, choice.length), accepted, draft_ms, verify_ms, choice.length + 1)
        if turn >= 100:
            spent += draft_ms + verify_ms
            tokens += accepted + 1
    assert spent / tokens < 1.04


def test_plain_decoding_is_measured_again_while_it_comes_close_and_left_alone_where_it_does_not() -> None:
    costs = costs_of(FLAT, {"model": 0.6})
    close, _, _ = play(Controller(costs), costs, [Scripted("model", 1)], 400)
    assert 4 <= sum(choice.drafter is None for choice in close) <= 400 // PLAIN_EVERY
    far, _, _ = play(Controller(costs_of(FLAT, {"model": 0.01})), costs_of(FLAT, {"model": 0.01}), [Scripted("model", 15)], 400)
    assert all(choice.drafter is not None for choice in far)


def test_a_new_answer_gives_a_draft_another_chance() -> None:
    costs = costs_of(FLAT, {"model": 0.1})
    controller, drafter = Controller(costs), Scripted("model", 0)
    play(controller, costs, [drafter], 300)
    stuck, _, _ = play(controller, costs, [drafter], 10)
    assert sum(choice.drafter is None for choice in stuck) >= 9
    controller.begin()
    drafter.accepts = 15
    tried, _, _ = play(controller, costs, [drafter], 10)
    assert sum(choice.drafter is None for choice in tried) <= 2
