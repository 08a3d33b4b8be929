"""Keys: the registry's, those a user put in their place, and how they are written."""

from __future__ import annotations

import difflib
import string
import unicodedata
from typing import TYPE_CHECKING

from specchat.tui.actions import ACTIONS, BY_ID, Where
from specchat.visible import visible

if TYPE_CHECKING:
    from textual.binding import BindingType

NO_KEY = "no_key_"
MODIFIERS = {"alt", "ctrl", "hyper", "meta", "shift", "super"}
NAMED = {
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "home": "Home",
    "end": "End",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "insert": "Ins",
    "delete": "Del",
    "backspace": "Backspace",
    "enter": "Enter",
    "tab": "Tab",
    "escape": "Esc",
    "space": "Space",
} | {f"f{number}": f"F{number}" for number in range(1, 25)}
ALIASES = {"esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown", "ins": "insert", "del": "delete"}
SHORT_NAMES = {"+": "plus", "-": "minus", "/": "slash", "@": "at", "\\": "backslash", "_": "underscore"}
PUNCTUATION = {mark: unicodedata.name(mark).lower().replace(" ", "_").replace("-", "_") for mark in string.punctuation} | SHORT_NAMES
MARKS = {name: mark for mark, name in PUNCTUATION.items()}


def bindings(where: Where) -> list[BindingType]:
    """The actions whose keys work there, each running `do('<id>')`, those of a message on the screen around it.

    An action's id lets `App.set_keymap` change its keys. Those of the prompt are carried out by the prompt itself, in the order
    in which keys are pressed: a key that went before would overtake letters that are still on their way.

    They go before the keys of the widget in focus, so those for `anywhere` belong to a screen and not to the app, whose keys
    work in dialogs too. An action without keys gets one that no keyboard has, for a keymap to replace.
    """
    from textual.binding import Binding

    return [
        Binding(
            action.keys or _no_key(action.id),
            f"{'screen.' if where == 'message' else ''}do('{action.id}')",
            action.title,
            show=action.footer,
            priority=where != "prompt",
            tooltip=action.help,
            id=action.id,
        )
        for action in ACTIONS
        if action.where == where
    ]


def keymap(keys: dict[str, str]) -> dict[str, str]:
    """The user's keys by action id as `App.set_keymap` takes them, without those that `check_keymap` names."""
    return {action_id: written or _no_key(action_id) for action_id, written in _resolve(keys)[0].items()}


def check_keymap(keys: dict[str, str]) -> list[str]:
    """What is wrong with the user's keys, one sentence each; such an action keeps its own keys."""
    return _resolve(keys)[1]


def effective_keys(keys: dict[str, str]) -> dict[str, str]:
    """The keys that each action has, separated by commas, with the user's keys in force."""
    return {action.id: action.keys for action in ACTIONS} | _resolve(keys)[0]


def key_text(keys: str) -> str:
    """Keys as people write them: `ctrl+j,shift+enter` is `Ctrl+J, Shift+Enter`."""
    return ", ".join(_one_text(key) for key in keys.split(",") if key)


def _one_text(key: str) -> str:
    *modifiers, name = key.split("+")
    shown = NAMED.get(name) or _character(name) or name
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown.upper() if modifiers and len(shown) == 1 else shown])


def _no_key(action_id: str) -> str:
    return f"{NO_KEY}{action_id}"


def _resolve(keys: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The user's keys that can be had, and a sentence for every action whose keys cannot."""
    good: dict[str, str] = {}
    wrong: list[str] = []
    for action_id, text in keys.items():
        parsed = [_parse(part) for part in _parts(text)]
        if action_id not in BY_ID:
            near = difflib.get_close_matches(action_id, BY_ID, n=1)
            wrong.append(f"keys.{visible(action_id)}: there is no such action" + (f"; did you mean {near[0]}?" if near else "."))
        elif None in parsed:
            bad = _parts(text)[parsed.index(None)]
            wrong.append(f"keys.{action_id}: {visible(repr(bad))} is not a key; write ctrl+k, alt+up or f9.")
        elif BY_ID[action_id].where != "message" and any(_typed(key) for key in parsed if key):
            wrong.append(
                f"keys.{action_id}: a key that types a character would be lost to the prompt; add ctrl or alt, or take a function key."
            )
        else:
            good[action_id] = ",".join(dict.fromkeys(key for key in parsed if key))
    while clash := _clash(good):
        key, action_id, other = clash
        del good[action_id]
        wrong.append(f"keys.{action_id}: {key_text(key)} belongs to {other} already; give one of the two another key.")
    return good, wrong


def _clash(chosen: dict[str, str]) -> tuple[str, str, str] | None:
    """A key that two actions would share, the action that must do without it, and the other one."""
    owners: dict[str, list[str]] = {}
    for action in sorted(ACTIONS, key=lambda action: list(chosen).index(action.id) if action.id in chosen else -1):
        for key in filter(None, chosen.get(action.id, action.keys).split(",")):
            for other in owners.setdefault(key, []):
                if "anywhere" in (action.where, BY_ID[other].where) or action.where == BY_ID[other].where:
                    return key, action.id, other
            owners[key].append(action.id)
    return None


def _parts(text: str) -> list[str]:
    """The keys as written; no keys for `none`."""
    return [] if text.strip().lower() in ("", "none") else [part.strip() for part in text.split(",")]


def _parse(text: str) -> str | None:
    """A key as Textual spells it, or `None` if there is no such key."""
    before, _, name = text.rpartition("+") if text[-1:] != "+" else (text[:-1], "", "+")
    modifiers = sorted({modifier.strip().lower() for modifier in before.split("+")} - {""})
    if not set(modifiers) <= MODIFIERS:
        return None
    name = name.strip()
    if len(name) > 1:
        name = ALIASES.get(name.lower(), name.lower())
    elif modifiers == ["shift"]:
        name, modifiers = name.upper(), []
    elif modifiers:
        name = name.lower()
    name = PUNCTUATION.get(name, name)
    return "+".join([*modifiers, name]) if name in NAMED or _character(name) else None


def _character(name: str) -> str:
    """The character that a key of that name types, empty if there is none."""
    return name if len(name) == 1 and name.isalnum() else MARKS.get(name, "")


def _typed(key: str) -> bool:
    return key == "space" or bool(_character(key))
