"""Untrusted JSON made into checked values: whatever is wrong with it becomes an ExportError that says where."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from specchat.export.errors import ExportError

T = TypeVar("T")
LAST_SECOND = 2.0**36
MILLISECONDS_FROM = 1e11
MOST_INTEGER = 2**63
PLACE_LENGTH = 80
NEXT_STEP = "Export it anew, or choose another file."


def parse(text: str, line: int = 1) -> Any:
    """The JSON value a text holds; `line` is where the text begins in its file. Numbers are finite and integers fit 64 bits."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:
        raise ExportError(f"The file is no valid JSON{at_line(line)}: {error}.", NEXT_STEP) from None
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as fields:
                waiting += fields.values()
            case list() as items:
                waiting += items
            case float() as number if not math.isfinite(number):
                raise ExportError(f"The file holds a number that is too large{at_line(line)}.", NEXT_STEP)
            case int() as number if not -MOST_INTEGER <= number < MOST_INTEGER:
                raise ExportError(f"The file holds a number that is too large{at_line(line)}.", NEXT_STEP)
    return value


def checked(shape: TypeAdapter[T], value: Any, line: int = 1) -> T:
    """The value in the shape asked for; `line` is where it begins in its file."""
    try:
        return shape.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:PLACE_LENGTH] or "the whole"
        raise ExportError(f"The file does not hold what it should{at_line(line)} ({place}: {first['msg']}).", NEXT_STEP) from None


def parents_first(parents: Mapping[str, str | None]) -> list[str]:
    """The ids of a tree with every parent before its children, which keep their order; raises ExportError if it is no tree."""
    following = defaultdict[str | None, list[str]](list)
    for name, parent in parents.items():
        if parent is not None and parent not in parents:
            raise ExportError(f"The message {name[:PLACE_LENGTH]} follows {parent[:PLACE_LENGTH]}, which is not in the file.", NEXT_STEP)
        following[parent].append(name)
    order: list[str] = []
    waiting = following[None][::-1]
    while waiting:
        order.append(waiting.pop())
        waiting += following[order[-1]][::-1]
    if len(order) < len(parents):
        name = next(iter(parents.keys() - set(order)))
        raise ExportError(f"The message {name[:PLACE_LENGTH]} follows itself.", NEXT_STEP)
    return order


def seconds(stamp: float | None, otherwise: float) -> float:
    """A time in seconds since 1970 from one that may be in milliseconds, missing or absurd."""
    if stamp is None:
        return otherwise
    value = stamp / 1000 if stamp >= MILLISECONDS_FROM else stamp
    return float(value) if 0 <= value <= LAST_SECOND else otherwise


def at_line(line: int) -> str:
    """Words for a place behind the first line of a file."""
    return f" from line {line} on" if line > 1 else ""
