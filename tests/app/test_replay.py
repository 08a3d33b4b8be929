"""An answer decoded again: what is asked of the engine, what is compared, and how it is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.app.harness import FAKE_ENGINE

from specchat.client import EngineClient
from specchat.replay import Comparison, Step, Verdict, compare, verify
from specchat.transcript import Setup, Turn
from specdec.errors import ContextFullError, EngineLostError, SpecError, UsageError
from specdec.events import Chat, Done, Event, Load, Round, Run, Started, Statistics, Unload
from specdec.options import Drafting, Message, Sampling

QUESTION = (Message(role="user", content="hello"),)
SETUP = Setup(pair="demo", target="t", exact=True, sampling=Sampling(seed=7, temperature=0.8), system="Be brief.", thinking=False)


def rounds_of(words: Sequence[str]) -> list[Round]:
    """One token a round; a word's token is its hash, so that equal words are equal tokens."""
    return [
        Round(
            index=index,
            drafter="int4",
            drafted=0,
            tested=0,
            accepted=0,
            runs=(Run(source="target", text=word, tokens=(hash(word),)),),
            draft_ms=1,
            verify_ms=2,
        )
        for index, word in enumerate(words)
    ]


def statistics_of(tokens: int, decode_ms: float) -> Statistics:
    return Statistics(
        prompt_tokens=5,
        reused_tokens=0,
        prefill_ms=1,
        first_token_ms=2,
        answer_tokens=tokens,
        decode_ms=decode_ms,
        tokens_per_second=tokens / decode_ms * 1000,
        rounds=tokens,
        tokens_per_round=1,
        draft_ms=1,
        verify_ms=2,
        drafters={},
    )


class ScriptedClient(EngineClient):
    """Answers each chat with the next of `answers`: its words and its milliseconds of decoding; a word may be an error."""

    def __init__(self, *answers: tuple[Sequence[str], float]) -> None:
        super().__init__(Path("unused"))
        self.answers = list(answers)
        self.asked: list[Chat] = []
        self.stops: list[int] = []

    def send(self, request: Load | Chat | Unload) -> int:  # type: ignore[override]
        assert isinstance(request, Chat)
        self.asked.append(request)
        return len(self.asked)

    def stop(self, request_id: int) -> None:
        self.stops.append(request_id)

    def events(self, request_id: int) -> Iterator[Event]:
        words, decode_ms = self.answers[request_id - 1]
        yield Started(prompt_tokens=5, reused_tokens=0, prefill_ms=1, sampling=Sampling(seed=7))
        for round_ in rounds_of(words):
            if request_id in self.stops:
                yield Done(finish="stopped", statistics=statistics_of(1, 1.0))
                return
            yield round_
        yield Done(finish="max_tokens", statistics=statistics_of(len(words), decode_ms))


def answer(words: Sequence[str], setup: Setup | None = SETUP) -> Turn:
    turn = Turn("a", "q", "assistant", 0.0, setup=setup, statistics=statistics_of(len(words), 20.0))
    turn.add(rounds_of(words))
    return turn


def unwatched(step: Step) -> None:
    """Nobody looks."""


def never() -> bool:
    return False


def check(client: EngineClient, turn: Turn) -> Verdict:
    verdict = verify(client, turn, QUESTION, unwatched, never)
    assert verdict is not None
    return verdict


def race(client: EngineClient, turn: Turn, repeats: int = 2) -> Comparison:
    comparison = compare(client, turn, QUESTION, unwatched, never, repeats)
    assert comparison is not None
    return comparison


def test_verify_asks_for_the_same_answer_without_drafts() -> None:
    client = ScriptedClient((["a ", "b ", "c"], 60.0))
    verdict = check(client, answer(["a ", "b ", "c"]))
    assert verdict.same
    assert client.asked == [
        Chat(
            messages=(Message(role="system", content="Be brief."), *QUESTION),
            sampling=SETUP.sampling,
            drafting=Drafting(draft="off"),
            max_tokens=3,
            thinking=False,
        )
    ]
    assert verdict.summary == "Same text, token by token (3): plain decoding took 60 ms, the answer 20 ms."


def test_verify_finds_the_first_token_that_differs() -> None:
    verdict = check(ScriptedClient((["one ", "two ", "four"], 60.0)), answer(["one ", "two ", "three", " five"]))
    assert verdict.difference is not None
    assert verdict.difference.token == 3
    assert verdict.difference.plain == "one two four"
    assert verdict.difference.speculative == "one two three five"
    assert "report it" in verdict.summary


