"""Prompts are cut to the context in the middle of their longest message, and no further than needed."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from specdec.benchmark.fitting import GAP, fitted
from specdec.options import Message


def words(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) + 1 for message in messages)


def test_a_conversation_that_fits_stays_as_it_is() -> None:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="one two three"))
    assert fitted(messages, 7, words) == messages


def test_the_longest_message_loses_its_middle_and_nothing_else() -> None:
    text = " ".join(str(number) for number in range(1000))
    messages = (Message(role="system", content="Sum it up."), Message(role="user", content=text))
    system, user = fitted(messages, 100, words)
    assert system == messages[0]
    head, tail = user.content.split(GAP)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1
    assert 97 <= words((system, user)) <= 100


def test_where_even_the_other_messages_are_too_long_nothing_is_cut() -> None:
    messages = (Message(role="system", content="a b c d e f"), Message(role="user", content="what is to be done now"))
    assert fitted(messages, 5, words) == messages


@given(st.text(alphabet="ab \n", min_size=1, max_size=200), st.integers(4, 60))
def test_what_was_cut_fits(text: str, room: int) -> None:
    found = fitted((Message(role="user", content=text),), room, words)
    assert words(found) <= max(room, 4)
