"""The pairs screen: what there is to run, what of it is on disk and fits, downloads, and the pick of pair, draft and context."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static

from specchat.downloads import Download, Downloads
from specchat.pair_choice import PairChoice
from specchat.pairs import Survey, Variant, fits, survey
from specchat.tui.screens import pairs_text
from specchat.tui.screens.pairs_offers import Offer, contexts, guidance, offers
from specchat.tui.screens.pairs_widgets import ContextPicker, Rows
from specchat.tui.widgets.keybar import KeyBar
from specchat.tui.widgets.styles import MUTED
from specdec.errors import RegistryError
from specdec.free_memory import free_memory
from specdec.memory import INT8, Memory
from specdec.registry import PairSpec, load_registry

REFRESH_SECONDS = 0.2
DEPENDENT_ACTIONS = ("use", "download", "pause", "cancel")
GREETING = Content.assemble(
    ("specchat", "bold $text-primary"),
    ": a small model guesses ahead, a large one checks.\n",
    ("Enter starts with the demo pair; Down shows larger ones.", MUTED),
)


class PairsScreen(ModalScreen[PairChoice | None]):
    """Lists every pair of the shipped and the user's registry; ends with what was picked, or None.

    `loaded_bytes` are those of the pair in memory now, which another one would replace.
    """

    DEFAULT_CSS = """
    PairsScreen { background: $background; }
    PairsScreen #greeting { padding: 0 2; margin: 1 0; }
    PairsScreen #problem { padding: 0 2; color: $text-error; }
    PairsScreen #panes { height: 1fr; }
    PairsScreen .pane { border: round $foreground 30%; height: 1fr; }
    PairsScreen .pane { border-title-color: $foreground; border-title-style: bold; }
    PairsScreen .pane:focus-within { border: round $primary; }
    PairsScreen #list-pane { width: 42; }
    PairsScreen #details { width: 1fr; scrollbar-size-vertical: 1; }
    PairsScreen #about { padding: 0 2; margin-bottom: 1; }
    PairsScreen #drafts { max-height: 8; }
    PairsScreen #drafts-head { padding: 0 2; text-style: bold; text-wrap: nowrap; }
    PairsScreen #drafts-about { padding: 0 2; margin-bottom: 1; }
    PairsScreen #downloads { padding: 0 2; max-height: 6; }
    PairsScreen #guidance { padding: 0 2; min-height: 1; max-height: 5; }
    PairsScreen #guidance.-asked { text-style: bold; color: $text-warning; }
    PairsScreen.-narrow #panes { layout: vertical; }
    PairsScreen.-narrow .pane { border: none; border-top: solid $foreground 30%; }
    PairsScreen.-narrow .pane:focus-within { border-top: solid $primary; }
    PairsScreen.-narrow #list-pane { width: 100%; height: 40%; }
    PairsScreen.-narrow #greeting { margin: 0; padding: 0 1; }
    PairsScreen.-narrow #about, PairsScreen.-narrow #drafts-about { margin: 0; }
    PairsScreen.-narrow #problem, PairsScreen.-narrow #downloads, PairsScreen.-narrow #guidance { padding: 0 1; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "use", "Use", key_display="Enter", id="pairs.use", tooltip="Load the pair with this draft and context", priority=True
        ),
        Binding("d", "download", "Download", id="pairs.download", tooltip="Download what is missing, or go on with it"),
        Binding("p", "pause", "Pause", id="pairs.pause", tooltip="Pause the download; it goes on from there"),
        Binding("x", "cancel", "Cancel", id="pairs.cancel", tooltip="Give the download up; what is there stays on disk"),
        Binding("escape", "dismiss(None)", "Back", id="pairs.back", tooltip="Back, and change nothing"),
        Binding("left", "app.focus_previous", "Left", show=False, id="pairs.left", tooltip="Back to the pairs"),
        Binding("right", "app.focus_next", "Right", show=False, id="pairs.right", tooltip="On to the drafts, then the context"),
    ]

    class Looked(Message):
        """What was found on the disk, of all pairs or of some again; `error` tells what of the user's file cannot be read."""

        def __init__(self, found: list[Survey], memory: Memory, error: RegistryError | None = None) -> None:
            super().__init__()
            self.found = found
            self.memory = memory
            self.error = error

    def __init__(self, user_registry: Path, downloads: Downloads, current: PairChoice, first_run: bool, loaded_bytes: int = 0) -> None:
        super().__init__()
        self._user_registry = user_registry
        self._downloads = downloads
        self._current = current
        self._first_run = first_run
        self._loaded_bytes = loaded_bytes
        self._found: dict[str, Survey] = {}
        self._memory = Memory("cpu", 0, 0)
        self._picks = {current.pair: current}
        self._detailed = ""
        self._listed: list[Offer] = []
        self._progress: dict[str, Download] = downloads.all()
        self._keys: list[bool] = []
        self._timer: Timer

    def compose(self) -> ComposeResult:
        if self._first_run:
            yield Static(GREETING, id="greeting")
        yield Static(id="problem", markup=False)
        with Horizontal(id="panes"):
            with Vertical(id="list-pane", classes="pane") as pane:
                pane.border_title = "Pairs"
                yield Static("Looking at the disk and the memory …", id="looking")
                yield Rows(id="pairs")
            with VerticalScroll(id="details", classes="pane", can_focus=False):
                yield Static(id="about")
                yield Static(pairs_text.DRAFT_HEAD, id="drafts-head")
                yield Rows(id="drafts")
                yield Static(id="drafts-about")
                yield ContextPicker(id="context")
        yield Static(id="downloads")
        yield Static(id="guidance", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        for name in ("problem", "downloads", "details"):
            self.query_one(f"#{name}").display = False
        self._timer = self.set_interval(REFRESH_SECONDS, self._tick, pause=True)
        self.query_one("#pairs").focus()
        self.run_worker(self._look, thread=True)

    def _look(self) -> None:
        error = None
        try:
            pairs = load_registry(self._user_registry)
        except RegistryError as problem:
            error, pairs = problem, load_registry()
        if self._current.pair in pairs and self._full_precision:
            spec = pairs[self._current.pair]
            pairs[spec.name] = spec.model_copy(update={"dtype": self._full_precision})
        self._survey(list(pairs.values()), error)

    def _survey(self, pairs: list[PairSpec], error: RegistryError | None = None) -> None:
        memory = free_memory()
        memory = Memory(memory.device, min(memory.total, memory.free + self._loaded_bytes), memory.total)
        self.post_message(self.Looked([survey(pair) for pair in pairs], memory, error))

    @on(Looked)
    def _take(self, looked: Looked) -> None:
        first = not self._found
        self._found |= {found.spec.name: found for found in looked.found}
        self._memory = looked.memory
        if looked.error is not None:
            problem = self.query_one("#problem", Static)
            problem.update(pairs_text.plain(f"! {looked.error}"))
            problem.display = True
        if first:
            self.query_one("#looking").display = False
            self.query_one("#details").display = True
            names = list(self._found)
            self._show_all(names.index(self._current.pair) if self._current.pair in names else 0)
            self.call_after_refresh(self._wake)
        else:
            self._show_all(self.query_one("#pairs", Rows).highlighted or 0)

    @property
    def _pair(self) -> Survey | None:
        index = self.query_one("#pairs", Rows).highlighted
        return None if index is None or not self._found else list(self._found.values())[index]

    def _offers(self, found: Survey) -> list[Offer]:
        return offers(found, self._memory, self._length(found), self._progress.get(found.spec.name), self._choice(found).way)

    def _offer(self, found: Survey) -> Offer:
        listed = self._offers(found)
        return listed[self._picked(found, listed)]

    def _choice(self, found: Survey) -> PairChoice:
        """What is picked for a pair; the draft that was just moved to counts before its message arrives."""
        choice = self._picks.get(found.spec.name) or PairChoice(found.spec.name)
        moved_to = self.query_one("#drafts", Rows).moved_to
        if moved_to is None or self._detailed != found.spec.name:
            return choice
        return self._chosen(found, self._listed[moved_to].variant, choice.context or found.spec.context)

    def _length(self, found: Survey) -> int:
        return self._choice(found).context or found.spec.context

    @property
    def _full_precision(self) -> str:
        """The dtype that was chosen for the current pair; empty for its own."""
        return "" if self._current.dtype == INT8 else self._current.dtype

    def _chosen(self, found: Survey, variant: Variant, context: int) -> PairChoice:
        """What a pick of a way to run a pair, at a context in tokens, stands for."""
        dtype = INT8 if variant.int8 else self._full_precision if found.spec.name == self._current.pair else ""
        return PairChoice(found.spec.name, variant.name, 0 if context == found.spec.context else context, dtype)

    def _picked(self, found: Survey, listed: list[Offer]) -> int:
        """Which of its offers is picked: the user's, else the first that is ready, else the first; 8 bits a weight never by itself."""
        choice = self._choice(found)
        if choice.way.int8 and listed[-1].variant.int8:
            return len(listed) - 1
        full = [(index, offer) for index, offer in enumerate(listed) if not offer.variant.int8]
        named = [index for index, offer in full if offer.variant.name == choice.draft]
        ready = [index for index, offer in full if offer.status == "ready"]
        return next(iter(named + ready), 0)

    def _pick(self, found: Survey, variant: Variant, context: int) -> None:
        self._picks[found.spec.name] = self._chosen(found, variant, context)
        self.query_one("#guidance").remove_class("-asked")
        self._show_all()

    def _show_all(self, highlighted: int | None = None) -> None:
        """Write everything anew from what is known; `highlighted` is the pair to move to."""
        rows = self.query_one("#pairs", Rows)
        wide = self.has_class("-wide")
        lines = [pairs_text.pair_line(found, self._offer(found), rows.row_width, wide) for found in self._found.values()]
        rows.show(lines, rows.highlighted or 0 if highlighted is None else highlighted)
        self._show_details()
        self._show_downloads()

    def _show_details(self) -> None:
        found = self._pair
        if found is None:
            return
        self._picks[found.spec.name] = self._choice(found)
        listed, context = self._offers(found), self._length(found)
        picked = self._picked(found, listed)
        offer = listed[picked]
        self._detailed, self._listed = found.spec.name, listed
        self.query_one("#details").border_title = pairs_text.details_title(found)
        self.query_one("#about", Static).update(pairs_text.about(found))
        drafts = self.query_one("#drafts", Rows)
        drafts.show([pairs_text.draft_line(each) for each in listed], picked)
        self.query_one("#drafts-about", Static).update(pairs_text.draft_about(offer))
        lengths = sorted({*contexts(found), context})
        fitting = [length for length in lengths if fits(found, offer.variant, self._memory, length)]
        self.query_one(ContextPicker).show(lengths, fitting, context, offer, self._memory)
        self.query_one("#guidance", Static).update(pairs_text.plain(guidance(found, offer, self._memory, context)))
        self._show_keys()

    def _show_keys(self) -> None:
        """Write the footer anew if it would change; it flickers otherwise."""
        keys = [self.check_action(action, ()) for action in DEPENDENT_ACTIONS]
        if keys != self._keys:
            self._keys = keys
            self.refresh_bindings()

    def _show_downloads(self) -> None:
        shown = self.query_one("#downloads", Static)
        width = max(20, shown.container_size.width - 4)
        pending = {name: download for name, download in self._progress.items() if download.state != "done"}
        shown.update(Content("\n").join(pairs_text.download_lines(name, download, width) for name, download in pending.items()))
        shown.display = bool(pending)

    def _tick(self) -> None:
        """Show how the downloads are; look at the disk again where one ended, and rest when none is under way."""
        before, self._progress = self._progress, self._downloads.all()
        ended = [name for name, download in before.items() if download.live and not self._is_live(name)]
        if ended:
            self._look_again(ended)
        if not any(download.live for download in self._progress.values()):
            self._timer.pause()
        self._show_all()

    def _is_live(self, name: str) -> bool:
        return name in self._progress and self._progress[name].live

    def _look_again(self, names: list[str]) -> None:
        pairs = [self._found[name].spec for name in names if name in self._found]
        self.run_worker(lambda: self._survey(pairs), thread=True)

    def _wake(self) -> None:
        self._tick()
        self._timer.resume()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_all)

    def _end(self, how: Callable[[str], None]) -> None:
        found = self._pair
        if found is not None:
            how(found.spec.name)
            self._tick()

    @on(Rows.OptionHighlighted, "#pairs")
    def _pair_changed(self) -> None:
        self.query_one("#guidance").remove_class("-asked")
        self.query_one("#details").scroll_home(animate=False)
        self._show_details()

    @on(Rows.OptionHighlighted, "#drafts")
    def _draft_changed(self) -> None:
        if self.query_one("#drafts", Rows).moved_to is not None:
            self.query_one("#guidance").remove_class("-asked")
            self._show_all()

    @on(ContextPicker.Picked)
    def _context_changed(self, picked: ContextPicker.Picked) -> None:
        found = self._pair
        if found is not None:
            self._pick(found, self._offer(found).variant, picked.context)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Hide what has no use for the pair that is picked."""
        found = self._pair
        if action not in DEPENDENT_ACTIONS:
            return True
        if found is None:
            return False
        download = self._progress.get(found.spec.name)
        match action:
            case "download":
                return not self._offer(found).on_disk and not (download is not None and download.live)
            case "pause":
                return download is not None and download.live
            case "cancel":
                return download is not None and download.state != "done"
        return True

    def action_use(self) -> None:
        """End with the pair if it can be loaded, else say louder what is in the way."""
        found = self._pair
        if found is None:
            return
        offer = self._offer(found)
        if offer.status != "ready":
            self.query_one("#guidance").add_class("-asked")
            return
        self.dismiss(self._chosen(found, offer.variant, self._length(found)))

    def action_download(self) -> None:
        """Fetch what the picked draft and its target lack."""
        found = self._pair
        if found is not None:
            variant = self._offer(found).variant
            self._downloads.start(found.spec, variant.name if variant.kind == "sibling" else "")
            self._pick(found, variant, self._length(found))
            self._wake()

    def action_pause(self) -> None:
        """Hold the download of the pair."""
        self._end(self._downloads.pause)

    def action_cancel(self) -> None:
        """Give up the download of the pair."""
        self._end(self._downloads.cancel)
