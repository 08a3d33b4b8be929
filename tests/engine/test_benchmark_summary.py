"""The figures of a benchmark from made-up measurements whose results can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec.benchmark.summary import OVERALL, Figures, Key, Spread, differences, summarise
from specdec.events import DrafterStatistics, Measured, Statistics

PLAIN_STEP = 2.0


def measured(
    method: str = "plain",
    prompt: str = "1",
    repeat: int = 1,
    *,
    category: str = "chat",
    temperature: float = 0.0,
    tokens: tuple[int, ...] = (1, 2, 3, 4),
    text: str = "one two three four",
    decode_ms: float = 10.0,
    rounds: tuple[int, ...] = (1, 1, 1, 1),
    step_ms: tuple[float, float] = (0.0, PLAIN_STEP),
    drafter: DrafterStatistics | None = None,
    memory: int = 100,
) -> Measured:
    """An answer of these rounds (tokens of each), each of them drafted and verified in `step_ms`."""
    statistics = Statistics(
        prompt_tokens=5,
        reused_tokens=0,
        prefill_ms=3.0,
        first_token_ms=3.0 + repeat,
        answer_tokens=sum(rounds),
        decode_ms=decode_ms,
        tokens_per_second=sum(rounds) / decode_ms * 1000,
        rounds=len(rounds),
        tokens_per_round=sum(rounds) / len(rounds),
        draft_ms=step_ms[0] * len(rounds),
        verify_ms=step_ms[1] * len(rounds),
        drafters={"sibling": drafter} if drafter else {},
    )
    return Measured(
        method=method,
        temperature=temperature,
        prompt=prompt,
        category=category,
        repeat=repeat,
        tokens=tokens,
        text=text,
        finish="max_tokens",
        statistics=statistics,
        round_tokens=rounds,
        round_ms=tuple(decode_ms / len(rounds) for _ in rounds),
        memory_bytes=memory,
    )


def counts(rounds: int, length: int, accepted: int) -> DrafterStatistics:
    """Rounds with drafts of one length, each of which keeps its first `accepted` tokens."""
    tested = min(length, accepted + 1)
    return DrafterStatistics(
        rounds=rounds,
        drafted=rounds * length,
        tested=rounds * tested,
        accepted=rounds * accepted,
        tested_by_position=(rounds,) * tested,
        accepted_by_position=(rounds,) * accepted + (0,) * (tested - accepted),
    )


def figures(answers: Iterable[Measured], method: str, category: str = OVERALL, temperature: float = 0.0) -> Figures:
    return summarise(list(answers))[Key(temperature, method, category)]


def test_every_category_and_then_overall_in_the_order_of_the_warm_up() -> None:
    prompts = (("1", "chat"), ("2", "code"))
    warm_up = [measured(method, prompt, 0, category=category) for prompt, category in prompts for method in ("plain", "b")]
    answers = [measured(method, prompt, category=category) for prompt, category in reversed(prompts) for method in ("b", "plain")]
    assert [(key.method, key.category) for key in summarise([*warm_up, *answers])] == [
        ("plain", "chat"),
        ("b", "chat"),
        ("plain", "code"),
        ("b", "code"),
        ("plain", OVERALL),
        ("b", OVERALL),
    ]


def test_what_was_only_warmed_up_has_no_figures() -> None:
    answers = [measured(repeat=0), measured("b", repeat=0), measured()]
    assert [key.method for key in summarise(answers)] == ["plain", "plain"]


def test_the_warm_up_is_left_out() -> None:
    assert summarise([measured(repeat=0)]) == {}
    assert figures([measured(repeat=0, decode_ms=1.0), measured(decode_ms=8.0)], "plain").tokens_per_second == Spread(500, 500, 500)


def test_temperatures_are_apart() -> None:
    answers = [measured(), measured("b", decode_ms=5.0), measured("b", temperature=0.7, decode_ms=5.0)]
    assert figures(answers, "b").speedup == Spread(2, 2, 2)
    assert figures(answers, "b", temperature=0.7).speedup is None


def test_the_speed_of_a_repeat_is_all_its_tokens_over_all_its_time_with_quartiles_over_the_repeats() -> None:
    answers = [
        measured(prompt=prompt, repeat=repeat, decode_ms=repeat * ms) for repeat in (1, 2, 4) for prompt, ms in (("1", 4.0), ("2", 12.0))
    ]
    assert figures(answers, "plain").tokens_per_second == Spread(median=250, low=187.5, high=375)


def test_the_speedup_is_over_plain_in_the_same_repeat() -> None:
    answers = []
    for repeat, plain_ms, ms in ((1, 10.0, 5.0), (2, 100.0, 40.0), (3, 10.0, 10.0)):
        answers += [measured(repeat=repeat, decode_ms=plain_ms), measured("b", repeat=repeat, decode_ms=ms)]
    assert figures(answers, "b").speedup == Spread(2, 1.5, 2.25)
    assert figures(answers, "plain").speedup == Spread(1, 1, 1)


def test_in_an_interrupted_repeat_the_speedup_counts_prompts_that_both_answered() -> None:
    answers = [
        measured(prompt="1", decode_ms=10.0),
        measured("b", prompt="1", decode_ms=5.0),
        measured(prompt="2", decode_ms=1000.0),
    ]
    assert figures(answers, "b").speedup == Spread(2, 2, 2)
    assert figures([measured(repeat=1), measured("b", repeat=2)], "b").speedup is None


def test_milliseconds_of_a_round_add_up_to_the_decoding_time() -> None:
    found = figures([measured("b", decode_ms=12.0, rounds=(3, 1), step_ms=(1.0, 4.0)), measured("b", "2", decode_ms=8.0)], "b")
    assert (found.rounds, found.answers, found.answer_tokens) == (6, 2, 8)
    assert found.tokens_per_round == pytest.approx(8 / 6)
    assert found.draft_ms == pytest.approx(2 / 6)
    assert found.verify_ms == pytest.approx(16 / 6)
    assert found.host_ms == pytest.approx(2 / 6)


def test_tokens_of_a_round_arrive_together() -> None:
    found = figures([measured(rounds=(3, 1, 1), decode_ms=30.0)], "plain")
    assert (found.inter_token_ms, found.inter_token_p95_ms, found.inter_token_p99_ms) == (5.0, 10.0, 10.0)


def test_an_answer_of_one_token_has_no_inter_token_time() -> None:
    assert figures([measured(rounds=(1,))], "plain").inter_token_ms == 0.0


def test_first_token_is_spread_over_answers_and_memory_is_the_peak() -> None:
    found = figures([measured(repeat=1, memory=100), measured(repeat=2, memory=300), measured(repeat=3, memory=200)], "plain")
    assert found.first_token_ms == Spread(5.0, 4.5, 5.5)
    assert found.memory_bytes == 300


def test_acceptance_is_pooled_over_answers_of_different_draft_lengths() -> None:
    short, long = counts(rounds=3, length=1, accepted=1), counts(rounds=1, length=4, accepted=2)
    found = figures([measured("b", "1", drafter=short), measured("b", "2", drafter=long)], "b")
    assert found.acceptance == pytest.approx(5 / 6)
    assert found.acceptance_by_position == (1.0, 1.0, 0.0)
    nothing = figures([measured()], "plain")
    assert nothing.acceptance is None
    assert nothing.acceptance_by_position == ()


def test_prediction_is_the_books_tokens_over_the_costs_in_plain_steps() -> None:
    drafter = DrafterStatistics(rounds=2, drafted=4, tested=3, accepted=2, tested_by_position=(2, 1), accepted_by_position=(1, 1))
    answer = measured("b", rounds=(1, 3), step_ms=(1.0, 3.0), drafter=drafter)
    expected = (1 + 0.5 + 0.5) * PLAIN_STEP / (1.0 + 3.0)
    assert figures([measured(), answer], "b").predicted_speedup == pytest.approx(expected)


def test_prediction_counts_a_round_without_a_draft_as_one_token() -> None:
    answer = measured("b", rounds=(1, 1, 1, 2), step_ms=(0.0, PLAIN_STEP), drafter=counts(rounds=1, length=1, accepted=1))
    assert figures([measured(), answer], "b").predicted_speedup == pytest.approx(5 / 4)


def test_prediction_takes_each_answers_own_mean_draft_length() -> None:
    """Long drafts that are always kept in one answer, none asked for in the other: nothing is expected where nothing was drafted."""
    plain = [measured(prompt="1"), measured(prompt="2")]
    long = measured("b", "1", rounds=(4,), drafter=counts(rounds=1, length=3, accepted=3))
    short = measured("b", "2", rounds=(2, 2, 2), drafter=counts(rounds=3, length=1, accepted=1))
    assert figures([*plain, long, short], "b").predicted_speedup == pytest.approx((4 + 2 * 3) / 4)


@given(st.integers(1, 15), st.integers(1, 50), st.data())
def test_prediction_of_full_drafts_is_what_they_gave(length: int, rounds: int, data: st.DataObject) -> None:
    accepted = data.draw(st.lists(st.integers(0, length), min_size=rounds, max_size=rounds))
    tested = [sum(min(length, kept + 1) > position for kept in accepted) for position in range(length)]
    drafter = DrafterStatistics(
        rounds=rounds,
        drafted=rounds * length,
        tested=sum(tested),
        accepted=sum(accepted),
        tested_by_position=tuple(count for count in tested if count),
        accepted_by_position=tuple(sum(kept > position for kept in accepted) for position, count in enumerate(tested) if count),
    )
    answer = measured("b", rounds=tuple(kept + 1 for kept in accepted), drafter=drafter)
    assert figures([measured(), answer], "b").predicted_speedup == pytest.approx(1 + sum(accepted) / rounds)


@pytest.mark.parametrize("method", ["plain", "transformers", "transformers assisted"])
def test_nothing_is_predicted_for_plain_decoding_or_transformers(method: str) -> None:
    answers = [measured(), *([] if method == "plain" else [measured(method)])]
    assert figures(answers, method).predicted_speedup is None


def test_differences_name_the_first_token_and_the_text_around_it() -> None:
    plain = measured(tokens=(7, 8, 9), text="x" * 50 + "the cat sat" + "y" * 50)
    other = measured("b", tokens=(7, 8, 5, 1), text="x" * 50 + "the dog sat" + "y" * 50)
    (found,) = differences([other, plain])
    assert (found.method, found.prompt, found.temperature, found.token) == ("b", "1", 0.0, 3)
    assert found.plain == "x" * 20 + "the cat sat" + "y" * 17
    assert found.other == "x" * 20 + "the dog sat" + "y" * 17


def test_an_answer_that_ends_early_differs_at_its_end() -> None:
    (found,) = differences([measured(tokens=(1, 2, 3)), measured("b", tokens=(1, 2))])
    assert found.token == 3


def test_the_warm_up_and_plain_decoding_itself_are_compared_too() -> None:
    answers = [measured(repeat=0), measured("b", repeat=0, tokens=(9,)), measured(repeat=1, tokens=(8,)), measured("b", repeat=1)]
    assert [(found.method, found.token) for found in differences(answers)] == [("b", 1), ("plain", 1)]


def test_other_prompts_and_temperatures_and_methods_without_plain_are_not_compared() -> None:
    answers = [measured(), measured("b", "2", tokens=(9,)), measured("b", temperature=0.7, tokens=(9,))]
    assert differences(answers) == []


def test_transformers_is_compared_only_where_no_random_numbers_are_drawn() -> None:
    sampled = [
        measured(temperature=0.7),
        measured("transformers", temperature=0.7, tokens=(9,)),
        measured("b", temperature=0.7, tokens=(9,)),
    ]
    assert [found.method for found in differences(sampled)] == ["b"]
    assert [found.method for found in differences([measured(), measured("transformers", tokens=(9,))])] == ["transformers"]
