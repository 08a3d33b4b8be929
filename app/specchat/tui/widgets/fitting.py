"""Fitting a row of words into its width: what matters most is placed first, and the rest where there is still room."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

Form = tuple[int, Content]


def fit(pieces: Sequence[Sequence[Form]], width: int, separator: Content) -> Content:
    """The pieces in their order, each in the longest form there is room for, or left out.

    A form has a rank: higher ranks are placed first, so a piece gives its shorter forms the higher ones. The highest of all is
    always there, cut if it must be.
    """
    forms = sorted(((rank, place, form) for place, piece in enumerate(pieces) for rank, form in piece), key=lambda form: -form[0])
    shown: dict[int, Content] = {}
    for _, place, form in forms:
        tried = shown | {place: form}
        if not shown or _line(tried, separator).cell_length <= width:
            shown = tried
    return _line(shown, separator).truncate(width, ellipsis=True)


def _line(shown: dict[int, Content], separator: Content) -> Content:
    return separator.join([shown[place] for place in sorted(shown)])
