"""specdec: a batch-1 speculative-decoding engine for one person's GPU.

    pair = load_pair(LoadOptions(target="builtin:demo/target", draft="int4"))
    for event in ChatSession(pair).chat(Chat(messages=(Message(role="user", content="Hello!"),))):
        ...

Names are imported on first use, so that reading types costs no torch import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specdec.events import Chat, Done, Event, Round, Started
    from specdec.loading import Pair, load_pair
    from specdec.options import Drafting, LoadOptions, Message, Sampling
    from specdec.session import ChatSession

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("Chat", "Done", "Event", "Round", "Started"), "specdec.events"),
    **dict.fromkeys(("Pair", "load_pair"), "specdec.loading"),
    **dict.fromkeys(("Drafting", "LoadOptions", "Message", "Sampling"), "specdec.options"),
    "ChatSession": "specdec.session",
}

__all__ = [
    "Chat",
    "ChatSession",
    "Done",
    "Drafting",
    "Event",
    "LoadOptions",
    "Message",
    "Pair",
    "Round",
    "Sampling",
    "Started",
    "load_pair",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'specdec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
