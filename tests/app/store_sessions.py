"""Sessions to store: made by hand, and made up by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from specchat.transcript import Session, Setup, Turn, new_session
from specdec.events import DrafterStatistics, Finish, Round, Run, Source, Statistics
from specdec.options import Drafting, Sampling

FINISHES: tuple[Finish, ...] = ("eos", "stop_string", "max_tokens", "context", "stopped")
SOURCES: tuple[Source, ...] = ("draft", "ngram", "corrected", "bonus", "target")


def round_of(text: str, index: int = 0) -> Round:
    """A round that emitted a text."""
    run = Run(source="draft", text=text, tokens=(1, 2))
    return Round(index=index, drafter="int4", drafted=3, tested=3, accepted=2, runs=(run,), draft_ms=1.5, verify_ms=2.25)


def session_with(title: str, *texts: str) -> Session:
    """A session of prompts and finished answers by turns."""
    session = new_session("demo")
    session.title = title
    for number, text in enumerate(texts):
        turn = session.append("assistant" if number % 2 else "user", text)
        turn.finish = "eos" if number % 2 else None
    return session


text = st.text(max_size=30) | st.sampled_from(["a\x00b", "\x00", "\ud800 lone", "\udfff", "“quoted”", "日本語", "a\x00\ud83d"])
number = st.integers(0, 2**31)
milliseconds = st.floats(0, 1e9)
runs = st.builds(Run, source=st.sampled_from(SOURCES), text=text, tokens=st.lists(number, max_size=3).map(tuple))
rounds = st.builds(
    Round,
    id=number,
    index=number,
    drafter=text,
    drafted=number,
    tested=number,
    accepted=number,
    runs=st.lists(runs, max_size=3).map(tuple),
    rejected=text,
    draft_ms=milliseconds,
    verify_ms=milliseconds,
)
positions = st.lists(number, max_size=3).map(tuple)
drafters = st.builds(
    DrafterStatistics,
    rounds=number,
    drafted=number,
    tested=number,
    accepted=number,
    tested_by_position=positions,
    accepted_by_position=positions,
)
statistics = st.builds(
    Statistics,
    prompt_tokens=number,
    reused_tokens=number,
    prefill_ms=milliseconds,
    first_token_ms=milliseconds,
    answer_tokens=number,
    decode_ms=milliseconds,
    tokens_per_second=milliseconds,
    rounds=number,
    tokens_per_round=milliseconds,
    draft_ms=milliseconds,
    verify_ms=milliseconds,
    drafters=st.dictionaries(text, drafters, max_size=2),
)
setups = st.builds(
    Setup,
    pair=text,
    target=text,
    draft=st.none() | text,
    dtype=text,
    device=text,
    exact=st.booleans(),
    context=number,
    sampling=st.builds(
        Sampling, temperature=st.none() | st.floats(0, 10), top_k=st.none() | number, seed=st.none() | st.integers(0, 2**63 - 1)
    ),
    drafting=st.builds(Drafting, draft=st.sampled_from(["auto", "off", "ngram", "model"]), draft_tokens=st.none() | st.integers(0, 15)),
    system=text,
    thinking=st.none() | st.booleans(),
)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """A session with a tree of turns."""
    session = Session(
        id=draw(st.uuids()).hex,
        title=draw(text),
        created=draw(milliseconds),
        updated=draw(milliseconds),
        pair=draw(text),
        system=draw(text),
    )
    for _ in range(draw(st.integers(0, 4))):
        turn = Turn(
            id=draw(st.uuids()).hex,
            parent=draw(st.sampled_from([None, *session.turns])),
            role=draw(st.sampled_from(["user", "assistant"])),
            created=draw(milliseconds),
            text=draw(text),
            rounds=draw(st.lists(rounds, max_size=3)),
            finish=draw(st.none() | st.sampled_from(FINISHES)),
            error=draw(text),
            statistics=draw(st.none() | statistics),
            setup=draw(st.none() | setups),
        )
        session.turns[turn.id] = turn
        session.head = turn.id
    return session
