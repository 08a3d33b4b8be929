"""Conversations to export: one by hand, and any that hypothesis can think of."""

from __future__ import annotations

from hypothesis import strategies as st

from specchat.transcript import Session, Setup, Turn
from specdec.events import DrafterStatistics, Round, Run, Source, Statistics
from specdec.options import Drafting, Sampling

TEXTS = st.one_of(
    st.text(max_size=30), st.sampled_from(["<script>alert(1)</script>", "\"'&<>", "```py\nx\n```\n", "\x00\x1b[31m\x9b\u202e", "\r\n"])
)
COUNTS = st.integers(0, 2**40)
MILLISECONDS = st.floats(0, 1e9)
IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
TIMES = st.floats(0, 4e9)
SOURCES: st.SearchStrategy[Source] = st.sampled_from(["draft", "ngram", "corrected", "bonus", "target"])
RUNS = st.builds(Run, source=SOURCES, text=TEXTS, tokens=st.lists(COUNTS, max_size=4).map(tuple))
ROUNDS = st.builds(
    Round,
    id=st.just(0),
    index=COUNTS,
    drafter=TEXTS,
    drafted=COUNTS,
    tested=COUNTS,
    accepted=COUNTS,
    runs=st.lists(RUNS, max_size=3).map(tuple),
    rejected=TEXTS,
    draft_ms=MILLISECONDS,
    verify_ms=MILLISECONDS,
)
STATISTICS = st.builds(
    Statistics,
    prompt_tokens=COUNTS,
    reused_tokens=COUNTS,
    prefill_ms=MILLISECONDS,
    first_token_ms=MILLISECONDS,
    answer_tokens=COUNTS,
    decode_ms=MILLISECONDS,
    tokens_per_second=MILLISECONDS,
    rounds=COUNTS,
    tokens_per_round=MILLISECONDS,
    draft_ms=MILLISECONDS,
    verify_ms=MILLISECONDS,
    drafters=st.dictionaries(
        TEXTS,
        st.builds(
            DrafterStatistics,
            rounds=COUNTS,
            drafted=COUNTS,
            tested=COUNTS,
            accepted=COUNTS,
            tested_by_position=st.lists(COUNTS, max_size=2).map(tuple),
            accepted_by_position=st.lists(COUNTS, max_size=2).map(tuple),
        ),
        max_size=2,
    ),
)
SETUPS = st.builds(
    Setup,
    pair=TEXTS,
    target=TEXTS,
    draft=st.none() | TEXTS,
    dtype=TEXTS,
    device=TEXTS,
    exact=st.booleans(),
    context=COUNTS,
    sampling=st.builds(Sampling, temperature=st.none() | st.floats(0, 10), seed=st.none() | st.integers(0, 2**63 - 1)),
    drafting=st.builds(Drafting, draft_tokens=st.none() | st.integers(0, 15), accept=st.sampled_from(["coupled", "threshold:0.5"])),
    system=TEXTS,
    thinking=st.none() | st.booleans(),
)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """A tree of up to five turns, shown down to any of them."""
    names = draw(st.lists(IDS, max_size=5, unique=True))
    turns = {}
    for number, name in enumerate(names):
        turn = Turn(
            id=name,
            parent=draw(st.none() | st.sampled_from(names[:number])) if number else None,
            role=draw(st.sampled_from(["user", "assistant"])),
            created=draw(TIMES),
        )
        if turn.role == "user":
            turn.text = draw(TEXTS)
        else:
            turn.add(draw(st.lists(ROUNDS, max_size=3)))
            turn.text = draw(st.just(turn.text) | TEXTS)
            turn.finish = draw(st.sampled_from([None, "eos", "stopped"]))
            turn.error = draw(TEXTS)
            turn.statistics = draw(st.none() | STATISTICS)
            turn.setup = draw(st.none() | SETUPS)
        turns[name] = turn
    return Session(
        id=draw(IDS),
        title=draw(TEXTS),
        created=draw(TIMES),
        updated=draw(TIMES),
        pair=draw(TEXTS),
        system=draw(TEXTS),
        turns=turns,
        head=draw(st.sampled_from(names)) if names else None,
    )


def conversation() -> Session:
    """Two answers to one question, the first one shown, and its follow-up."""
    session = Session(
        id="a" * 32, title="Why is it fast?", created=1_700_000_000.0, updated=1_700_000_100.0, pair="demo", system="Be brief."
    )
    prompt = session.append("user", "Why is it fast?")
    answer = session.append("assistant")
    answer.add(
        [
            round_of(Run(source="draft", text="It ", tokens=(1, 2)), Run(source="corrected", text="guesses ", tokens=(3,)), rejected="was"),
            round_of(Run(source="ngram", text="and ", tokens=(4,)), Run(source="bonus", text="checks", tokens=(5,))),
            round_of(Run(source="target", text=".", tokens=(6,))),
        ]
    )
    answer.finish = "eos"
    answer.setup = Setup(pair="demo", target="Qwen/Large", draft="int4", sampling=Sampling(temperature=0.7, seed=42))
    answer.statistics = Statistics(
        prompt_tokens=20,
        reused_tokens=8,
        prefill_ms=30.0,
        first_token_ms=41.0,
        answer_tokens=6,
        decode_ms=120.0,
        tokens_per_second=50.0,
        rounds=3,
        tokens_per_round=2.0,
        draft_ms=10.0,
        verify_ms=100.0,
        drafters={
            "int4": DrafterStatistics(
                rounds=1, drafted=3, tested=3, accepted=2, tested_by_position=(1, 1, 1), accepted_by_position=(1, 1, 0)
            ),
            "ngram": DrafterStatistics(rounds=1, drafted=1, tested=1, accepted=1, tested_by_position=(1,), accepted_by_position=(1,)),
        },
    )
    follow_up = session.append("user", "Thanks & bye <3")
    session.append("assistant", "Another answer", parent=prompt.id)
    session.head = follow_up.id
    return session


def round_of(*runs: Run, rejected: str = "") -> Round:
    """A round that emitted these runs."""
    return Round(index=0, drafter="int4", drafted=3, tested=2, accepted=1, runs=runs, rejected=rejected, draft_ms=1.25, verify_ms=8.0)
