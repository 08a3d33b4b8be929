"""Promises of Markdown rows: no text is lost, every character knows its place, and nothing raises."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specchat.tui.transcript.markdown import code_blocks, markdown_rows
from specchat.tui.transcript.wrap import Row, cells
from specchat.visible import visible

MARKUP = r"[\s#*_~`=|:>\-+<\[\]()!\\.&;0-9]"
FRAGMENTS = r"""
# @## @Head@\n@\n\n@- @* @1. @2) @> @    @\t@```@```python\n@~~~\n@`@``@**@*@_@__@~~@[@](@](http://a.b/c)@](<x y> "t")@)@![@<b>@</b>
@<http://x.y>@&amp;@&#9;@&nbsp;@&@\\@\\*@\\\n@  \n@word@some words@漢字@e\u0301@\x1b[0m@\r\n@\r@---\n@===\n@| a | b |\n@|---|\n@--|:-:|\n
@| 1 | 2 | 3 |\n@|@[x]: /url "t"\n
"""
PARTS = [part.encode("latin1", "backslashreplace").decode("unicode_escape") for part in FRAGMENTS.replace("\n", "").split("@")]
SOURCES = st.lists(st.one_of(st.sampled_from(PARTS), st.sampled_from("|\n- >`"), st.text(max_size=4)), max_size=30).map("".join)
WIDTHS = st.integers(1, 60)


def stretches(rows: list[Row]) -> list[tuple[int, int]]:
    return [(piece.start, piece.end) for row in rows for piece in row.pieces if piece.start >= 0]


@given(SOURCES, WIDTHS)
@example("| a | b |\n|---|---|\n| 1 | 2 | lost? |", 40)
@example("[label]: http://example.org 'title'", 40)
@example("<!-- hidden? --> <script>x</script>", 40)
@example("`` code ` in it ``", 40)
@example("- - - x\n  1. y", 40)
@example(">" * 30 + " deep", 60)
@example("[https://a.b](https://a.b) and [a](https://a.b)", 60)
def test_all_text_is_displayed_where_it_stands(source: str, width: int) -> None:
    rows = markdown_rows(source, width)
    shown = stretches(rows)
    covered = {index for start, end in shown for index in range(start, end)}
    links = {index for match in re.finditer(r"\[([^\[\]]+)\]\(\1\)", source) for index in range(*match.span())}
    missing = {character for index, character in enumerate(source) if index not in covered | links}
    assert all(re.fullmatch(MARKUP, character) for character in missing)
    for row in rows:
        for piece in row.pieces:
            if piece.exact and piece.style != "bullet":
                expected = source[piece.start : piece.end]
                assert re.sub(r"\s", " ", visible(expected)) == re.sub(r"\s", " ", visible(piece.text)) or "\u200d" in expected
            assert 0 <= piece.start < piece.end <= len(source) or piece.start == piece.end == -1


@given(SOURCES, WIDTHS)
def test_rows_follow_the_order_of_the_source(source: str, width: int) -> None:
    rows = markdown_rows(source, width)
    assert rows
    assert all(first.start <= second.start for first, second in pairwise(rows))
    assert all("\n" not in row.text and "\t" not in row.text for row in rows)


@given(SOURCES, st.integers(20, 60))
def test_no_row_is_wider_than_the_width(source: str, width: int) -> None:
    assert all(cells(row.pieces) <= width for row in markdown_rows(source, width))


@given(SOURCES, st.integers(0, 40), WIDTHS)
def test_rows_can_begin_in_mid_text(source: str, start: int, width: int) -> None:
    text = "?" * start + source
    moved = [row._replace(start=row.start - start) for row in markdown_rows(text, width, start)]
    assert [(row.text, row.start) for row in moved] == [(row.text, row.start) for row in markdown_rows(source, width)]


@given(SOURCES, WIDTHS, st.data())
def test_rejected_text_is_shown_once_and_hides_nothing(source: str, width: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(source)))
    plain, rows = markdown_rows(source, width), markdown_rows(source, width, insertion=(at, "REJECTED words"))
    shown = "".join(piece.text for row in rows for piece in row.pieces if piece.style == "rejected")
    assert shown.replace(" ", "") in ("REJECTEDwords", "")
    if any(0 <= piece.end <= at and piece.style != "bullet" for row in plain for piece in row.pieces):
        assert shown
    covered = [{index for start, end in stretches(each) for index in range(start, end)} for each in (plain, rows)]
    assert {source[index] for index in covered[0] ^ covered[1]} <= set(" \t\n")


def shown(source: str, width: int = 40) -> list[str]:
    return [row.text for row in markdown_rows(source, width)]


def styles(source: str) -> dict[str, str]:
    return {piece.text: piece.style for row in markdown_rows(source, 60) for piece in row.pieces}


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("# Title #\ntext", ["Title", "", "text"]),
        ("Title\n===\ntext", ["Title", "", "text"]),
        ("one\ntwo", ["one", "two"]),
        ("- a\n- b\n  - c", ["• a", "• b", "  ◦ c"]),
        ("- a\n\n- b", ["• a", "", "• b"]),
        ("9. a\n10. b", [" 9. a", "10. b"]),
        ("> quoted\n> more", ["│ quoted", "│ more"]),
        ("- item\n\n  > quoted in it", ["• item", "  ", "  │ quoted in it"]),
        ("***", ["─" * 40]),
        ("```py\nx = 1\n```", [" py", " x = 1"]),
        ("```\nnever closed\n\nlast", [" never closed", " ", " last"]),
        ("```\n```", [" "]),
        ("    indented", [" indented"]),
        ("<b>bold?</b>", ["<b>bold?</b>"]),
        ("a &amp; b \\* c", ["a & b * c"]),
        ("see [docs](http://x.y 'T')", ["see docs (http://x.y 'T')"]),
        ("<http://x.y>", ["http://x.y"]),
        ("![alt](a.png)", ["image alt (a.png)"]),
        ("|a|b|\n|:-|-:|\n|long|1|\n|x|22|", ["a    │  b", "─────┼───", "long │  1", "x    │ 22"]),
        ("[x]: http://y", ["[x]: http://y"]),
        ("", [""]),
    ],
)
def test_rows_of_examples(source: str, rows: list[str]) -> None:
    assert shown(source) == rows


def test_inline_styles_nest() -> None:
    found = styles("plain **bold *both*** ~~gone~~ `code` [**link**](u)")
    assert found["bold "] == "strong"
    assert found["both"].split() == ["strong", "em"]
    assert found["gone"] == "strike"
    assert found["code"] == "inline-code"
    assert found["link"].split() == ["link", "strong"]
    assert found["u"] == "url"


def test_code_is_coloured_by_its_language() -> None:
    assert styles("```python\nreturn 'text'  # why\n```")["return"] == "code keyword"
    assert set(styles("```nonsense\nreturn 'text'\n```").values()) == {"label", "code"}


def test_a_wide_table_wraps_in_its_cells() -> None:
    rows = shown("| name | what it does |\n|---|---|\n| specchat | drafts tokens cheaply and verifies them exactly |", 30)
    assert all(len(row) <= 30 for row in rows)
    assert rows[2].startswith("specchat │ drafts")
    assert rows[3].startswith("         │ ")


def test_code_blocks_are_the_exact_source() -> None:
    source = "x\n\n```py\na\n\n\tb  \n```\n\n- y\n  ~~~~\n  ```\n  ~~~~\n\n```\nopen"
    assert code_blocks(source) == ["a\n\n\tb  ", "```", "open"]
