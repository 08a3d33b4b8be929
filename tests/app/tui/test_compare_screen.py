"""The comparison as a user sees it: two columns that grow, a result, and Escape."""

from __future__ import annotations

import pytest
from textual import on
from textual.app import App
from textual.widget import Widget
from textual.widgets import Static

from specchat.live import LiveFigures
from specchat.replay import Comparison, Difference, Replay, Side, Step
from specchat.tui.screens.replay import CompareScreen
from specdec.errors import EngineLostError
from specdec.events import Round, Run, Started, Statistics
from specdec.options import Sampling


class Host(App[None]):
    """Shows a comparison and counts the wishes to stop it."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.compare = CompareScreen()

    def on_mount(self) -> None:
        self.push_screen(self.compare)

    @on(CompareScreen.StopAsked)
    def _count(self) -> None:
        self.stops += 1


def step(side: Side, text: str, tokens: int = 8, run: int = 1) -> Step:
    figures = LiveFigures()
    figures.started(Started(prompt_tokens=1, reused_tokens=0, prefill_ms=1, sampling=Sampling()), 0.0)
    source = Run(source="target", text=text, tokens=(1,) * tokens)
    figures.rounds([Round(index=0, drafter="off", drafted=0, tested=0, accepted=0, runs=(source,), draft_ms=0, verify_ms=1)], 2.0)
    return Step(side, run, 4, 32, figures, text)


def replay(decode_ms: float) -> Replay:
    statistics = Statistics(
        prompt_tokens=1,
        reused_tokens=0,
        prefill_ms=1,
        first_token_ms=1,
        answer_tokens=100,
        decode_ms=decode_ms,
        tokens_per_second=1,
        rounds=1,
        tokens_per_round=1,
        draft_ms=1,
        verify_ms=1,
        drafters={},
    )
    return Replay((), statistics)


def text_of(screen: CompareScreen, name: str) -> str:
    widget = screen.query_one(f"#compare-{name}", Widget)
    return "\n".join(widget.render_line(y).text.strip() for y in range(widget.content_size.height))


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_both_columns_show_speed_progress_and_the_end_of_the_text(size: tuple[int, int]) -> None:
    app = Host()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert "waits" in text_of(app.compare, "speculative")
        app.compare.progress(step("plain", "first [b] line\n" * 50 + "the end\x1b"))
        app.compare.progress(step("speculative", "other text", tokens=16, run=2))
        await pilot.pause()
        plain, speculative = text_of(app.compare, "plain"), text_of(app.compare, "speculative")
        assert "plain · 4.0 tok/s" in plain
        assert "8/32 · 8.0 tok/round" in plain
        assert "[b] line" in plain
        assert plain.rstrip().endswith("the end␛")
        assert "speculative · 8.0 tok/s" in speculative
        assert "other text" in speculative
        assert "2 of 4" in text_of(app.compare, "result")


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (Comparison((replay(230),), (replay(100),), None, ""), ["2.3x plain, same text"]),
        (Comparison((replay(90),), (replay(100),), None, ""), ["0.90x plain: slower, same text"]),
        (
            Comparison((replay(230),), (replay(100),), Difference(41, "brown fox", "brown fax"), "Exact mode was off."),
            ["part at token 41", "Exact mode was off.", "brown fox", "brown fax"],
        ),
        (Comparison((replay(1),), (replay(1),), Difference(2, "a", "b"), ""), ["report it"]),
        (None, ["Stopped before"]),
    ],
)
async def test_the_result_is_told_in_words(comparison: Comparison | None, words: list[str]) -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.compare.progress(step("plain", "x"))
        app.compare.progress(step("speculative", "x"))
        app.compare.finish(comparison)
        await pilot.pause()
        shown = " ".join(text_of(app.compare, "result").split())
        assert all(word in shown for word in words), shown
        if comparison is not None:
            assert f"plain · {comparison.plain_rate:.1f} tok/s" in text_of(app.compare, "plain")


async def test_an_error_is_told_with_its_next_step() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.compare.fail(EngineLostError("The engine was ended by SIGKILL.", "Try [again]."))
        await pilot.pause()
        assert "SIGKILL. Try [again]." in text_of(app.compare, "result")


async def test_escape_asks_for_the_end_once_and_closes_when_pressed_again() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        assert app.stops == 1
        assert app.screen is app.compare
        app.compare.progress(step("plain", "x"))
        await pilot.pause()
        assert "Stopping" in str(app.compare.query_one("#compare-result", Static).content)
        await pilot.press("escape")
        assert app.screen is not app.compare
        assert app.stops == 1


async def test_escape_closes_a_comparison_that_has_ended() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.compare.finish(None)
        await pilot.press("escape")
        assert app.screen is not app.compare
        assert app.stops == 0
