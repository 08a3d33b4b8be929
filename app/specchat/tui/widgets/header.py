"""The first row of the screen: which models run, how, and what the engine is doing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from textual.content import Content
from textual.widget import Widget

from specchat.tui.names import model_name
from specchat.tui.widgets.fitting import Form, fit
from specchat.tui.widgets.styles import MUTED, STRONG, WARNING
from specchat.visible import visible
from specdec.events import Ready
from specdec.options import Drafting

State = Literal["starting", "loading", "ready", "answering", "stopping", "stopped"]
SEPARATOR = Content.styled(" │ ", MUTED)


@dataclass(frozen=True)
class Status:
    """What the header tells. `detail` says how far a load is (`weights 45%`) or why the engine stopped.

    `pair` is named until `ready` tells what was loaded. `seed` is `None` unless the user fixed one.
    """

    state: State = "starting"
    detail: str = ""
    pair: str = ""
    ready: Ready | None = None
    drafting: Drafting = field(default_factory=Drafting)
    seed: int | None = None
    saved: bool = True


class StatusHeader(Widget):
    """One row; where it is narrow, the state and a lossy accept rule are the last to go."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    StatusHeader {
        dock: top;
        height: 1;
        padding: 0 1;
        background: $panel;
        text-wrap: nowrap;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._status = Status()

    def show(self, status: Status) -> None:
        """Show another status."""
        if status != self._status:
            self._status = status
            self.refresh()

    def render(self) -> Content:
        """The row."""
        return fit(list(_pieces(self._status)), self.content_size.width, SEPARATOR)


def _pieces(status: Status) -> Iterator[list[Form]]:
    yield [(0, Content.styled("specchat", "bold $text-primary"))]
    ready, drafting = status.ready, status.drafting
    if ready is None:
        yield [(60, Content(model_name(status.pair)))]
    else:
        yield from _models(ready, drafting)
        yield from _exactness(ready)
    if drafting.accept.startswith("threshold"):
        yield [(75, Content.styled(f"{drafting.accept} LOSSY", WARNING)), (90, Content.styled("LOSSY", WARNING))]
    elif drafting.accept != "coupled":
        yield [(20, Content(drafting.accept))]
    if status.seed is not None:
        yield [(40, Content(f"seed {status.seed}"))]
    if not status.saved:
        yield [(60, Content.styled("not saved", WARNING))]
    yield _state(status)


def _models(ready: Ready, drafting: Drafting) -> Iterator[list[Form]]:
    target = model_name(ready.target)
    plain = Content(target)
    typed = Content.assemble(target, (f" {ready.dtype}", MUTED))
    draft = _draft(ready, drafting)
    if not draft:
        yield [(10, typed), (65, plain)]
    else:
        less = Content.styled(" < ", MUTED)
        yield [(10, typed + less + draft), (50, plain + less + draft), (65, plain)]
    if drafting.draft == "off":
        yield [(70, Content.styled("draft off", STRONG))]
    elif ready.draft_problem:
        why = Content.styled(f"running without draft: {visible(ready.draft_problem)}", WARNING)
        yield [(5, why), (45, Content.styled("running without draft", WARNING)), (70, Content.styled("no draft", WARNING))]


def _draft(ready: Ready, drafting: Drafting) -> str:
    """Who drafts, in words; empty for nobody."""
    model = "" if ready.draft is None else "int4 copy" if ready.draft_kind == "int4" else model_name(ready.draft)
    drafters = {"auto": [model, "n-gram"], "model": [model], "ngram": ["n-gram"], "off": []}[drafting.draft]
    words = " + ".join(filter(None, drafters))
    if drafting.draft != "auto" and words:
        words += " only"
    if drafting.draft_tokens is not None and words:
        words += f", {drafting.draft_tokens} a round"
    return words


def _exactness(ready: Ready) -> Iterator[list[Form]]:
    if ready.exact:
        yield [(30, Content("exact"))]
    else:
        yield [(3, Content(f"not exact: {ready.exact_reason}")), (55, Content.styled("not exact", STRONG))]


def _state(status: Status) -> list[Form]:
    detail = visible(status.detail)
    match status.state:
        case "starting":
            return [(80, Content.styled("○ starting engine", MUTED)), (100, Content.styled("○ starting", MUTED))]
        case "loading":
            share = detail.split(" ")[-1]
            return [(80, Content(f"○ loading {detail}".rstrip())), (100, Content(f"○ loading {share}".rstrip()))]
        case "stopped":
            forms = [(100, Content.styled("○ stopped", "bold $text-error"))]
            return [(80, Content.styled(f"○ stopped: {detail}", "bold $text-error")), *forms] if detail else forms
        case "ready":
            return [(100, Content.styled("● ready", "$text-success"))]
        case "answering":
            return [(100, Content.styled("● answering", "bold $text-primary"))]
        case "stopping":
            return [(100, Content.styled("● stopping", WARNING))]
