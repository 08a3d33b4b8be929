"""A look into one round of an answer: what was drafted, what the target kept, and what it put in place of the rest."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content
from textual.widget import Widget

from specchat.transcript import Turn
from specchat.tui.names import drafter_name
from specchat.tui.widgets.bars import sparkline, squeeze, squeezed_index
from specchat.tui.widgets.styles import MUTED, mark_style
from specchat.visible import visible
from specdec.events import Round, Source

DRAFTED: tuple[Source, ...] = ("draft", "ngram")
LABEL_WIDTH = 11


class RoundInspector(Widget):
    """One round in words and marks, above a strip of all rounds of the answer with this one picked out."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    RoundInspector {
        dock: bottom;
        height: 8;
        padding: 0 1;
        border: round $foreground 30%;
        border-title-color: $foreground;
        border-title-style: bold;
        border-subtitle-color: $foreground-muted;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rounds: list[Round] = []
        self._index = 0

    def show(self, turn: Turn, index: int) -> None:
        """Show the round at an index, from 0; one beyond the ends is the first or the last."""
        self._rounds = turn.rounds
        self._index = min(max(index, 0), len(turn.rounds) - 1)
        self.border_title = self.border_subtitle = None
        if self._rounds:
            round_ = self._rounds[self._index]
            drafter = drafter_name(round_.drafter) if round_.drafted else "no draft"
            self.border_title = Content(f"round {self._index + 1} of {len(self._rounds)} · {drafter}")
            self.border_subtitle = f"draft {round_.draft_ms:.1f} ms · verify {round_.verify_ms:.1f} ms"
        self.refresh()

    def render(self) -> Content:
        """The rows."""
        if not self._rounds:
            return Content.styled("Nothing is known about how this answer was decoded.", MUTED)
        return Content("\n").join([*_words(self._rounds[self._index]), *self._strip(self.content_size.width)])

    def _strip(self, width: int) -> Iterator[Content]:
        """All rounds by the tokens they gave, and an arrow below the one shown."""
        tokens = [sum(len(run.tokens) for run in round_.runs) for round_ in self._rounds]
        columns = sparkline(squeeze(tokens, width), max(tokens))
        at = squeezed_index(self._index, len(tokens), width)
        yield Content.assemble((columns[:at], MUTED), (columns[at : at + 1], "bold $text-primary"), (columns[at + 1 :], MUTED))
        yield Content.assemble(" " * at, ("▲", "bold $text-primary"))


def _words(round_: Round) -> Iterator[Content]:
    """Four rows: the counts, what was accepted, what was not, and the target's own token."""
    accepted = [run for run in round_.runs if run.source in DRAFTED]
    own = [run for run in round_.runs if run.source not in DRAFTED]
    behind_end = bool(round_.rejected) and round_.accepted == round_.tested
    yield Content(f"drafted {round_.drafted} · tested {round_.tested} · accepted {round_.accepted}")
    yield _labelled("accepted", [(run.text, mark_style(run.source)) for run in accepted])
    yield _labelled("discarded" if behind_end else "rejected", [(round_.rejected, "strike $text-error")])
    yield _labelled(own[0].source if own else "target", [(run.text, mark_style(run.source)) for run in own])


def _labelled(label: str, parts: list[tuple[str, str]]) -> Content:
    """A name and styled text on one row; line ends and tabs are shown as signs."""
    shown = [(visible(text).replace("\n", "↵").replace("\t", "⇥"), style) for text, style in parts if text]
    return Content.assemble((label.ljust(LABEL_WIDTH), MUTED), *(shown or [("nothing", MUTED)]))
