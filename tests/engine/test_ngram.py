"""Prompt lookup finds the longest, then most recent match, in a bounded number of steps a token."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from specdec.drafting.ngram import LONGEST, NGramDrafter, SuffixIndex
from specdec.options import Sampling
from specdec.sampling import Sampler, plan
from specdec.verification import Rule

SAMPLER = Sampler(plan(Sampling(temperature=0), {}), 40, [], torch.device("cpu"))
COUPLED = Rule("coupled")
TEXTS = st.one_of(
    st.lists(st.integers(0, 2), max_size=120),
    st.lists(st.integers(0, 30), max_size=120),
    st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 20)).map(lambda pair: pair[0] * pair[1]),
)


def brute_force(tokens: list[int], longest: int) -> tuple[int, int]:
    """(length, end) of the longest earlier occurrence of the end of `tokens`, the most recent of those."""
    for length in range(min(longest, len(tokens) - 1), 0, -1):
        wanted = tokens[len(tokens) - length :]
        for end in range(len(tokens) - 1, length - 1, -1):
            if tokens[end - length : end] == wanted:
                return length, end
    return 0, 0


@given(TEXTS, st.integers(1, LONGEST))
def test_equals_brute_force(tokens: list[int], longest: int) -> None:
    index = SuffixIndex(longest)
    for count, token in enumerate(tokens, 1):
        index.append(token)
        length, end = brute_force(tokens[:count], longest)
        assert index.match_length == length
        if length:
            assert index.match_end == end


def test_steps_per_token_are_bounded_whatever_the_text() -> None:
    for tokens in ([7] * 3000, list(range(3000)), [1, 2, 3, 4] * 750, [(i * i) % 97 for i in range(3000)]):
        index = SuffixIndex()
        for token in tokens:
            index.append(token)
        assert index.steps <= LONGEST * len(tokens)


@given(TEXTS, st.integers(1, 15))
def test_proposal_is_what_followed_the_match(tokens: list[int], k: int) -> None:
    drafter = NGramDrafter()
    drafter.begin(tokens)
    length, end = brute_force(tokens, LONGEST)
    proposal = drafter.propose(k, SAMPLER, COUPLED).tokens
    if length < 2:
        assert proposal == []
        assert drafter.confidence_bucket() == -1
        return
    text = list(tokens)
    for step in range(k):
        text.append(text[end + step])
    assert proposal == text[len(tokens) :]
    assert 0 <= drafter.confidence_bucket() < len(drafter.priors)


@given(TEXTS, TEXTS, st.integers(0, 100))
def test_a_new_context_is_as_good_as_a_fresh_start(first: list[int], second: list[int], shared: int) -> None:
    context = first[:shared] + second
    reused, fresh = NGramDrafter(), NGramDrafter()
    reused.begin(first[: len(first) // 2])
    reused.observe(first[len(first) // 2 :], 0)
    for drafter in (reused, fresh):
        drafter.begin(context)
    assert reused.propose(9, SAMPLER, COUPLED) == fresh.propose(9, SAMPLER, COUPLED)
