"""What the app looks like, as pictures to compare with: `pytest --snapshot-update` takes new ones, to be looked at before they are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]
from tests.app.fake_engine import MARKDOWN, paced_statistics
from tests.app.tui.scenes import ROUND_SECONDS, Play, Stage, rounds_of
from tests.app.tui_harness import Driver

from specchat.live import LiveFigures
from specchat.replay import Comparison, Replay, Side, Step
from specchat.transcript import Session
from specchat.tui.screens import pairs as pairs_module
from specchat.tui.screens.export import ExportScreen
from specchat.tui.screens.replay import CompareScreen
from specdec.errors import EngineLostError
from specdec.events import Round, Run, Started
from specdec.memory import Memory
from specdec.options import Sampling

SIZES = {"wide": (120, 40), "small": (80, 24), "narrow": (60, 20)}
TODAY = 1_770_000_000.0
Picture = Callable[..., None]

SVGImageExtension.file_extension = "svg"


@pytest.fixture(autouse=True)
def fixed_date(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is always the same second, in the same place."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(time, "time", lambda: TODAY)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def picture(snap_compare: Callable[..., bool]) -> Picture:
    """Plays a story on a stage and compares what is seen at its end with the picture that is kept."""

    def compare(stage: Stage, play: Play, size: str = "wide") -> None:
        assert snap_compare(stage.app, terminal_size=SIZES[size], run_before=stage.before(play))

    return compare


@pytest.mark.parametrize("size", SIZES)
def test_an_empty_conversation_greets(picture: Picture, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    picture(Stage(monkeypatch), Driver.ready, size)


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_streams_with_its_marks(picture: Picture, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    stage = Stage(monkeypatch)

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of()[:24], done=False)

    picture(stage, play, size)


@pytest.mark.parametrize("colours", ["textual-dark", "textual-light", "none"])
def test_an_answer_settles_as_markdown(picture: Picture, monkeypatch: pytest.MonkeyPatch, colours: str) -> None:
    if colours == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    stage = Stage(monkeypatch, view={"theme": "textual-dark" if colours == "none" else colours})

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of())

    picture(stage, play)


def test_marks_as_letters(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, view={"marks": "glyph"})

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of())

    picture(stage, play)


def test_the_source_without_marks(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, view={"marks": "off", "markdown": False})

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of())

    picture(stage, play, "small")


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_a_round_is_looked_into(picture: Picture, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    stage = Stage(monkeypatch)

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of())
        await user.press("f6", *["right"] * 7)
        await user.sees("round 8 of")

    picture(stage, play, size)


@pytest.mark.parametrize("size", ["wide", "small"])
def test_the_first_start_offers_the_pairs(picture: Picture, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setattr(pairs_module, "free_memory", lambda: Memory("gpu", 22 * 10**9, 24 * 10**9))
    stage = Stage(monkeypatch, first_run=True)

    async def play(user: Driver) -> None:
        await user.sees("Enter Use")
        await user.sees("● ready")

    picture(stage, play, size)


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_sessions_are_searched(picture: Picture, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    stage = Stage(monkeypatch)
    for number, title in enumerate(("A story about a dog", "Counting words", "What a dog eats", "Letter to the landlord", "")):
        day = TODAY - 86_400 * 9 * number - 7_400
        session = Session(id=f"{number}" * 32, title=title, created=day, updated=day, pair="demo" if number % 2 else "qwen3-8b")
        session.append("user", f"{title or 'Something'}, please.")
        session.append("assistant", "A dog is a loyal friend; this one ran through the whole garden and barked at the moon.")
        stage.app.desk.store.save_whole(session)

    async def play(user: Driver) -> None:
        user.chat.perform("search", "dog")
        await user.sees("Sessions · 5 found")

    picture(stage, play, size)


def test_an_export_asks_for_format_and_path(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of())
        user.app.push_screen(ExportScreen(stage.app.desk.conversation.session, Path("/home/you/notes"), lambda: ""))
        await user.sees("/home/you/notes")

    picture(stage, play, "small")


@pytest.mark.parametrize(("key", "seen"), [("f5", "Temperature"), ("f1", "Send the prompt")], ids=["settings", "help"])
def test_settings_and_help(picture: Picture, monkeypatch: pytest.MonkeyPatch, key: str, seen: str) -> None:
    stage = Stage(monkeypatch)

    async def play(user: Driver) -> None:
        await user.ready()
        await user.press(key)
        await user.sees(seen)

    picture(stage, play)


def test_a_comparison_ends_with_its_figures(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    def replayed(side: Side, rounds: list[Round], seconds: float) -> tuple[Step, Replay]:
        figures = LiveFigures()
        figures.started(Started(prompt_tokens=20, reused_tokens=0, prefill_ms=12, sampling=Sampling()), 0.0)
        figures.rounds(rounds, seconds)
        tokens = figures.answer_tokens
        statistics = paced_statistics(20, rounds, seconds)
        return Step(side, 1, 2, tokens, figures, MARKDOWN), Replay(tuple(rounds), statistics)

    async def play(user: Driver) -> None:
        rounds = rounds_of()
        words = [run.text for round_ in rounds for run in round_.runs for _ in run.tokens]
        alone = [plain_round(index, word) for index, word in enumerate(words)]
        plain, slow = replayed("plain", alone, len(alone) * ROUND_SECONDS)
        speculative, fast = replayed("speculative", rounds, len(rounds) * ROUND_SECONDS)
        shown = CompareScreen()
        user.app.push_screen(shown)
        await user.sees("waits for its turn")
        shown.progress(plain)
        shown.progress(speculative)
        shown.finish(Comparison((slow,), (fast,), None, ""))
        await user.sees("same text")

    picture(stage, play)


def plain_round(index: int, text: str) -> Round:
    """A round without a draft."""
    run = Run(source="target", text=text, tokens=(index,))
    return Round(index=index, drafter="off", drafted=0, tested=0, accepted=0, runs=(run,), draft_ms=0, verify_ms=11)


def test_a_lost_engine_leaves_what_was_said(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    async def play(user: Driver) -> None:
        await stage.ask(user, rounds_of()[:9], done=False)
        stage.engine.end(EngineLostError("The engine was ended by SIGKILL.", "Send the prompt again to start it anew."))
        await stage.taken(user)
        await user.sees("SIGKILL")

    picture(stage, play, "small")


def test_a_tiny_terminal_is_told_so(snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    assert snap_compare(stage.app, terminal_size=(39, 9), run_before=stage.before(Driver.ready))
