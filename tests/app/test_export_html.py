"""The HTML page promises to be inert: text stays text, nothing is loaded, and every token's source is told in words and style."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from tests.app.export_sessions import conversation, sessions

from specchat.export.html import write
from specchat.marks import MARKS, SOURCES
from specchat.transcript import Session
from specchat.visible import visible

HEAD = {"html", "head", "meta", "title", "style"}
BODY = {"body", "main", "header", "h1", "h2", "p", "div", "i", "ul", "li", "span", "small", "em", "article", "details", "summary"}
TABLE = {"table", "thead", "tbody", "tr", "th", "td", "del"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "style", "title", "aria-hidden", "aria-label", "scope"}
VOID = {"meta"}


class Page(HTMLParser):
    """What a browser makes of the page: its elements, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[int, str] = {}
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts[len(self.elements) - 1] = ""
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self._open:
            self.texts[number] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def all(self, tag: str, kind: str = "") -> list[str]:
        """The texts of all elements of a tag and class."""
        return [
            self.texts[number]
            for number, (name, attributes) in enumerate(self.elements)
            if name == tag and (not kind or attributes.get("class") == kind)
        ]


@given(sessions())
def test_no_text_becomes_markup(session: Session) -> None:
    page = Page(write(session))
    assert {tag for tag, _ in page.elements} <= HEAD | BODY | TABLE
    assert {name for _, attributes in page.elements for name in attributes} <= ATTRIBUTES


@given(sessions())
def test_every_message_is_there_as_it_is(session: Session) -> None:
    shown = [visible(text) for text in ([session.system] if session.system else [])]
    shown += [visible(turn.text) for turn in session.branch()]
    assert Page(write(session)).all("div", "text") == shown


@given(sessions())
def test_titles_models_and_rejected_texts_are_there_as_they_are(session: Session) -> None:
    page = Page(write(session))
    assert page.all("h1") == page.all("title")
    rejected = [visible(round_.rejected) for turn in session.branch() for round_ in turn.rounds if round_.rejected]
    assert page.all("del") == rejected
    errors = [visible(turn.error) for turn in session.branch() if turn.error and turn.role == "assistant"]
    assert page.all("p", "failure") == errors


@given(sessions())
def test_no_control_character_is_left(session: Session) -> None:
    text = write(session)
    assert visible(text) == text


def test_each_pair_of_models_is_named_with_its_dtype() -> None:
    session = conversation()
    answer = next(turn for turn in session.branch() if turn.role == "assistant")
    assert answer.setup is not None
    answer.setup = answer.setup.model_copy(update={"dtype": "int8"})
    assert "Qwen/Large int8 ← int4" in " ".join(Page(write(session)).all("p", "quiet"))


def test_nothing_may_be_loaded_or_run() -> None:
    text = write(conversation())
    policies = [
        attributes["content"] for tag, attributes in Page(text).elements if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_every_run_has_its_source_in_a_class_and_in_words() -> None:
    page = Page(write(conversation()))
    runs = [
        (attributes["class"], attributes["title"], page.texts[number])
        for number, (tag, attributes) in enumerate(page.elements)
        if tag == "span" and "title" in attributes
    ]
    assert runs[:5] == [
        ("draft", "draft, 2 tokens, round 1", "It "),
        ("corrected", "corrected, 1 token, round 1", "guesses "),
        ("ngram", "n-gram, 1 token, round 2", "and "),
        ("bonus", "bonus, 1 token, round 2", "checks"),
        ("target", "target, 1 token, round 3", "."),
    ]


def test_the_legend_counts_every_source() -> None:
    items = Page(write(conversation())).all("li")
    assert items == ["draft 2 33%", "n-gram 1 17%", "corrected 1 17%", "bonus 1 17%", "target 1 17%"]


def test_sources_differ_without_colour() -> None:
    styles = {}
    for line in write(conversation()).splitlines():
        for source in SOURCES:
            if line.startswith(f".{source} {{"):
                styles[source] = tuple(sorted(part for part in line.split("{")[1].split(";") if "color" not in part))
    assert styles.keys() == MARKS.keys()
    assert len(set(styles.values())) == len(MARKS)


def test_the_page_follows_the_reader_and_the_printer() -> None:
    text = write(conversation())
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text


def test_rounds_are_folded_below_their_answer() -> None:
    page = Page(write(conversation()))
    assert page.all("summary") == ["3 rounds"]
    assert page.all("td", "number")[:6] == ["1", "3", "2", "1", "1.2", "8.0"]


def test_alternatives_and_failures_are_named() -> None:
    session = conversation()
    shown = session.branch()[1]
    shown.error = "The engine <ended>."
    assert Page(write(session)).all("h2")[2] == "Qwen/Large alternative 1 of 2, failed"


def test_code_between_fences_stands_apart_with_its_marks() -> None:
    session = conversation()
    turn = session.branch()[1]
    turn.rounds, turn.text = [], ""
    run = conversation().branch()[1].rounds[0].runs[0]
    round_ = conversation().branch()[1].rounds[0]
    turn.add(
        [
            round_.model_copy(
                update={"runs": tuple(run.model_copy(update={"text": text}) for text in ("So:\n``", "`py\nx = 1\n``", "`\nDone"))}
            )
        ]
    )
    page = Page(write(session))
    assert page.all("div", "code") == ["```py\nx = 1\n```\n"]
    assert page.all("div", "prose")[2:4] == ["So:\n", "Done"]
    assert page.all("span", "draft")[1:5] == ["So:\n", "``", "`py\nx = 1\n``", "`\n"]
