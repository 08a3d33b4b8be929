"""Promises of wrapping: nothing lost, nothing too wide, and the same rows however the text arrived."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len, split_graphemes

from specchat.tui.transcript import wrap as wrapping
from specchat.tui.transcript.wrap import Piece, Row, Wrapping, cells, source_rows, wrap
from specchat.visible import SHOWN, visible

WORDS = (
    "a|word|specu|lative|supercalifragilistic| |  |        |\n|\n\n|\t|\r\n|-|[b]|快速|排序。|é|e\u0301|\u0301|☁|\ufe0f|👩|\u200d|💻|"
    "👩\u200d💻|🇩🇪|\x1b[31m|\0|\u0085|\u200f|각|ᄀ|\u00ad"
)
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS.split("|")), st.text(max_size=3)), max_size=40)
WIDTHS = st.integers(1, 24)


def shown_alone(row: Row) -> bool:
    """Whether a row holds a single thing that must not be torn apart."""
    text = row.text
    return text in {visible(chr(code)) for code in SHOWN} | {"\\u200d"} or len(split_graphemes(text)[0]) <= 1 or cell_len(text[0]) == 0


@given(TEXTS, WIDTHS)
@example(["bar☁", "\ufe0f"], 4)
@example(["\x85", "\u200d", "💻"], 3)
def test_rows_grow_as_if_wrapped_at_once(chunks: list[str], width: int) -> None:
    growing = Wrapping(width)
    text = ""
    for chunk in chunks:
        text += chunk
        before = list(growing.rows)
        changed = growing.grow(text)
        assert growing.rows == list(source_rows(text, width))
        assert growing.rows[:changed] == before[:changed]


@given(TEXTS, WIDTHS, st.data())
def test_an_insertion_grows_as_if_wrapped_at_once(chunks: list[str], width: int, data: st.DataObject) -> None:
    whole = "".join(chunks)
    insertion = (data.draw(st.integers(0, len(whole))), data.draw(st.sampled_from([" wrong", "x", "wide 漢字 words\nand lines"])))
    growing = Wrapping(width, insertion)
    text = ""
    for chunk in chunks:
        text += chunk
        growing.grow(text)
        assert growing.rows == list(source_rows(text, width, insertion=insertion))
    shown = "".join(piece.text for row in growing.rows for piece in row.pieces if piece.start < 0)
    assert shown.replace(" ", "") == insertion[1].replace("\n", "⏎").replace(" ", "")


@given(TEXTS, WIDTHS)
def test_no_row_is_wider_than_the_width(chunks: list[str], width: int) -> None:
    for row in source_rows("".join(chunks), width):
        assert cells(row.pieces) <= width or shown_alone(row)
        assert cells(row.pieces) == sum(cell_len(piece.text) for piece in row.pieces)


@given(TEXTS, WIDTHS)
def test_every_character_is_displayed_at_its_place(chunks: list[str], width: int) -> None:
    text = "".join(chunks)
    rows = list(source_rows(text, width))
    assert rows[0].start == 0
    assert all(first.start <= second.start for first, second in pairwise(rows))
    displayed = [index for row in rows for piece in row.pieces for index in range(piece.start, piece.end)]
    assert displayed == sorted(set(displayed))
    assert {character for index, character in enumerate(text) if index not in set(displayed)} <= set(" \t\n")
    for row, following in pairwise([*rows, Row((), len(text) + 1)]):
        for piece in row.pieces:
            source = text[piece.start : piece.end]
            assert row.start <= piece.start < piece.end <= following.start
            assert piece.text == visible(source).replace("\t", " ") or source in ("\t", "\u200d")


@given(TEXTS, WIDTHS, WIDTHS)
def test_a_resize_in_mid_stream_changes_nothing_but_the_breaks(chunks: list[str], before: int, after: int) -> None:
    growing = Wrapping(before)
    half = "".join(chunks[: len(chunks) // 2])
    growing.grow(half)
    growing = Wrapping(after)
    growing.grow(half)
    growing.grow("".join(chunks))
    assert growing.rows == list(source_rows("".join(chunks), after))


def shown(text: str, width: int) -> list[str]:
    return [row.text for row in source_rows(text, width)]


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("the quick brown fox", 10, ["the quick ", "brown fox"]),
        ("one  two", 3, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("x abcdefgh", 4, ["x ", "abcd", "efgh"]),
        ("    abcdefgh", 6, ["    ab", "cdefgh"]),
        ("a\n\nb\n", 5, ["a", "", "b", ""]),
        ("\tx", 12, ["        x"]),
        ("ab\tx", 12, ["ab      x"]),
        ("快速排序", 5, ["快速", "排序"]),
        ("see 快速排序", 8, ["see 快速", "排序"]),
        ("a👩‍💻b", 3, ["a👩‍💻", "b"]),
        ("cafe\u0301s", 4, ["cafe\u0301", "s"]),
        ("\x1b[0m", 4, ["␛[0m"]),
        ("\u0085ab", 7, ["\\u0085a", "b"]),
        ("漢", 1, ["漢"]),
    ],
)
def test_rows_of_examples(text: str, width: int, rows: list[str]) -> None:
    assert shown(text, width) == rows


def test_code_breaks_anywhere_and_keeps_every_space() -> None:
    rows = wrap([Piece("if  x:\ty", 0, 8, "code")], 5, words=False)
    assert ["".join(piece.text for piece in pieces) for pieces, _ in rows] == ["if  x", ":    ", "y"]


def test_a_long_answer_wraps_only_its_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = 0

    def counting(line: list[Piece], width: int, words: bool = True) -> object:
        nonlocal wrapped
        wrapped += sum(len(piece.text) for piece in line)
        return wrap(line, width, words)

    monkeypatch.setattr(wrapping, "wrap", counting)
    growing = Wrapping(80)
    text = ""
    for number in range(300):
        text += f"portion {number} of the answer, some ninety characters long, " + "with a line break\n" * (number % 7 == 0)
        wrapped = 0
        growing.grow(text)
        assert wrapped <= 80 + 100
    assert "".join(growing_row.text for growing_row in growing.rows).replace(" ", "") == text.replace(" ", "").replace("\n", "")
