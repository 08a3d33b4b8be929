"""settings.toml: read so that a broken file stops nothing, written so that the user's comments and order stay."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import tomlkit
from pydantic import ValidationError
from tomlkit import TOMLDocument

from specchat.paths import private_folder
from specchat.private_file import write_private
from specchat.settings import ALLOWED, Settings, flatten
from specchat.visible import visible
from specdec.errors import SpecError, UsageError

KEYS_ALLOWED = "keys separated by commas such as ctrl+k, none for no key, or empty for its own"
UNSET = ("", "auto", "none", "off")
SHOWN_LENGTH = 40
BY_LAST_PART = {full.rpartition(".")[2]: full for full in ALLOWED}


def load_settings(path: Path) -> tuple[Settings, str]:
    """The settings in the file, and what is wrong with it: empty, or the places with a next step.

    Fields that are wrong have their defaults; a file that cannot be read or is no TOML gives all defaults.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        return Settings(), ""
    except OSError as error:
        return Settings(), f"{path} cannot be read: {error.strerror}. All settings have their defaults; make the file readable."
    except UnicodeDecodeError as error:
        return Settings(), f"{path} is not UTF-8 at byte offset {error.start}. All settings have their defaults; mend the file."
    except (ValueError, RecursionError) as error:
        advice = f"mend that line, or change something in the app, which keeps the file as {path.name}.bak"
        return Settings(), f"{path} is not TOML: {visible(str(error))}. All settings have their defaults; {advice}."
    settings, wrong = _usable(table)
    if not wrong:
        return settings, ""
    places = "; ".join(f"line {_line_of(text, name)}: {_complaint(name, value)}" for name, value in wrong.items())
    return settings, f"{path}, {places}. The default is used instead; mend the file."


def save_settings(path: Path, settings: Settings, before: Settings | None = None) -> None:
    """Write the settings that are not the defaults or are in the file already, and keep everything else in it as it is.

    The file is read anew. With `before`, what the settings were when they were read, only what has changed since is written, so
    that another program's changes stay. A broken file is first copied to settings.toml.bak, then rid of what is wrong in it.
    Raises SpecError if the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        private_folder(target.parent)
        document = _document(target)
        _update(document, flatten(settings), flatten(before) if before else {})
        write_private(target, tomlkit.dumps(document).encode())
    except OSError as error:
        raise SpecError(
            f"The settings cannot be written to {path}: {error.strerror}.",
            "They hold until you quit; make the file and its folder writable to keep them.",
        ) from error


def set_value(settings: Settings, name: str, text: str) -> Settings:
    """The settings with one of them changed, as typed by a user; the last part of a name will do: `temperature`.

    An empty text unsets what may be unset, as do `auto`, `none` and `off` where they are no values themselves. Raises UsageError
    naming the nearest settings or the allowed values.
    """
    full = _full_name(name)
    table = settings.model_dump()
    group, _, inner = full.partition(".")
    if group == "keys":
        table["keys"].pop(inner, None)
        if text:
            table["keys"][inner] = text
    elif inner:
        table[group][inner] = _parsed(Settings.model_fields[group].annotation, inner, text)
    else:
        table[group] = _parsed(Settings, group, text)
    try:
        return Settings.model_validate(table)
    except ValidationError:
        raise UsageError(f"{full} must be {_allowed(full)}, not {_shown(text)}.", "It stays as it was.") from None


def value_text(value: object) -> str:
    """A setting as a user types it: empty for what is unset, on and off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def _full_name(name: str) -> str:
    plain = name.strip().lower().replace("-", "_")
    if plain in ALLOWED or (plain.startswith("keys.") and plain != "keys."):
        return plain
    if plain in BY_LAST_PART:
        return BY_LAST_PART[plain]
    near = _nearest(plain)
    raise UsageError(
        f"There is no setting {_shown(name)}.", f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(ALLOWED)}."
    )


