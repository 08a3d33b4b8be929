"""An answer decoded both ways, side by side, while /compare measures it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from specchat.replay import MUST_NOT_HAPPEN, SIDES, Comparison, Side, Step
from specchat.tui.widgets.bars import bar
from specchat.tui.widgets.styles import ACCENT, MUTED, STRONG, WARNING
from specchat.visible import visible
from specdec.errors import SpecError

HEAD_ROWS = 3


class CompareScreen(ModalScreen[None]):
    """Plain decoding at the left, speculative at the right, and below them the result.

    It owns no engine: steps and the outcome are given to it, and `StopAsked` goes to the app when Escape is pressed before the
    end. Escape closes it after the end, or when pressed again.
    """

    class StopAsked(Message):
        """The user does not want to wait for the end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop / close", id="compare.stop", tooltip="Stop the comparison; close it when it has ended."),
    ]
    DEFAULT_CSS = """
    CompareScreen {
        align: center middle;
        & > Vertical {
            width: 90%;
            max-width: 120;
            height: 90%;
            max-height: 30;
            padding: 0 1;
            background: $surface;
            border: round $primary;
            border-title-color: $foreground;
            border-title-style: bold;
            border-subtitle-color: $foreground-muted;
        }
        & Horizontal { height: 1fr; }
        & #compare-result {
            height: auto;
            padding: 0 1;
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._columns: dict[Side, _Column] = {side: _Column(side) for side in SIDES}
        self._result = Static(Content.styled("Starting", MUTED), id="compare-result", markup=False)
        self._stopping = False
        self._ended = False

    def compose(self) -> ComposeResult:
        """Two columns above the result."""
        with Vertical() as box:
            box.border_title = "Compare: the same answer, plain and speculative"
            box.border_subtitle = "Esc stop"
            with Horizontal():
                yield from self._columns.values()
            yield self._result

    def progress(self, step: Step) -> None:
        """Show how far the decoding under way is."""
        self._columns[step.side].show(step)
        if not self._stopping:
            self._result.update(Content.styled(f"Decoding {step.run} of {step.runs}", MUTED))

    def finish(self, comparison: Comparison | None) -> None:
        """Show the result; `None` says that the comparison was stopped before there was one."""
        if comparison is None:
            self._end(Content("Stopped before there was a result."))
            return
        self._columns["plain"].settle(comparison.plain_rate)
        self._columns["speculative"].settle(comparison.speculative_rate)
        self._end(result_of(comparison))

    def fail(self, error: SpecError) -> None:
        """Show why there is no result."""
        self._end(Content.assemble((error.cause, WARNING), f" {error.next_step}"))

    def action_stop(self) -> None:
        """Ask for the end, or close."""
        if self._stopping or self._ended:
            self.dismiss()
            return
        self._stopping = True
        self._result.update(Content.styled("Stopping", WARNING))
        self.post_message(self.StopAsked())

    def _end(self, result: Content) -> None:
        self._ended = True
        self._result.update(result)
        self.query_one(Vertical).border_subtitle = "Esc close"


class _Column(Widget):
    """One side: its speed, how far it is, and the end of its text."""

    DEFAULT_CSS = """
    _Column {
        width: 1fr;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def __init__(self, side: Side) -> None:
        super().__init__(id=f"compare-{side}")
        self._side = side
        self._step: Step | None = None
        self._measured: float | None = None

    def show(self, step: Step) -> None:
        self._step = step
        self.refresh()

    def settle(self, rate: float) -> None:
        """Show the tokens per second over all runs instead of those of the last."""
        self._measured = rate
        self.refresh()

    def render(self) -> Content:
        width, height = self.content_size
        return Content("\n").join([*self._head(width), *self._tail(width, height - HEAD_ROWS)])

    def _head(self, width: int) -> Iterator[Content]:
        step = self._step
        if step is None:
            yield Content.styled(self._side, STRONG)
            yield Content.styled("waits for its turn", MUTED)
            yield Content()
            return
        figures = step.figures
        speed = figures.tokens_per_second if self._measured is None else self._measured
        words = [self._side, *([] if speed is None else [f"{speed:.1f} tok/s"])]
        rest = [] if figures.tokens_per_round is None else [f"{figures.tokens_per_round:.1f} tok/round"]
        filled, empty = bar(figures.answer_tokens / step.expected, width)
        yield Content.assemble((" · ".join(words), STRONG))
        yield Content.styled(" · ".join([f"{figures.answer_tokens}/{step.expected}", *rest]), MUTED)
        yield Content.assemble((filled, ACCENT), (empty, MUTED))

    def _tail(self, width: int, height: int) -> list[Content]:
        if self._step is None or width < 1 or height < 1:
            return []
        end = visible(self._step.text[-width * height :])
        return Content(end).wrap(width)[-height:]


def result_of(comparison: Comparison) -> Content:
    """The result in words: how many times as fast, and whether the text is the same."""
    ratio = comparison.ratio
    speed = f"{ratio:.1f}x plain" if ratio >= 1 else f"{ratio:.2f}x plain: slower"
    difference = comparison.difference
    if difference is None:
        book = "" if comparison.predicted is None else f" (by the book {comparison.predicted:.1f}x)"
        return Content.assemble((speed, "bold $text-success" if ratio >= 1 else WARNING), ", same text", (book, MUTED))
    return Content.assemble(
        (f"{speed}, but the texts part at token {difference.token}.", WARNING),
        f" {comparison.reason or MUST_NOT_HAPPEN}\n",
        ("\n".join(difference.lines), MUTED),
    )
