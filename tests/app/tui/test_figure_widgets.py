"""What the header, the statistics, the legend and the round inspector say, at every width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.content import Content
from textual.widget import Widget

from specchat.live import LiveFigures
from specchat.marks import SOURCES
from specchat.transcript import Turn
from specchat.tui.widgets.bars import COLUMNS, bar, column, squeeze, squeezed_index
from specchat.tui.widgets.fitting import fit
from specchat.tui.widgets.header import Status, StatusHeader
from specchat.tui.widgets.inspector import RoundInspector
from specchat.tui.widgets.legend import Legend
from specchat.tui.widgets.statistics import StatisticsLine, StatisticsPanel
from specdec.events import Ready, Round, Run, Source, Started
from specdec.options import Drafting, Sampling

READY = Ready(
    target="Qwen3-8B",
    draft="int4",
    draft_kind="int4",
    dtype="float16",
    device="GPU",
    threads=1,
    context=8192,
    exact=True,
    exact_reason="any number of rows, costs 3%",
    load_ms=1,
    memory_bytes=21_300_000_000,
)


class Alone(App[None]):
    """An app that shows one widget."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


def drafted_round(drafted: int, accepted: int, text: str = " yes", rejected: str = " no", own: str = " own") -> Round:
    source: Source = "bonus" if accepted == drafted else "corrected"
    runs = [Run(source="draft", text=text, tokens=tuple(range(accepted)))] if accepted else []
    return Round(
        index=0,
        drafter="sibling",
        drafted=drafted,
        tested=min(accepted + 1, drafted),
        accepted=accepted,
        runs=(*runs, Run(source=source, text=own, tokens=(9,))),
        rejected=rejected if accepted < drafted else "",
        draft_ms=2.5,
        verify_ms=10,
    )


def figures_of(*rounds: Round) -> LiveFigures:
    figures = LiveFigures()
    figures.started(Started(prompt_tokens=400, reused_tokens=0, prefill_ms=31, sampling=Sampling()), 0.0)
    figures.rounds(rounds, 2.0)
    return figures


def answer_of(*rounds: Round) -> Turn:
    turn = Turn("a", None, "assistant", 0.0)
    turn.add(rounds)
    return turn


def rows_of(widget: Widget) -> list[str]:
    """What is on the screen, row by row, without the border."""
    return [widget.render_line(y).text.rstrip() for y in range(widget.content_size.height)]


def drawn(widget: Widget, text: str) -> Segment:
    """The piece of the screen that holds a text."""
    lines = (widget.render_line(y) for y in range(widget.content_size.height))
    return next(segment for line in lines for segment in line if text in segment.text)


async def header_at(width: int, status: Status) -> str:
    header = StatusHeader()
    async with Alone(header).run_test(size=(width, 5)) as pilot:
        header.show(status)
        await pilot.pause()
        return rows_of(header)[0]


async def test_the_header_names_pair_drafters_exactness_and_state() -> None:
    shown = await header_at(120, Status("ready", ready=READY, seed=42))
    assert shown == "specchat │ Qwen3-8B float16 < int4 copy + n-gram │ exact │ seed 42 │ ● ready"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status("starting", pair="demo"), ["demo", "starting engine"]),
        (Status("loading", "weights 45%", pair="demo"), ["demo", "loading weights 45%"]),
        (Status("stopped", "The engine was ended by SIGKILL.", ready=READY), ["stopped: The engine was ended by SIGKILL."]),
        (Status("answering", ready=READY, drafting=Drafting(draft="off")), ["draft off", "answering"]),
        (Status("stopping", ready=READY, drafting=Drafting(draft="ngram")), ["< n-gram only", "stopping"]),
        (Status("ready", ready=READY, drafting=Drafting(draft="model", draft_tokens=4)), ["< int4 copy only, 4 a round"]),
        (Status("ready", ready=READY, drafting=Drafting(accept="rejection")), ["rejection"]),
        (Status("ready", ready=READY.model_copy(update={"exact": False, "exact_reason": "switched off"})), ["not exact: switched off"]),
        (
            Status("ready", ready=READY.model_copy(update={"draft": None, "draft_kind": None, "draft_problem": "Sizes differ."})),
            ["running without draft: Sizes differ.", "< n-gram"],
        ),
    ],
)
async def test_the_header_says_what_is_out_of_the_ordinary(status: Status, words: list[str]) -> None:
    shown = await header_at(150, status)
    assert all(word in shown for word in words), shown


@pytest.mark.parametrize("width", [120, 80, 60, 40, 30])
async def test_state_and_lossy_rule_stay_in_the_header_at_every_width(width: int) -> None:
    status = Status("answering", ready=READY, drafting=Drafting(accept="threshold:0.3"), seed=123456789)
    shown = await header_at(width, status)
    assert "LOSSY" in shown
    assert "● answering" in shown
    assert len(shown) <= width
    assert ("threshold:0.3" in shown) or width < 40


