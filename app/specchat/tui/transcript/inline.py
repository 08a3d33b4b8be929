"""Inline Markdown to pieces that know their source: emphasis, code, links, images, escapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline, image, link
from markdown_it.token import Token

from specchat.tui.transcript.wrap import Piece

STYLES = {"strong": "strong", "em": "em", "s": "strike", "link": "link"}
Rule = Callable[[StateInline, bool], bool]


class UnplacedError(Exception):
    """Parsed text whose place in the source is not certain, so that its block is better shown as it stands."""


def inline_parser() -> MarkdownIt:
    """CommonMark with tables and strikethrough that keeps all text: HTML and link definitions are text like any other."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(["reference", "text_join"])
    parser.inline.ruler.at("link", _recording(link))
    parser.inline.ruler.at("image", _recording(image))
    return parser


def _recording(rule: Rule) -> Rule:
    """The rule, noting where in the source the last token that it made ends."""

    def recorded(state: StateInline, silent: bool) -> bool:
        matched = rule(state, silent)
        if matched and not silent:
            state.tokens[-1].meta["end"] = state.pos
        return matched

    return recorded


class Inline:
    """The content of a paragraph, a heading or a cell; `places` has the offset in the text of each of its characters.

    `lines` are its displayed lines; `hidden` has the stretches of the source that are left out on purpose.
    """

    def __init__(self, token: Token, places: Sequence[int], text: str, style: str = "") -> None:
        self.lines: list[list[Piece]] = [[]]
        self.hidden: list[tuple[int, int]] = []
        self._content = token.content
        self._places = places
        self._text = text
        self._styles = [style] if style else []
        self._at = 0
        self._link = 0
        for child in token.children or []:
            self._add(child)

    def _add(self, token: Token) -> None:
        kind, _, side = token.type.rpartition("_")
        if token.type == "text":
            self._show(self._find(token.content), self._at)
        elif token.type == "text_special":
            start = self._find(token.markup)
            if token.content == token.markup:
                self._show(start, self._at)
            else:
                self._put(token.content, self._places[start], self._places[self._at - 1] + 1)
        elif token.type in ("softbreak", "hardbreak"):
            self._find("\n")
            self.lines.append([])
        elif token.type == "code_inline":
            self._code(token)
        elif token.type == "image":
            self._find("![")
            self._put("image ", -1, -1, "muted")
            start = self._find(token.content)
            self._show(start, self._at, "link")
            self._target(start, token.meta["end"])
        elif token.type == "link_open":
            self._find("<" if token.markup == "autolink" else "[")
            self._link = self._at
            self._styles.append("link")
        elif token.type == "link_close":
            self._styles.pop()
            if token.markup == "autolink":
                self._find(">")
            else:
                self._target(self._link, token.meta["end"])
        elif kind in STYLES and side == "open":
            self._find(token.markup)
            self._styles.append(STYLES[kind])
        elif kind in STYLES and side == "close":
            self._find(token.markup)
            self._styles.pop()
        else:
            raise UnplacedError(token.type)

    def _find(self, text: str) -> int:
        """Where a text begins that comes next, up to spaces; go to its end."""
        start = self._content.find(text, self._at)
        if start < 0:
            raise UnplacedError(text)
        self._at = start + len(text)
        return start

    def _code(self, token: Token) -> None:
        start = self._find(token.markup) + len(token.markup)
        inner = self._content.replace("\n", " ")
        start += not inner.startswith(token.content + token.markup, start)
        if not inner.startswith(token.content, start):
            raise UnplacedError(token.content)
        self._show(start, start + len(token.content), "inline-code")
        self._at = start + len(token.content)
        self._find(token.markup)

    def _target(self, label: int, end: int) -> None:
        """Show where a link leads after its text, as it stands in the source, unless the text says it already."""
        start = self._at + len("](")
        if not self._content.startswith("](", self._at):
            raise UnplacedError(self._content[self._at : end])
        target = self._content[start : end - 1]
        if target == self._content[label : self._at]:
            self.hidden.append((self._places[start], self._places[end - 1]))
        else:
            self._put(" (", -1, -1, "url")
            self._show(start, end - 1, "url")
            self._put(")", -1, -1, "url")
        self._at = end

    def _show(self, start: int, end: int, style: str = "") -> None:
        """Show content[start:end], in as many pieces as it is in the source."""
        first = start
        for index in range(start + 1, end + 1):
            if index == end or self._places[index] != self._places[index - 1] + 1:
                stretch = self._places[first], self._places[index - 1] + 1
                self._put(self._text[slice(*stretch)].replace("\n", " "), *stretch, style)
                first = index

    def _put(self, text: str, start: int, end: int, style: str = "") -> None:
        if text:
            self.lines[-1].append(Piece(text, start, end, " ".join(filter(None, (*self._styles, style)))))