def test_a_plain_answer_that_goes_on_or_ends_early_differs_at_its_end() -> None:
    assert check(ScriptedClient((["a"], 60.0)), answer(["a", "b"])).difference is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exact": False}, "Exact mode"),
        ({"drafting": Drafting(accept="threshold:0.3")}, "lossy"),
        ({"drafting": Drafting(accept="rejection")}, "random numbers"),
        ({}, ""),
    ],
)
def test_a_difference_that_was_to_be_expected_says_why(changes: dict[str, object], reason: str) -> None:
    verdict = check(ScriptedClient((["x"], 60.0)), answer(["a"], SETUP.model_copy(update=changes)))
    assert reason in verdict.reason
    assert bool(verdict.reason) == bool(reason)


def test_control_characters_of_a_difference_are_shown_and_not_obeyed() -> None:
    verdict = check(ScriptedClient((["\x1b[31m\n"], 60.0)), answer(["a"]))
    assert "\x1b" not in verdict.summary
    assert "↵" in verdict.summary


def test_compare_alternates_and_takes_the_median_of_the_repeats() -> None:
    words = ["w"] * 200
    client = ScriptedClient((words, 100.0), (words, 50.0), (words, 300.0), (words, 50.0), (words, 120.0), (words, 40.0))
    comparison = race(client, answer(words), repeats=3)
    assert [chat.drafting.draft for chat in client.asked] == ["off", "auto"] * 3
    assert comparison.ratio == pytest.approx(3.0), "of 2, 6 and 3"
    assert comparison.difference is None
    assert comparison.speculative_rate == pytest.approx(200 / 0.050)


def test_a_short_answer_is_warmed_up_once_and_that_is_not_counted() -> None:
    words = ["w"] * 3
    client = ScriptedClient((words, 9000.0), (words, 9000.0), *[(words, 60.0), (words, 20.0)] * 2)
    comparison = race(client, answer(words))
    assert len(client.asked) == 6
    assert len(comparison.plain) == len(comparison.speculative) == 2
    assert comparison.ratio == pytest.approx(3.0)


def test_compare_keeps_the_drafting_of_the_answer_unless_it_had_none() -> None:
    words = ["w"] * 200
    for drafting, expected in ((Drafting(draft="ngram", draft_tokens=4),) * 2, (Drafting(draft="off"), Drafting(draft="auto"))):
        client = ScriptedClient((words, 1.0), (words, 1.0))
        race(client, answer(words, SETUP.model_copy(update={"drafting": drafting})), repeats=1)
        assert client.asked[1].drafting == expected


def test_compare_reports_texts_that_part() -> None:
    words = ["w"] * 200
    client = ScriptedClient((words, 1.0), ([*words[:-1], "x"], 1.0))
    comparison = race(client, answer(words), repeats=1)
    assert comparison.difference is not None
    assert comparison.difference.token == 200


def test_every_run_is_shown_to_its_end() -> None:
    words = ["w"] * 200
    steps: list[Step] = []
    client = ScriptedClient(*[(words, 10.0)] * 4)
    compare(client, answer(words), QUESTION, steps.append, never)
    ends = [step for step in steps if step.figures.statistics is not None]
    assert [(step.side, step.run, step.runs) for step in ends] == [
        ("plain", 1, 4),
        ("speculative", 2, 4),
        ("plain", 3, 4),
        ("speculative", 4, 4),
    ]
    assert all(step.figures.answer_tokens == step.expected == 200 and step.text == "w" * 200 for step in ends)
    assert steps[0].figures is not steps[-1].figures


def test_a_stop_ends_the_decoding_under_way_and_the_rest() -> None:
    words = ["w"] * 200
    client = ScriptedClient(*[(words, 10.0)] * 4)
    assert compare(client, answer(words), QUESTION, unwatched, lambda: len(client.asked) == 2) is None
    assert client.stops == [2]
    assert len(client.asked) == 2


def test_an_answer_without_tokens_or_setup_cannot_be_replayed() -> None:
    for turn in (Turn("a", None, "assistant", 0.0, text="imported", setup=SETUP), answer(["a"], setup=None)):
        with pytest.raises(UsageError):
            verify(ScriptedClient(), turn, QUESTION, unwatched, never)


def test_a_real_process_is_asked_and_its_errors_are_typed(tmp_path: Path) -> None:
    turn = answer([f"w{index} " for index in range(5)])
    with EngineClient(tmp_path / "log", [*FAKE_ENGINE, "stream", "5"]) as client:
        verdict = verify(client, turn, QUESTION, unwatched, never)
        assert verdict is not None
        assert verdict.plain.rounds == 5
    for mode, error in (("refuse", ContextFullError), ("crash", EngineLostError), ("garbage", SpecError)):
        with EngineClient(tmp_path / "log", [*FAKE_ENGINE, mode]) as client, pytest.raises(error):
            verify(client, turn, QUESTION, unwatched, never)


def test_a_real_process_is_stopped(tmp_path: Path) -> None:
    with EngineClient(tmp_path / "log", [*FAKE_ENGINE, "stall"]) as client:
        seen: list[Step] = []
        assert verify(client, answer(["a"] * 9), QUESTION, seen.append, lambda: bool(seen)) is None
        assert client.alive