@pytest.mark.parametrize("width", [120, 80, 60, 40])
async def test_a_missing_draft_is_named_at_every_width(width: int) -> None:
    ready = READY.model_copy(update={"draft": None, "draft_kind": None, "draft_problem": "The vocabularies differ: 151936 and 32000."})
    assert " draft" in (await header_at(width, Status("ready", ready=ready))).replace("< ", "")


async def test_names_in_the_header_are_not_markup_or_control_codes() -> None:
    shown = await header_at(120, Status("ready", ready=READY.model_copy(update={"target": "[red]x[/]\x1b[31m"})))
    assert "[red]x[/]␛[31m" in shown


async def test_the_panel_gives_every_figure_by_its_name() -> None:
    panel = StatisticsPanel()
    async with Alone(panel).run_test(size=(120, 40)) as pilot:
        panel.show(figures_of(drafted_round(4, 2), drafted_round(4, 4)), READY, 2.34)
        await pilot.pause()
        rows = [" ".join(row.split()) for row in rows_of(panel)]
    for row in (
        "2.3x plain by /compare",
        "first token 2031 ms",
        "rounds 2",
        "tokens/round 4.00",
        "accepted/tested by position",
        "sibling 6/7 86%",
        "100 100 50 100",
        "draft 5.0 ms verify 20 ms",
        "context 408 of 8192",
        "memory 21.3 GB",
    ):
        assert row in rows
    assert any(row.endswith("tok/s") for row in rows)


async def test_a_ratio_that_nobody_measured_is_not_shown() -> None:
    panel = StatisticsPanel()
    async with Alone(panel).run_test(size=(120, 40)) as pilot:
        panel.show(figures_of(drafted_round(4, 2)), READY)
        await pilot.pause()
        assert not any("plain" in row for row in rows_of(panel))


@pytest.mark.parametrize("height", [40, 24, 19])
async def test_a_low_panel_keeps_speed_acceptance_context_and_memory(height: int) -> None:
    panel = StatisticsPanel()
    rounds = [drafted_round(15, accepted) for accepted in range(16)]
    rounds += [round_.model_copy(update={"drafter": "ngram"}) for round_ in rounds]
    async with Alone(panel).run_test(size=(120, height)) as pilot:
        panel.show(figures_of(*rounds), READY, 2.3)
        await pilot.pause()
        shown = "\n".join(rows_of(panel))
    for word in ("tok/s", "tokens/round", "sibling", "n-gram", "verify", "context", "memory"):
        assert word in shown


async def test_the_panel_has_words_before_the_first_answer() -> None:
    panel = StatisticsPanel()
    async with Alone(panel).run_test(size=(120, 24)) as pilot:
        panel.show(None, READY)
        await pilot.pause()
        assert rows_of(panel)[0].strip() == "no answer yet"
        assert any("8192" in row for row in rows_of(panel))


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "4 tok/s · 4.0 tok/round · sibling 86% · ctx 408/8192 · 2031 ms first token"),
        (60, "4 tok/s · 4.0 tok/round · sibling 86% · ctx 408/8192"),
        (40, "4 tok/s · 4.0 tok/round · ctx 408/8192"),
        (20, "4 tok/s"),
    ],
)
async def test_the_line_leaves_out_what_does_not_fit(width: int, shown: str) -> None:
    line = StatisticsLine()
    async with Alone(line).run_test(size=(width, 3)) as pilot:
        line.show(figures_of(drafted_round(4, 2), drafted_round(4, 4)), READY)
        await pilot.pause()
        assert rows_of(line) == [shown]


@pytest.mark.parametrize("marks", ["style", "glyph"])
async def test_the_legend_draws_each_source_like_its_tokens_with_its_count(marks: str) -> None:
    legend = Legend()
    counts: dict[Source, int] = {source: number for number, source in enumerate(SOURCES, 11)}
    async with Alone(legend).run_test(size=(100, 3)) as pilot:
        legend.show(counts, marks)  # type: ignore[arg-type]
        await pilot.pause()
        row = rows_of(legend)[0]
        styles = {name: drawn(legend, name).style for name in ("draft", "n-gram", "corrected", "bonus")}
    for words in ("draft 11", "n-gram 12", "corrected 13", "bonus 14", "target 15", "F2"):
        assert words in row
    assert ("d draft" in row) == (marks == "glyph")
    draft, ngram, corrected, bonus = (styles[name] for name in styles)
    assert draft is not None and ngram is not None and corrected is not None and bonus is not None  # noqa: PT018
    assert (draft.underline, draft.italic) == (True, None)
    assert (ngram.underline, ngram.italic) == (True, True)
    assert corrected.bold
    assert (bonus.italic, bonus.underline) == (True, None)


