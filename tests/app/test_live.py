"""The figures of an answer do not depend on how it arrived, and agree with the engine's own count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specchat.live import LiveFigures
from specchat.transcript import Turn
from specdec.decoding import DecodedRound
from specdec.events import Done, Round, Run, Source, Started, Statistics
from specdec.options import Sampling
from specdec.statistics import Tally

STARTED = Started(prompt_tokens=40, reused_tokens=3, prefill_ms=25.0, sampling=Sampling())


@st.composite
def decoded_rounds(draw: st.DrawFn) -> DecodedRound:
    """A round as the decoding loop gives it: a refusal ends the test, or the end of the answer does."""
    drafter = draw(st.sampled_from(["off", "sibling", "ngram"]))
    drafted = 0 if drafter == "off" else draw(st.integers(1, 15))
    accepted = draw(st.integers(0, drafted))
    ends_inside = 0 < accepted < drafted and draw(st.booleans())
    tested = accepted if ends_inside else min(accepted + 1, drafted)
    own: list[Source] = [] if ends_inside else ["target" if not drafted else "bonus" if accepted == drafted else "corrected"]
    sources: list[Source] = [*(["ngram" if drafter == "ngram" else "draft"] * accepted), *own]  # type: ignore[list-item]
    ms = st.floats(0, 100)
    tokens = list(range(len(sources)))
    return DecodedRound(tokens, sources, drafter, [1] * drafted, tested, accepted, draw(ms), draw(ms), None)


def event_of(index: int, round_: DecodedRound) -> Round:
    return Round(
        index=index,
        drafter=round_.drafter,
        drafted=len(round_.drafted),
        tested=round_.tested,
        accepted=round_.accepted,
        runs=tuple(Run(source=source, text="x", tokens=(token,)) for source, token in zip(round_.sources, round_.tokens, strict=True)),
        draft_ms=round_.draft_ms,
        verify_ms=round_.verify_ms,
    )


def counted_by_engine(rounds: Sequence[DecodedRound]) -> Statistics:
    tally = Tally(prompt_tokens=40, reused_tokens=3, prefill_ms=25.0, first_token_ms=31.0)
    for index, round_ in enumerate(rounds):
        tally.add(event_of(index, round_))
    return tally.statistics(decode_ms=500.0)


answers = st.lists(decoded_rounds(), max_size=40)


@given(answers, st.lists(st.integers(0, 40), max_size=6))
def test_the_pieces_an_answer_arrives_in_make_no_difference(rounds: list[DecodedRound], cuts: list[int]) -> None:
    events = [event_of(index, round_) for index, round_ in enumerate(rounds)]
    done = Done(finish="eos", statistics=counted_by_engine(rounds))
    whole, pieces = LiveFigures(), LiveFigures()
    for figures in (whole, pieces):
        figures.started(STARTED, 1.0)
    whole.rounds(events, 3.0)
    for start, end in pairwise([0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]):
        pieces.rounds(events[start:end], 3.0)
    assert pieces == whole
    assert (pieces.tokens_per_second, pieces.first_token_ms) == (whole.tokens_per_second, whole.first_token_ms)
    for figures in (whole, pieces):
        figures.done(done)
    turn = Turn("a", None, "assistant", 0.0, statistics=done.statistics)
    turn.add(events)
    assert pieces == whole == LiveFigures.of(turn)


@given(answers)
def test_the_counts_are_the_engines_own(rounds: list[DecodedRound]) -> None:
    engine = counted_by_engine(rounds)
    figures = LiveFigures()
    figures.started(STARTED, 0.0)
    figures.rounds([event_of(index, round_) for index, round_ in enumerate(rounds)], 1.0)
    assert figures.round_count == engine.rounds
    assert figures.answer_tokens == sum(figures.tokens_by_source.values()) == engine.answer_tokens
    assert (figures.tokens_per_round or 0.0) == engine.tokens_per_round
    assert (figures.draft_ms, figures.verify_ms) == (engine.draft_ms, engine.verify_ms)
    assert figures.context_used == engine.prompt_tokens + engine.answer_tokens
    assert figures.drafters.keys() == engine.drafters.keys()
    for name, drafter in engine.drafters.items():
        shown = figures.drafters[name]
        assert (shown.tested, shown.accepted) == (drafter.tested, drafter.accepted)
        assert tuple(shown.tested_by_position) == drafter.tested_by_position
        assert tuple(shown.accepted_by_position) == drafter.accepted_by_position


def one_round(tokens: int = 1, drafted: int = 0, tested: int = 0, accepted: int = 0) -> Round:
    run = Run(source="target", text="x", tokens=(1,) * tokens)
    drafter = "sibling" if drafted else "off"
    return Round(index=0, drafter=drafter, drafted=drafted, tested=tested, accepted=accepted, runs=(run,), draft_ms=1, verify_ms=2)


def test_speed_while_live_is_that_of_decoding_alone_and_the_engines_own_when_done() -> None:
    figures = LiveFigures()
    assert [figures.tokens_per_second, figures.first_token_ms] == [None, None]
    figures.started(STARTED, 10.0)
    figures.rounds([one_round(4)], 10.1)
    figures.rounds([one_round(4)], 12.0)
    assert figures.tokens_per_second == pytest.approx(4.0)
    assert figures.first_token_ms == pytest.approx(25 + 100)
    figures.rounds([], 99.0)
    assert figures.tokens_per_second == pytest.approx(4.0)
    statistics = counted_by_engine([]).model_copy(update={"tokens_per_second": 17.0, "first_token_ms": 31.0})
    figures.done(Done(finish="eos", statistics=statistics))
    assert [figures.tokens_per_second, figures.first_token_ms] == [17.0, 31.0]


def test_acceptance_is_of_the_tested_tokens_by_position() -> None:
    figures = LiveFigures()
    figures.rounds([one_round(drafted=4, tested=3, accepted=2), one_round(drafted=4, tested=1, accepted=0)], 0.0)
    sibling = figures.drafters["sibling"]
    assert sibling.acceptance == pytest.approx(2 / 4)
    assert sibling.by_position == [0.5, 1.0, 0.0]
    assert figures.discarded == 0


def test_what_was_drafted_behind_the_end_of_the_answer_is_discarded() -> None:
    figures = LiveFigures()
    figures.rounds([one_round(drafted=5, tested=2, accepted=2)], 0.0)
    assert figures.discarded == 3


def test_an_answer_that_is_continued_counts_on_and_times_only_its_last_part() -> None:
    turn = Turn("a", None, "assistant", 0.0)
    turn.add([one_round(10)])
    figures = LiveFigures.of(turn)
    figures.started(STARTED, 5.0)
    figures.rounds([one_round(6)], 7.0)
    assert figures.answer_tokens == 16
    assert figures.tokens_per_second == pytest.approx(3.0)
    assert figures.context_used == 40 + 6


def test_an_answer_from_elsewhere_has_no_figures() -> None:
    figures = LiveFigures.of(Turn("a", None, "assistant", 0.0, text="hello"))
    assert figures == LiveFigures()
    assert figures.tokens_per_round is None