def _nearest(name: str) -> list[str]:
    close = difflib.get_close_matches(name.rpartition(".")[2], BY_LAST_PART, n=2, cutoff=0.7) or difflib.get_close_matches(
        name, ALLOWED, n=2
    )
    return [BY_LAST_PART.get(found, found) for found in close]


def _parsed(model: Any, field: str, text: str) -> str | None:
    annotation = model.model_fields[field].annotation
    kinds = get_args(annotation)
    word = text.strip().lower()
    if NoneType in kinds and word in UNSET and not (bool in kinds and word == "off"):
        return None
    if get_origin(annotation) is not Literal:
        return text
    return "" if "" in kinds and word in UNSET and word not in kinds else word


def _allowed(name: str) -> str:
    return KEYS_ALLOWED if name.startswith("keys.") else ALLOWED[name]


def _shown(value: object) -> str:
    text = repr(value)
    return visible(text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…")


def _complaint(name: str, value: object) -> str:
    if name in ALLOWED or name.startswith("keys."):
        return f"{name} must be {_allowed(name)}, not {_shown(value)}"
    if name in Settings.model_fields:
        return f"{name} must be a table, not {_shown(value)}"
    near = _nearest(name)
    return f"there is no setting {visible(name)}" + (f" (did you mean {' or '.join(near)}?)" if near else "")


def _usable(table: dict[str, Any]) -> tuple[Settings, dict[str, object]]:
    """The settings of a table and, by name, the values in it that are none; these are taken out of the table."""
    wrong: dict[str, object] = {}
    while True:
        try:
            return Settings.model_validate(table, strict=True), wrong
        except ValidationError as error:
            for place in sorted({tuple(str(part) for part in problem["loc"][:2]) for problem in error.errors()}):
                wrong[".".join(place)] = _parent(table, place).pop(place[-1])


def _parent(table: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    return table if len(place) == 1 else table[place[0]]


def _line_of(text: str, name: str) -> int:
    """The line where the statement that sets a name begins, found as the shortest beginning of the file that sets it."""
    lines = text.split("\n")
    whole = 0
    for count in range(1, len(lines) + 1):
        try:
            table: Any = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        for part in name.split(".", 1):
            table = table.get(part) if isinstance(table, dict) else None
        if table is not None:
            break
        whole = count
    return whole + 1


def _document(path: Path) -> TOMLDocument:
    """The file as it is on disk, without what is wrong in it; a broken one is kept beside it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return tomlkit.document()
    try:
        text = data.decode()
        _, wrong = _usable(tomllib.loads(text))
        document = tomlkit.parse(text)
    except (ValueError, RecursionError):
        wrong, document = {"": None}, tomlkit.document()
    if wrong:
        write_private(path.with_name(path.name + ".bak"), data)
    for name in wrong:
        _remove(document, name)
    return document


def _update(document: TOMLDocument, values: dict[str, object], before: dict[str, object]) -> None:
    defaults = flatten(Settings())
    present = _names(document)
    for name in dict.fromkeys((*values, *before, *(() if before else present))):
        value = values.get(name)
        if before and name in before and before[name] == value:
            continue
        if value is None:
            _remove(document, name)
        elif name in present or value != defaults.get(name):
            _put(document, name, value)


def _names(document: TOMLDocument) -> list[str]:
    names: list[str] = []
    for name, value in document.unwrap().items():
        names += [f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name]
    return names


def _put(document: TOMLDocument, name: str, value: object) -> None:
    group, _, inner = name.partition(".")
    item = tomlkit.string(value, multiline="\n" in value and "\r" not in value) if isinstance(value, str) else tomlkit.item(value)
    if not inner:
        document[group] = item
    else:
        if group not in document:
            document[group] = tomlkit.table()
        document[group][inner] = item


def _remove(document: TOMLDocument, name: str) -> None:
    group, _, inner = name.partition(".")
    table: Any = document.get(group, {}) if inner else document
    table.pop(inner or group, None)
