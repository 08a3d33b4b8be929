"""The book's formula: its closed form, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec.benchmark.speedup import best_length, estimates, speedup, tokens_per_round, tokens_per_round_at

rate = st.floats(0, 1)
cost = st.floats(0, 2)
length = st.integers(0, 15)


@given(st.floats(0, 0.99), cost, length)
def test_closed_form_of_the_paper(a: float, c: float, k: int) -> None:
    assert speedup([a] * k, c * k) == pytest.approx((1 - a ** (k + 1)) / ((1 - a) * (c * k + 1)))


@given(rate, cost)
def test_no_draft_changes_nothing(a: float, c: float) -> None:
    assert tokens_per_round([]) == speedup([], 0) == 1
    assert speedup([], 0, 2) == 0.5
    assert estimates(a, c, 0)[0].speedup == 1


def test_certain_acceptance_gives_every_token() -> None:
    assert tokens_per_round([1.0] * 4) == 5
    assert tokens_per_round([0.5, 0.0, 1.0]) == 1.5


@given(st.lists(rate, min_size=1, max_size=15), st.data())
def test_more_is_gained_the_more_is_accepted(rates: list[float], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(rates) - 1))
    better = [*rates[:position], data.draw(st.floats(rates[position], 1)), *rates[position + 1 :]]
    assert tokens_per_round(better) >= tokens_per_round(rates) - 1e-12
    assert speedup(better, 0.3) >= speedup(rates, 0.3) - 1e-12


@given(st.lists(rate, max_size=15), st.floats(0, 20))
def test_a_mean_length_lies_between_its_neighbours(rates: list[float], mean: float) -> None:
    below, above = tokens_per_round(rates[: int(mean)]), tokens_per_round(rates[: int(mean) + 1])
    assert below - 1e-12 <= tokens_per_round_at(rates, mean) <= above + 1e-12


def test_a_mean_length_is_a_mixture_of_two_lengths() -> None:
    assert tokens_per_round_at([0.8, 0.5], 1) == pytest.approx(1.8)
    assert tokens_per_round_at([0.8, 0.5], 1.25) == pytest.approx(0.75 * 1.8 + 0.25 * 2.2)
    assert tokens_per_round_at([0.8, 0.5], 9) == tokens_per_round([0.8, 0.5])


@given(rate, cost, length)
def test_best_length_is_found_by_trying_all(a: float, c: float, longest: int) -> None:
    gains = [sum(a**i for i in range(k + 1)) / (1 + c * k) for k in range(longest + 1)]
    assert gains[best_length(a, c, longest)] == pytest.approx(max(gains))


@given(rate, cost)
def test_drafting_pays_exactly_where_acceptance_exceeds_the_cost(a: float, c: float) -> None:
    """Corollary 3.9 of the paper."""
    if abs(a - c) > 1e-9:
        assert (best_length(a, c, 15) > 0) == (a > c)


def test_estimates_list_every_length() -> None:
    table = estimates(0.8, 0.1, 3)
    assert [estimate.length for estimate in table] == [0, 1, 2, 3]
    assert [estimate.tokens_per_round for estimate in table] == pytest.approx([1, 1.8, 2.44, 2.952])
    assert [estimate.speedup for estimate in table] == pytest.approx([1, 1.8 / 1.1, 2.44 / 1.2, 2.952 / 1.3])
