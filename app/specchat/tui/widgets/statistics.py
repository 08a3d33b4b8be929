"""The figures of an answer beside the conversation, and in one line where there is no room for that."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from textual.content import Content
from textual.widget import Widget

from specchat.live import LiveFigures
from specchat.tui.names import drafter_name
from specchat.tui.widgets.bars import bar, column, large, sparkline
from specchat.tui.widgets.fitting import Form, fit
from specchat.tui.widgets.styles import ACCENT, MUTED, STRONG
from specdec.events import Ready
from specdec.memory import size_text
from specdec.statistics import DrafterTally

NOTHING = "—"
SEPARATOR = Content.styled(" · ", MUTED)


class _Room(Enum):
    """How much height there is: for large digits and empty rows, for the percentage of every position, or for neither."""

    AIRY = "airy"
    TIGHT = "tight"
    LOW = "low"


class _FiguresWidget(Widget):
    """What panel and line share: the figures to show, drawn anew whenever they are given."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._figures: LiveFigures | None = None
        self._ready: Ready | None = None
        self._ratio: float | None = None

    def show(self, figures: LiveFigures | None, ready: Ready | None, ratio: float | None = None) -> None:
        """Show an answer as decoded by what is loaded; `ratio` is how many times as long plain decoding took, if measured."""
        self._figures, self._ready, self._ratio = figures, ready, ratio
        self.refresh()


class StatisticsPanel(_FiguresWidget):
    """All figures, one topic below the other; where the panel is low, the large digits and the empty rows go first,
    then most of the percentages by position."""

    DEFAULT_CSS = """
    StatisticsPanel {
        width: 32;
        height: 1fr;
        padding: 0 1;
        border: round $foreground 30%;
        border-title-color: $foreground;
        border-title-style: bold;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """
    BORDER_TITLE = "Statistics"

    def render(self) -> Content:
        """The rows, in the roomiest way that is not higher than the panel."""
        width, height = self.content_size
        for room in _Room:
            rows = [row for row in self._rows(width, room) if row or room is _Room.AIRY]
            if len(rows) <= height:
                break
        return Content("\n").join(rows)

    def _rows(self, width: int, room: _Room) -> Iterator[Content]:
        figures, ready = self._figures, self._ready
        if figures is None:
            yield Content.styled("no answer yet", MUTED)
        else:
            yield from _speed(figures, width, room)
            if self._ratio is not None:
                yield _row(f"{self._ratio:.1f}x plain", "by /compare", width, STRONG, MUTED)
            yield _row("first token", _ms(figures.first_token_ms), width)
            yield _row("rounds", str(figures.round_count), width)
            yield _row("tokens/round", _decimal(figures.tokens_per_round, 2), width)
            yield from _acceptance(figures, width, room)
            yield from _times(figures, width)
            yield from _recent(figures, width)
        if ready is not None:
            yield Content()
            if figures is not None:
                yield _row("context", f"{figures.context_used} of {ready.context}", width)
                if room is not _Room.LOW:
                    yield _bar(figures.context_used / ready.context, width)
            else:
                yield _row("context", str(ready.context), width)
            yield _row("memory", size_text(ready.memory_bytes), width)


class StatisticsLine(_FiguresWidget):
    """The same in one row: what does not fit is left out, the speed last."""

    DEFAULT_CSS = """
    StatisticsLine {
        height: 1;
        padding: 0 1;
        text-wrap: nowrap;
    }
    """

    def render(self) -> Content:
        """The row."""
        return fit(list(self._pieces()), self.content_size.width, SEPARATOR)

    def _pieces(self) -> Iterator[list[Form]]:
        figures, ready = self._figures, self._ready
        if figures is None:
            yield [(1, Content.styled("no answer yet", MUTED))]
            if ready is not None:
                yield [(0, Content.assemble(("context ", MUTED), (str(ready.context), STRONG)))]
            return
        yield [(9, _number(_decimal(figures.tokens_per_second, 0), "tok/s"))]
        if self._ratio is not None:
            yield [(7, _number(f"{self._ratio:.1f}x", "plain"))]
        yield [(6, _number(_decimal(figures.tokens_per_round, 1), "tok/round"))]
        for rank, (name, drafter) in enumerate(sorted(figures.drafters.items(), key=lambda item: -item[1].tested)):
            yield [(5 - min(rank, 4), Content.assemble((f"{drafter_name(name)} ", MUTED), (f"{drafter.acceptance:.0%}", STRONG)))]
        if ready is not None:
            used = f"{figures.context_used}/{ready.context}"
            yield [(8, Content.assemble(("ctx ", MUTED), (used, STRONG)))]
        yield [(0, _number(_ms(figures.first_token_ms), "first token"))]


