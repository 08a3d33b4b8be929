"""The open conversation and its store: asking, alternatives, taking back, forking, and what happens when nothing can be saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from specchat.conversation import Conversation, apply
from specchat.store import Store, StoreError
from specchat.transcript import Session, Setup, Turn
from specdec.errors import SpecError, UsageError
from specdec.events import Done, Error, Event, Round, Run, Started, Statistics
from specdec.options import Sampling

SETUP = Setup(pair="demo", target="builtin:demo/target")
STATISTICS = Statistics(
    prompt_tokens=3,
    reused_tokens=0,
    prefill_ms=1,
    first_token_ms=2,
    answer_tokens=2,
    decode_ms=3,
    tokens_per_second=600,
    rounds=2,
    tokens_per_round=1,
    draft_ms=1,
    verify_ms=1,
    drafters={},
)


def round_of(text: str, index: int = 0) -> Round:
    runs = (Run(source="target", text=text, tokens=(1,)),)
    return Round(id=9, index=index, drafter="", drafted=0, tested=0, accepted=0, runs=runs, draft_ms=0, verify_ms=1)


class Desk:
    """A conversation, its store, and what it complained of."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = Store(tmp_path / "sessions" / "sessions.db")
        self.complaints: list[SpecError] = []
        self.conversation = Conversation.fresh(self.store, "demo", "Be brief.", self.complaints.append)

    def stored(self) -> Session:
        return self.store.load(self.conversation.session.id)

    def answered(self, text: str, answer: str, instead_of: Turn | None = None) -> tuple[Turn, Turn]:
        prompt, turn = self.conversation.ask(text, SETUP, instead_of)
        self.fill(turn, answer)
        return prompt, turn

    def fill(self, turn: Turn, answer: str) -> None:
        record = self.conversation.recorder(turn)
        events: list[Event] = [
            Started(prompt_tokens=3, reused_tokens=0, prefill_ms=1, sampling=Sampling(seed=7)),
            *(round_of(word, index) for index, word in enumerate(answer.split(" "))),
            Done(finish="eos", statistics=STATISTICS),
        ]
        for event in events:
            record(event)
            apply(turn, event)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_the_recorder_saves_is_what_the_screen_shows(desk: Desk) -> None:
    desk.answered("Hello?\nMore.", "good day")
    assert desk.stored() == desk.conversation.session
    assert desk.stored().title == "Hello?"
    answer = desk.conversation.last_answer()
    assert answer is not None
    assert answer.setup == SETUP.model_copy(update={"sampling": Sampling(seed=7)})
    assert [round_.index for round_ in answer.rounds] == [0, 1]
    assert not desk.complaints


def test_an_empty_conversation_is_not_stored(desk: Desk) -> None:
    desk.conversation.change_system("Be long.")
    assert desk.store.sessions() == []


def test_every_round_is_in_the_store_before_the_next_arrives(desk: Desk) -> None:
    _, answer = desk.conversation.ask("Hello?", SETUP)
    record = desk.conversation.recorder(answer)
    saved = ""
    for index, word in enumerate(["one", " two", " three"]):
        record(round_of(word, index))
        saved += word
        assert desk.stored().turns[answer.id].text == saved
    assert desk.stored().turns[answer.id].interrupted


def test_regenerated_answers_are_alternatives_to_step_through(desk: Desk) -> None:
    prompt, first = desk.answered("Hello?", "one")
    second = desk.conversation.retry(prompt, SETUP)
    desk.fill(second, "two")
    assert [turn.text for turn in desk.conversation.session.branch()] == ["Hello?", "two"]
    assert desk.conversation.positions()[second.id] == (2, 2)
    assert desk.conversation.step(second, -1)
    assert desk.stored().head == first.id
    assert not desk.conversation.step(first, -1)


def test_an_edited_prompt_forks_and_keeps_the_old_branch(desk: Desk) -> None:
    prompt, _ = desk.answered("Hello?", "one")
    desk.answered("And then?", "two")
    edited, _ = desk.answered("Good day?", "three", instead_of=prompt)
    assert [turn.text for turn in desk.stored().branch()] == ["Good day?", "three"]
    assert desk.conversation.step(edited, -1)
    assert [turn.text for turn in desk.stored().branch()] == ["Hello?", "one", "And then?", "two"]


def test_an_answer_that_never_began_is_taken_back_with_its_prompt(desk: Desk) -> None:
    _, first = desk.answered("Hello?", "one")
    _, answer = desk.conversation.ask("Too long", SETUP)
    assert desk.conversation.withdraw(answer) == "Too long"
    assert desk.conversation.session.head == first.id
    assert desk.stored() == desk.conversation.session


def test_taking_back_a_second_answer_keeps_the_prompt_and_the_first(desk: Desk) -> None:
    prompt, first = desk.answered("Hello?", "one")
    assert desk.conversation.withdraw(desk.conversation.retry(prompt, SETUP)) == ""
    assert desk.conversation.session.head == first.id
    assert list(desk.stored().turns) == [prompt.id, first.id]


def test_the_first_prompt_of_all_can_be_taken_back(desk: Desk) -> None:
    _, answer = desk.conversation.ask("Hello?", SETUP)
    assert desk.conversation.withdraw(answer) == "Hello?"
    assert desk.conversation.session.turns == {}
    assert desk.conversation.session.head is None
    desk.answered("Again?", "yes")
    assert desk.stored() == desk.conversation.session


def test_an_interrupted_answer_goes_on_where_it_ended(desk: Desk) -> None:
    _, answer = desk.conversation.ask("Hello?", SETUP)
    record = desk.conversation.recorder(answer)
    for event in (round_of("one"), Error(kind="engine-lost", cause="The engine died.", next_step="Try again.")):
        record(event)
        apply(answer, event)
    assert desk.stored().turns[answer.id].error == "The engine died. Try again."
    desk.conversation.reopen(answer)
    desk.fill(answer, "-two")
    stored = desk.stored().turns[answer.id]
    assert (stored.text, stored.error, stored.finish) == ("one-two", "", "eos")
    assert [round_.index for round_ in stored.rounds] == [0, 1]


def test_a_fork_is_a_conversation_of_its_own(desk: Desk) -> None:
    _, first = desk.answered("Hello?", "one")
    desk.answered("And then?", "two")
    copy = desk.conversation.fork(first)
    assert [turn.text for turn in copy.session.branch()] == ["Hello?", "one"]
    assert not set(copy.session.turns) & set(desk.conversation.session.turns)
    assert desk.store.load(copy.session.id) == copy.session
    copy.change_system("Be loud.")
    assert desk.store.load(copy.session.id).system == "Be loud."


def test_a_title_can_be_given_but_not_taken_away(desk: Desk) -> None:
    desk.answered("Hello?", "one")
    desk.conversation.rename("  Greetings \n and more ")
    assert desk.stored().title == "Greetings and more"
    with pytest.raises(UsageError):
        desk.conversation.rename(" \n")


def test_what_could_not_be_saved_is_saved_when_it_can_be(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.answered("Hello?", "one")

    def full(*_: object) -> None:
        raise StoreError("The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        for name in ("save", "add_turn", "add_rounds", "settle", "save_again"):
            patch.setattr(desk.store, name, full)
        desk.answered("And then?", "two three")
    assert {error.cause for error in desk.complaints} == {"The disk is full."}
    assert [turn.text for turn in desk.stored().branch()] == ["Hello?", "one"]
    desk.answered("And now?", "four")
    assert desk.stored() == desk.conversation.session
    assert [turn.text for turn in desk.stored().branch()] == ["Hello?", "one", "And then?", "twothree", "And now?", "four"]
