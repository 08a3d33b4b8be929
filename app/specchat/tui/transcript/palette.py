"""The styles of a transcript by name, resolved from the theme once."""

from __future__ import annotations

import re

from rich.style import Style
from textual.widget import Widget

from specchat.marks import MARKS
from specdec.events import Source

PREFIX = "transcript--"
DEFAULT_CSS = """
TranscriptView {
    background: $background;
    color: $foreground;
    overflow-x: hidden;
    overflow-y: auto;
    scrollbar-gutter: stable;
    scrollbar-size-vertical: 1;

    & > .transcript--user { color: $text-primary; text-style: bold; }
    & > .transcript--answer { color: $text-accent; text-style: bold; }
    & > .transcript--bar { color: $primary; }
    & > .transcript--selected-bar { color: $accent; text-style: bold; }
    & > .transcript--muted { color: $foreground-muted; }
    & > .transcript--thought { color: $foreground-muted; text-style: dim; }
    & > .transcript--hint { color: $foreground-muted; }
    & > .transcript--error { color: $text-error; }
    & > .transcript--warning { color: $text-warning; }
    & > .transcript--info { color: $text-primary; }
    & > .transcript--rejected { color: $text-error; text-style: strike; }

    & > .transcript--strong { text-style: bold; }
    & > .transcript--em { text-style: italic; }
    & > .transcript--strike { text-style: strike; }
    & > .transcript--heading { color: $text-primary; text-style: bold; }
    & > .transcript--inline-code { color: $text-accent; background: $panel; }
    & > .transcript--code { color: $foreground; background: $panel; }
    & > .transcript--label { color: $foreground-muted; background: $panel; text-style: italic; }
    & > .transcript--link { text-style: underline; }
    & > .transcript--url { color: $foreground-muted; }
    & > .transcript--quote { color: $text-secondary; }
    & > .transcript--bullet { color: $text-secondary; }
    & > .transcript--rule { color: $foreground-muted; }
    & > .transcript--table-head { text-style: bold; }

    & > .transcript--keyword { color: $text-accent; text-style: bold; }
    & > .transcript--name { color: $text-warning; }
    & > .transcript--string { color: $text-success; }
    & > .transcript--number { color: $text-success; }
    & > .transcript--comment { color: $foreground-muted; text-style: italic; }
    & > .transcript--operator { color: $foreground-muted; }
    & > .transcript--builtin { color: $text-primary; }

    & > .transcript--blue { color: $text-primary; }
    & > .transcript--orange { color: $text-warning; }
    & > .transcript--red { color: $text-error; }
    & > .transcript--green { color: $text-success; }
}
"""
COMPONENTS = set(re.findall(PREFIX + r"[\w-]+", DEFAULT_CSS))


class Palette:
    """Rich styles of the component classes of a widget; `clear` it when the theme changes."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._styles: dict[str, Style] = {}
        self._marks: dict[tuple[Source, bool], Style] = {}

    def __call__(self, names: str) -> Style:
        """The style of names separated by spaces, on the background of the widget."""
        if names not in self._styles:
            self._styles[names] = sum(map(self._component, names.split()), self._widget.rich_style)
        return self._styles[names]

    def mark(self, source: Source, coloured: bool) -> Style:
        """What a token's source adds to the style of its text."""
        if (source, coloured) not in self._marks:
            mark = MARKS[source]
            style = Style(bold=mark.bold or None, italic=mark.italic or None, underline=mark.underline or None)
            self._marks[source, coloured] = style + self._component(mark.colour) if coloured and mark.colour else style
        return self._marks[source, coloured]

    @property
    def selection(self) -> Style:
        """What selected text looks like."""
        return self._widget.screen.get_component_rich_style("screen--selection")

    def clear(self) -> None:
        """Forget everything."""
        self._styles.clear()
        self._marks.clear()

    def _component(self, name: str) -> Style:
        styles = self._widget.get_component_styles(PREFIX + name)
        _, background = self._widget.background_colors
        style = styles.text_style
        if styles.has_rule("background"):
            background += styles.background
            style += Style(bgcolor=background.rich_color)
        if styles.has_rule("color"):
            style += Style(color=(background + styles.color).rich_color)
        return style
