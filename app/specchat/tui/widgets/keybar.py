"""The last row of a screen: the keys that work where the focus is, each with what it does."""

from __future__ import annotations

from collections.abc import Iterator

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget

from specchat.tui.actions import BY_ID
from specchat.tui.keys import NO_KEY, key_text
from specchat.tui.widgets.fitting import fit

GAP = Content("  ")
KEY = "key"
ORDER = {action_id: place for place, action_id in enumerate(BY_ID)}


class KeyBar(Widget):
    """The keys that work where the focus is, in the order of the registry; where it is narrow the last are left out, each as a whole."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        height: 1;
        padding: 0 1;
        background: $footer-background;
        color: $footer-description-foreground;
        text-wrap: nowrap;
        pointer: pointer;
    }
    """

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if self.app.app_focus and screen is self.screen:
            self.refresh()

    def render(self) -> Content:
        """The row."""
        pieces = [[(-place, piece)] for place, piece in enumerate(self._pieces())]
        return fit(pieces, self.content_size.width, GAP) if pieces else Content()

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        key = event.style.meta.get(KEY)
        if key is not None:
            self.app.simulate_key(key)

    def _pieces(self) -> Iterator[Content]:
        shown: dict[str, Binding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.show and active.enabled and not active.binding.key.startswith(NO_KEY):
                shown.setdefault(active.binding.action, active.binding)
        for binding in sorted(shown.values(), key=lambda binding: ORDER.get(binding.id or "", len(ORDER))):
            key = key_text(binding.key).replace("Ctrl+", "^")
            piece = Content.assemble((key, "bold $footer-key-foreground"), f" {binding.description}")
            yield piece.stylize(Style.from_meta({KEY: binding.key}))
