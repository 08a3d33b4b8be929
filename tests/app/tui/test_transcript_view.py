"""Promises of the transcript: text as it is, marks that change only its looks, and a viewport that stays where it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from rich.segment import Segment
from rich.style import Style
from tests.app.tui.conversations import answer, prompt, round_of, rounds_over
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from specchat.marks import MARKS, counts
from specchat.settings import Marks
from specchat.transcript import Turn
from specchat.tui.transcript import wrap as wrapping
from specchat.tui.transcript.view import TranscriptView
from specchat.tui.transcript.wrap import Piece

ANSWER = """# Sorting [now]

Use **quicksort** on `items`, as the [docs](http://x.y) say; it is fast in practice and short enough to remember.

```python
def sort(items):
    return sorted(items)  # cheat
```

- one item
- 快速排序 👩‍💻 cafe\u0301 \x1b[31m

Last words."""
PROMPT = "Write quicksort,\nplease: [red]not markup[/] " + "and explain it at length " * 4


class Stage(App[None]):
    """An app that is only a transcript."""

    CSS = "TranscriptView { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.picked: list[tuple[str, int]] = []

    def compose(self) -> ComposeResult:
        yield TranscriptView()

    def on_transcript_view_round_picked(self, event: TranscriptView.RoundPicked) -> None:
        self.picked.append((event.turn_id, event.index))


class Scene:
    """A transcript on its stage."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot
        self.view = pilot.app.query_one(TranscriptView)

    async def show(self, *turns: Turn, positions: Mapping[str, tuple[int, int]] | None = None) -> None:
        self.view.show(turns, positions or {})
        await self.until(lambda: self.view.settled)

    async def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(500):
            await self.pilot.pause()
            if reached():
                return
        raise AssertionError("not reached")

    def segments(self) -> list[list[Segment]]:
        top = self.view.scroll_offset.y
        return [list(self.view.render_line(y - top)) for y in range(self.view.virtual_size.height)]

    def rows(self) -> list[str]:
        return ["".join(segment.text for segment in row)[2:].rstrip() for row in self.segments()]

    def seen(self) -> list[str]:
        return [self.view.render_line(y).text for y in range(self.view.size.height)]

    def style_of(self, text: str) -> Style:
        for row in self.segments():
            for segment in row:
                if text in segment.text and segment.style:
                    return segment.style
        raise AssertionError(f"{text!r} is in no segment of its own")

    def place_of(self, text: str) -> tuple[int, int]:
        for y, row in enumerate(self.seen()):
            if text in row:
                return row.index(text), y
        raise AssertionError(f"{text!r} is not in sight")

    async def drag(self, start: tuple[int, int], end: tuple[int, int]) -> str | None:
        await self.pilot.mouse_down(TranscriptView, offset=start)
        await self.pilot.hover(TranscriptView, offset=end)
        await self.pilot.mouse_up(TranscriptView, offset=end)
        return self.view.screen.get_selected_text()


@asynccontextmanager
async def stage(width: int = 80, height: int = 24) -> AsyncIterator[Scene]:
    async with Stage().run_test(size=(width, height)) as pilot:
        yield Scene(pilot)


async def test_turns_are_shown_with_their_titles() -> None:
    async with stage(60, 40) as scene:
        await scene.show(
            prompt("p", PROMPT),
            answer("a", "The answer.", "max_tokens"),
            answer("b", "Half of it", "stopped"),
            answer("c", "Lost", None, error="The engine ended. Press R."),
            positions={"a": (2, 3)},
        )
        rows = scene.rows()
    assert rows[:3] == ["You", "Write quicksort,", "please: [red]not markup[/] and explain it at length and"]
    assert "demo · 182 tok/s · 2/3 · max tokens" in rows
    assert "demo · 182 tok/s · interrupted" in rows
    assert "✗ The engine ended. Press R." in rows


async def test_an_answer_grows_raw_and_settles_as_markdown() -> None:
    async with stage() as scene:
        await scene.show(prompt("p", "Hi"))
        turn = answer("a", "", None)
        turn.statistics = None
        scene.view.append(turn)
        assert "demo · answering" in scene.rows()
        turn.add([round_of(("draft", "Some **bo"), ("corrected", "ld**"))])
        scene.view.grow(turn)
        turn.add([round_of(("target", " words"))])
        scene.view.grow(turn)
        assert "Some **bold** words" in scene.rows()
        turn.finish = "eos"
        scene.view.settle(turn)
        rows = scene.rows()
        assert "Some bold words" in rows
        assert "demo" in rows
        scene.view.markdown = False
        await scene.pilot.pause()
        assert "Some **bold** words" in scene.rows()


async def test_a_notice_is_at_the_end_until_the_next_turn() -> None:
    async with stage() as scene:
        await scene.show(prompt("p", "Hi"))
        scene.view.notice("The context is full.\nStart a new conversation.", "warning")
        assert scene.rows()[-2:] == ["! The context is full.", "  Start a new conversation."]
        scene.view.append(answer("a", "x"))
        assert not any("context" in row for row in scene.rows())


async def test_the_hint_is_there_only_without_turns() -> None:
    async with stage() as scene:
        scene.view.hint = [[Piece("Ask anything.")], [Piece("F1", style="strong"), Piece(" helps.")]]
        await scene.show()
        assert [row.strip() for row in scene.rows() if row] == ["Ask anything.", "F1 helps."]
        scene.view.append(prompt("p", "Hi"))
        assert not any("Ask" in row for row in scene.rows())


async def test_each_source_has_its_style() -> None:
    async with stage() as scene:
        turn = answer("a", "")
        turn.add([round_of(("draft", "drafted"), ("ngram", "copied"), ("corrected", "mended"), ("bonus", "gift"), ("target", "plain"))])
        await scene.show(turn)
        colours = set()
        for text, mark in zip(("drafted", "copied", "mended", "gift", "plain"), MARKS.values(), strict=True):
            style = scene.style_of(text)
            assert (bool(style.bold), bool(style.italic), bool(style.underline)) == (mark.bold, mark.italic, mark.underline)
            colours.add(style.color)
        assert len(colours) == 5
        scene.view.marks = "off"
        await scene.pilot.pause()
        assert not scene.style_of("draftedcopiedmendedgiftplain").underline


async def test_code_keeps_its_colours_under_the_marks() -> None:
    async with stage() as scene:
        turn = answer("a", "")
        turn.add([round_of(("draft", "```python\nreturn"), ("target", " x\n```"))])
        await scene.show(turn)
        marked = scene.style_of("return")
        scene.view.marks = "off"
        await scene.pilot.pause()
        plain = scene.style_of("return")
    assert (marked.color, marked.bgcolor) == (plain.color, plain.bgcolor)
    assert marked.underline
    assert not plain.underline


async def test_a_token_border_does_not_tear_a_grapheme() -> None:
    async with stage() as scene:
        turn = answer("a", "")
        turn.add([round_of(("draft", "x👩"), ("ngram", "\u200d"), ("target", "💻"), ("bonus", "e"), ("draft", "\u0301!"))])
        await scene.show(turn)
        row = next(row for row in scene.segments() if "👩" in "".join(segment.text for segment in row))
        assert "x👩\u200d💻" in [segment.text for segment in row]
        assert sum(segment.cell_length for segment in row) == scene.view.size.width


@pytest.mark.parametrize("markdown", [True, False])
async def test_gutters_count_every_token_once(markdown: bool) -> None:
    async with stage(100, 60) as scene:
        turn = answer("a", ANSWER)
        scene.view.marks = "glyph"
        scene.view.markdown = markdown
        await scene.show(turn)
        gutters = [str(row[-1].text).split() for row in scene.segments()]
    total = counts(run for round_ in turn.rounds for run in round_.runs)
    for source, mark in MARKS.items():
        assert sum(int(part[1:]) for gutter in gutters for part in gutter if part.startswith(mark.letter)) == total[source]


@pytest.mark.parametrize("markdown", [True, False])
@pytest.mark.parametrize("marks", ["style", "glyph", "off"])
@pytest.mark.parametrize("width", [60, 80])
async def test_what_is_copied_is_the_source(marks: Marks, markdown: bool, width: int) -> None:
    async with stage(width, 40) as scene:
        scene.view.marks = marks
        scene.view.markdown = markdown
        await scene.show(prompt("p", PROMPT), answer("a", ANSWER))
        copied = await scene.drag(scene.place_of("quicksort,"), scene.place_of("Last words."))
        assert copied == PROMPT[PROMPT.index("quicksort,") :] + "\n\n" + ANSWER[: ANSWER.index("ast words.")]
        copied = await scene.drag(scene.place_of("def sort"), scene.place_of("cheat"))
        assert copied == ANSWER[ANSWER.index("def sort") : ANSWER.index("heat")]
        copied = await scene.drag(scene.place_of("please"), (width - 3, scene.place_of("please")[1] + 1))
        assert copied is not None
        assert PROMPT[PROMPT.index("please") :].startswith(copied)
        assert len(copied) > width - 20
        assert "\n" not in copied


async def test_a_selection_keeps_to_its_text_while_rows_move() -> None:
    async with stage(80, 40) as scene:
        turn = answer("a", ANSWER)
        await scene.show(prompt("p", PROMPT), turn)
        copied = await scene.drag(scene.place_of("on"), scene.place_of("remember"))
        await scene.pilot.resize_terminal(50, 30)
        scene.view.marks = "off"
        scene.view.markdown = False
        await scene.pilot.pause()
        assert scene.view.screen.get_selected_text() == copied
        selected = scene.view.screen.get_component_rich_style("screen--selection").bgcolor
        shown = "".join(part.text for row in scene.segments() for part in row if part.style and part.style.bgcolor == selected)
        assert copied is not None
        assert shown.replace(" ", "") == copied.replace(" ", "")


async def test_a_selection_begins_and_ends_with_whole_graphemes() -> None:
    async with stage() as scene:
        await scene.show(answer("a", "- x cafe\u0301 y\n- z"))
        (x, y) = scene.place_of("x cafe")
        assert await scene.drag((x, y), (x + 5, y)) == "x cafe\u0301"


async def test_decoration_is_not_copied() -> None:
    async with stage() as scene:
        await scene.show(prompt("p", "one"), answer("a", "two [three](url)"))
        assert await scene.drag((0, 0), (79, 20)) == "one\n\ntwo [three](url)"
        assert await scene.drag((0, 0), (1, 3)) == "one"


async def test_double_and_triple_click_select_word_and_turn() -> None:
    async with stage() as scene:
        await scene.show(prompt("p", "some words here"), answer("a", "x"))
        x, y = scene.place_of("words")
        await scene.pilot.click(TranscriptView, offset=(x + 2, y), times=2)
        assert scene.view.screen.get_selected_text() == "words"
        await scene.pilot.click(TranscriptView, offset=(x + 2, y), times=3)
        assert scene.view.screen.get_selected_text() == "some words here"


async def test_a_click_on_a_token_picks_its_round() -> None:
    async with stage() as scene:
        turn = answer("a", "")
        turn.add([round_of(("draft", "first ")), round_of(("ngram", "second "), ("bonus", "third"))])
        await scene.show(turn)
        await scene.pilot.click(TranscriptView, offset=scene.place_of("third"))
        await scene.pilot.click(TranscriptView, offset=scene.place_of("demo"))
        await scene.pilot.click(TranscriptView, offset=(70, scene.place_of("third")[1]))
        await scene.drag(scene.place_of("first"), scene.place_of("second"))
        assert isinstance(scene.pilot.app, Stage)
        assert scene.pilot.app.picked == [("a", 1)]


@pytest.mark.parametrize("markdown", [True, False])
async def test_the_selected_round_shows_what_was_rejected(markdown: bool) -> None:
    async with stage() as scene:
        scene.view.markdown = markdown
        turn = answer("a", "")
        turn.add([round_of(("draft", "It is "), ("corrected", "right"), rejected=" wrong\nway"), round_of(("target", " so."))])
        await scene.show(turn)
        scene.view.selected = "a"
        scene.view.selected_round = 0
        await scene.pilot.pause()
        assert "It is right wrong⏎way so." in scene.rows()
        assert scene.style_of("wrong⏎way").strike
        assert scene.style_of("right").reverse
        assert not scene.style_of("so.").reverse
        assert await scene.drag(scene.place_of("It is"), scene.place_of("so.")) == "It is right s"
        scene.view.selected_round = None
        await scene.pilot.pause()
        assert "It is right so." in scene.rows()


async def test_selecting_moves_by_turns_and_brings_them_into_sight() -> None:
    async with stage(80, 10) as scene:
        await scene.show(*(prompt(str(number), f"turn {number}\n" * 5) for number in range(20)))
        for step, chosen in ((-1, "19"), (-1, "18"), (-20, "0"), (1, "1")):
            scene.view.move_selection(step)
            await scene.pilot.pause()
            assert scene.view.selected == chosen
            row = next(row for row in scene.seen() if f"turn {chosen}" in row)
            assert row.startswith("▌")


async def test_the_end_is_followed_only_while_in_sight() -> None:
    async with stage(80, 10) as scene:
        turn = answer("a", "", None)
        await scene.show(prompt("p", "line\n" * 30))
        scene.view.append(turn)

        def grow(words: str) -> None:
            turn.add([round_of(("target", words))])
            scene.view.grow(turn)

        for number in range(20):
            grow(f"row {number}\n")
            assert scene.view.following
            assert any(f"row {number}" in row for row in scene.seen())
        await scene.pilot.press("tab", "pageup")
        before = scene.seen()
        assert not scene.view.following
        for number in range(20, 40):
            grow(f"row {number}\n")
        assert scene.seen() == before
        await scene.pilot.press("end")
        assert scene.view.following
        grow("the end")
        assert any("the end" in row for row in scene.seen())
        await scene.pilot.press("home")
        assert not scene.view.following
        scene.view.follow()
        assert scene.view.following


async def test_what_is_in_sight_stays_when_rows_above_change() -> None:
    async with stage(90, 12) as scene:
        turns = [turn for number in range(40) for turn in (prompt(f"p{number}", PROMPT), answer(f"a{number}", ANSWER))]
        scene.view.show(turns, {})
        scene.view.scroll_to(y=200)
        before = scene.seen()
        await scene.until(lambda: scene.view.settled)
        assert scene.seen() == before
        turns[0].text += " more" * 200
        scene.view.grow(turns[0])
        assert scene.seen() == before
        top = next(row for row in before if row[2:].strip())[2:20].strip()
        await scene.pilot.resize_terminal(70, 12)
        await scene.until(lambda: scene.view.settled)
        assert any(top[:10] in row for row in scene.seen()[:4])


async def test_thoughts_fold_when_the_answer_ends() -> None:
    async with stage() as scene:
        turn = answer("a", "", None)
        await scene.show(prompt("p", "Why?"))
        scene.view.append(turn)
        turn.add(rounds_over("<think>\nhmm, well\n</think>\n\nBecause."))
        scene.view.grow(turn)
        assert {"hmm, well", "Because."} <= set(scene.rows())
        turn.finish = "eos"
        scene.view.settle(turn)
        tokens = sum(len(run.tokens) for round_ in turn.rounds for run in round_.runs)
        folded = next(row for row in scene.rows() if "thought for" in row)
        assert 0 < int(folded.split()[-2]) < tokens
        assert "hmm, well" not in scene.rows()
        assert "Because." in scene.rows()
        scene.view.toggle_thinking()
        await scene.pilot.pause()
        assert {"hmm, well", "Because."} <= set(scene.rows())


async def test_code_blocks_come_without_thoughts() -> None:
    async with stage() as scene:
        await scene.show(answer("a", "<think>```\nno\n```</think>\n```py\nyes\n```"))
        assert scene.view.code_blocks("a") == ["yes"]
        assert scene.view.code_blocks("unknown") == []


async def test_styles_survive_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with stage() as scene:
        turn = answer("a", "")
        turn.add([round_of(("draft", "drafted"), ("corrected", "mended"), ("bonus", "gift"))])
        await scene.show(turn)
        picture = scene.pilot.app.export_screenshot()
    for style in ("text-decoration: underline", "font-weight: bold", "font-style: italic"):
        assert style in picture


async def test_a_theme_change_repaints() -> None:
    async with stage() as scene:
        await scene.show(answer("a", "some words"))
        before = scene.style_of("some w").bgcolor
        scene.pilot.app.theme = "textual-light"
        await scene.until(lambda: scene.style_of("some w").bgcolor != before)


async def test_a_long_conversation_stays_cheap_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(100, 30) as scene:
        history = [turn for number in range(150) for turn in (prompt(f"p{number}", PROMPT), answer(f"a{number}", ANSWER))]
        await scene.show(*history)
        wrapped = painted = 0
        wrap, paint = wrapping.wrap, scene.view.render_line

        def counting_wrap(line: list[wrapping.Piece], width: int, words: bool = True) -> object:
            nonlocal wrapped
            wrapped += sum(len(piece.text) for piece in line)
            return wrap(line, width, words)

        def counting_paint(y: int) -> object:
            nonlocal painted
            painted += 1
            return paint(y)

        turn = answer("live", "", None)
        scene.view.append(turn)
        await scene.pilot.pause()
        monkeypatch.setattr(wrapping, "wrap", counting_wrap)
        monkeypatch.setattr(scene.view, "render_line", counting_paint)
        for number in range(300):
            words = "".join(f"w{number:03}{letter} " for letter in "abcdefghi") + "\n" * (number % 9 == 0)
            turn.add([round_of(("draft", words[:40]), ("bonus", words[40:]))])
            if number == 150:
                scene.view.scroll_to(y=0)
                await scene.pilot.pause()
            wrapped = painted = 0
            scene.view.grow(turn)
            await scene.pilot.pause()
            assert wrapped <= len(words) + 100
            assert painted <= (scene.view.size.height if number < 150 else 0)
        assert sum(len(run.tokens) for round_ in turn.rounds for run in round_.runs) > 8_000
        shown = "".join(scene.rows()[-len(turn.text) // 80 - 40 :])
        assert all(word in shown for word in turn.text.split())


async def test_a_portion_on_one_row_repaints_that_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as scene:
        turn = answer("a", "", None)
        await scene.show(prompt("p", PROMPT))
        scene.view.append(turn)
        await scene.pilot.pause()
        lines: list[int] = []
        paint = scene.view.render_line

        def noting_paint(y: int) -> object:
            lines.append(y)
            return paint(y)

        monkeypatch.setattr(scene.view, "render_line", noting_paint)
        for word in ("one ", "two ", "three"):
            lines.clear()
            turn.add([round_of(("target", word))])
            scene.view.grow(turn)
            await scene.pilot.pause()
            assert len(set(lines)) <= 2