async def test_the_legend_keeps_its_counts_at_40_columns_and_says_how_to_come_back_when_off() -> None:
    legend = Legend()
    async with Alone(legend).run_test(size=(40, 3)) as pilot:
        legend.show(dict.fromkeys(SOURCES, 1234), "style")
        await pilot.pause()
        assert rows_of(legend) == ["d1234  n1234  c1234  b1234  t1234  F2"]
        legend.show({}, "off")
        await pilot.pause()
        assert rows_of(legend)[0].startswith("F2")


async def test_the_inspector_tells_what_became_of_a_draft() -> None:
    inspector = RoundInspector()
    async with Alone(inspector).run_test(size=(80, 24)) as pilot:
        inspector.show(answer_of(drafted_round(4, 4), drafted_round(5, 3, rejected=" [b]no\n")), 1)
        await pilot.pause()
        rows = rows_of(inspector)
        title, times = str(inspector.border_title), str(inspector.border_subtitle)
        accepted, rejected, corrected = (drawn(inspector, text).style for text in ("yes", "[b]no↵", "own"))
        assert accepted is not None and rejected is not None and corrected is not None  # noqa: PT018
        assert (accepted.underline, rejected.strike, corrected.bold) == (True, True, True)
    assert title == "round 2 of 2 · sibling"
    assert times == "draft 2.5 ms · verify 10.0 ms"
    assert [row.split()[0] for row in rows[1:4]] == ["accepted", "rejected", "corrected"]
    assert rows[0].strip() == "drafted 5 · tested 4 · accepted 3"
    assert rows[5].index("▲") == rows[4].index(COLUMNS[-1]) + 1


async def test_the_inspector_names_bonus_discarded_and_plain_tokens() -> None:
    plain = drafted_round(1, 0).model_copy(
        update={"drafted": 0, "tested": 0, "rejected": "", "runs": (Run(source="target", text="x", tokens=(1,)),)}
    )
    ended = drafted_round(5, 2).model_copy(update={"tested": 2, "runs": (Run(source="draft", text="x", tokens=(1, 2)),)})
    inspector = RoundInspector()
    async with Alone(inspector).run_test(size=(80, 24)) as pilot:
        for index, words in enumerate((["bonus"], ["target", "nothing"], ["discarded"])):
            inspector.show(answer_of(drafted_round(4, 4), plain, ended), index)
            await pilot.pause()
            assert all(word in "\n".join(rows_of(inspector)) for word in words)


async def test_the_inspector_stays_inside_the_answer() -> None:
    inspector = RoundInspector()
    async with Alone(inspector).run_test(size=(40, 12)) as pilot:
        for index, number in ((-3, 1), (99, 2)):
            inspector.show(answer_of(drafted_round(4, 4), drafted_round(4, 1)), index)
            await pilot.pause()
            assert f"round {number} of 2" in str(inspector.border_title)
        inspector.show(answer_of(), 0)
        await pilot.pause()
        assert "Nothing is known" in rows_of(inspector)[0]


@given(st.lists(st.integers(0, 16), min_size=1, max_size=300), st.integers(1, 80), st.data())
def test_a_squeezed_row_fits_and_every_value_has_its_place_in_it(values: list[int], width: int, data: st.DataObject) -> None:
    squeezed = squeeze(values, width)
    assert len(squeezed) == min(len(values), width)
    index = data.draw(st.integers(0, len(values) - 1))
    alone = [0.0] * len(values)
    alone[index] = 1.0
    place = squeezed_index(index, len(values), width)
    assert [at for at, value in enumerate(squeeze(alone, width)) if value] == [place]


@given(st.floats(-1, 2), st.integers(1, 60))
def test_bars_have_their_width_and_columns_grow(part: float, width: int) -> None:
    assert len("".join(bar(part, width))) == width
    assert COLUMNS.index(column(part)) <= COLUMNS.index(column(part + 0.2))


@given(
    st.lists(st.tuples(st.integers(0, 20), st.text("ab", min_size=1, max_size=12)), min_size=1, max_size=6, unique_by=lambda p: p[0]),
    st.integers(1, 40),
)
def test_fitting_never_exceeds_the_width_and_keeps_the_highest_rank(pieces: list[tuple[int, str]], width: int) -> None:
    line = fit([[(rank, Content(text))] for rank, text in pieces], width, Content("|"))
    highest = max(pieces)[1]
    assert line.cell_length <= width
    assert len(highest) > width or highest in line.plain.split("|")
