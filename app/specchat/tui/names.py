"""Names of models and drafters as people say them, instead of where they come from."""

from __future__ import annotations

import re
from pathlib import PurePath

from specchat.marks import MARKS
from specchat.visible import visible

BUILTIN = "builtin:"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_FOLDER = re.compile(r"[/~.].*")


def model_name(source: str) -> str:
    """`demo target` for `builtin:demo/target`, a repository without its owner, and the last part of a folder's path."""
    if source.startswith(BUILTIN):
        name = source.removeprefix(BUILTIN).replace("/", " ")
    elif _REPOSITORY.fullmatch(source) or _FOLDER.fullmatch(source):
        name = PurePath(source).name
    else:
        name = source
    return visible(name or source)


def drafter_name(drafter: str) -> str:
    """A drafter as the token marks call it."""
    return MARKS["ngram"].label if drafter == "ngram" else visible(drafter)