def _speed(figures: LiveFigures, width: int, room: _Room) -> Iterator[Content]:
    speed = figures.tokens_per_second
    text = _decimal(speed, 0 if speed is None or speed >= 100 else 1)
    if room is not _Room.AIRY or speed is None:
        yield _row("tok/s", text, width)
        return
    for digits, words in zip(large(text), ("", "tok/s", "decoding"), strict=True):
        yield Content.assemble((digits, "bold $text-primary"), f"  {words}")
    yield Content()


def _acceptance(figures: LiveFigures, width: int, room: _Room) -> Iterator[Content]:
    if not figures.drafters:
        return
    yield Content()
    yield _row("accepted/tested", "by position", width, MUTED, MUTED)
    for name, drafter in figures.drafters.items():
        yield _row(drafter_name(name), f"{drafter.accepted}/{drafter.tested}  {drafter.acceptance:.0%}", width)
        yield from _slope(drafter) if room is _Room.LOW else _positions(drafter, width)
    if figures.discarded:
        yield _row("discarded after EOS", str(figures.discarded), width)


def _positions(drafter: DrafterTally, width: int) -> Iterator[Content]:
    """For each position of a draft a column and the percentage below it, in as many pairs of rows as it takes."""
    parts = drafter.by_position
    each = max(width // 4, 1)
    for start in range(0, len(parts), each):
        shown = parts[start : start + each]
        yield Content.styled("".join(f"{column(part) * 2:>4}" for part in shown), ACCENT)
        yield Content.styled("".join(f"{part * 100:>4.0f}" for part in shown), MUTED)


def _slope(drafter: DrafterTally) -> Iterator[Content]:
    """The same in one row: the columns between the first percentage and the last."""
    parts = drafter.by_position
    if parts:
        ends = (f"  {parts[0] * 100:.0f} ", MUTED), (f" {parts[-1] * 100:.0f}", MUTED)
        yield Content.assemble(ends[0], (sparkline(parts, 1.0), ACCENT), ends[1])


def _times(figures: LiveFigures, width: int) -> Iterator[Content]:
    """Draft against verify: the words at the ends of a split bar."""
    whole = figures.draft_ms + figures.verify_ms
    yield Content()
    yield _row(f"draft {_ms(figures.draft_ms)}", f"verify {_ms(figures.verify_ms)}", width, ACCENT, "")
    if whole:
        yield _bar(figures.draft_ms / whole, width)


def _recent(figures: LiveFigures, width: int) -> Iterator[Content]:
    recent = list(figures.recent)[-width:]
    if not recent:
        return
    yield Content()
    yield _row(f"last {len(recent)} rounds" if len(recent) > 1 else "last round", f"max {max(recent)}", width, MUTED, MUTED)
    yield Content.styled(sparkline(recent, max(recent)), "$text-success")


def _row(label: str, value: str, width: int, label_style: str = MUTED, value_style: str = STRONG) -> Content:
    """A name at the left and its value at the right."""
    gap = max(width - len(label) - len(value), 1)
    return Content.assemble((label, label_style), " " * gap, (value, value_style))


def _bar(part: float, width: int) -> Content:
    filled, rest = bar(part, width)
    return Content.assemble((filled, ACCENT), (rest, MUTED))


def _number(value: str, unit: str) -> Content:
    return Content.assemble((value, STRONG), (f" {unit}", MUTED))


def _decimal(value: float | None, places: int) -> str:
    return NOTHING if value is None else f"{value:.{places}f}"


def _ms(value: float | None) -> str:
    """Milliseconds for people: seconds from ten of them on."""
    if value is None:
        return NOTHING
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.{int(value < 10)}f} ms"
