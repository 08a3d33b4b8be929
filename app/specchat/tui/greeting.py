"""What an empty conversation shows: what this is, the keys to begin with, and something to ask."""

from __future__ import annotations

from collections.abc import Iterator

from specchat.tui.actions import BY_ID
from specchat.tui.keys import effective_keys, key_text
from specchat.tui.transcript.wrap import Line, Piece

ABOUT = (
    "A small model guesses ahead, a large one checks.",
    "Every word is the large one's own, only sooner;",
    "good guesses are underlined.",
)
OFFERED = {"help": "keys and commands", "pairs": "pick the models", "sessions": "earlier conversations"}
EXAMPLE = "Tell me a story about a dog."


def greeting(keys: dict[str, str]) -> list[Line]:
    """Lines to be shown one below the other, with the user's keys by action id; an action without a key is named by its command."""
    return list(_lines(effective_keys(keys)))


def _lines(keys: dict[str, str]) -> Iterator[Line]:
    yield [Piece("spec", style="heading link"), Piece("chat", style="heading")]
    yield []
    for sentence in ABOUT:
        yield [Piece(sentence)]
    yield []
    names = {action_id: key_text(keys[action_id].split(",")[0]) or f"/{BY_ID[action_id].slash}" for action_id in OFFERED}
    width = max(map(len, names.values()))
    for action_id, what in OFFERED.items():
        yield [Piece(names[action_id].ljust(width + 2), style="strong"), Piece(what, style="hint")]
    yield []
    yield [Piece("Try".ljust(width + 2), style="hint"), Piece(EXAMPLE, style="em")]
