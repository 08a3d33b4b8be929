"""Text made for people: safe on a terminal, sources marked, figures in a table."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from specchat.marks import MARKS, SOURCES, legend, marked
from specchat.visible import visible
from specdec.events import Run, Source

ANY_SOURCE = st.sampled_from(SOURCES)
UNSAFE = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.characters(max_codepoint=0xA0),
        st.characters(min_codepoint=0x2000, max_codepoint=0x2070),
        st.characters(categories=["Cs"]),
    )
)


@given(UNSAFE)
def test_what_is_shown_holds_no_control_character(text: str) -> None:
    shown = visible(text)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"]
    assert not [
        char for char in shown if unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]
    assert visible(shown) == shown


@given(UNSAFE, ANY_SOURCE, st.booleans())
def test_marks_change_nothing_but_the_style(text: str, source: Source, colour: bool) -> None:
    assert re.sub(r"\x1b\[[\d;]+m", "", marked(text, source, colour)) == visible(text)


@given(UNSAFE, ANY_SOURCE, st.booleans())
def test_no_style_crosses_the_end_of_a_line(text: str, source: Source, colour: bool) -> None:
    for line in marked(text, source, colour).split("\n"):
        assert line.count("\x1b") in (0, 2)


def test_every_source_has_a_style_of_its_own_without_colour() -> None:
    assert len({mark.ansi(colour=False) for mark in MARKS.values()}) == len(MARKS)


def test_the_legend_counts_tokens() -> None:
    runs = [
        Run(source="draft", text="ab", tokens=(1, 2)),
        Run(source="target", text="c", tokens=(3,)),
        Run(source="draft", text="d", tokens=(4,)),
    ]
    plain = re.sub(r"\x1b\[[\d;]+m", "", legend(runs, colour=True))
    assert plain == "draft 3  n-gram 0  corrected 0  bonus 0  target 1"
