"""Generated parts of a Markdown file: what stands between `<!-- NAME -->` and `<!-- /NAME -->`, written or checked."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path


def placed(text: str, name: str, content: str) -> str:
    """The text with other content between the marks; raises ValueError if the marks are not there."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"There is no line <!-- {name} --> with a line <!-- /{name} --> behind it.")
    return pattern.sub(lambda found: found[1] + content + found[2], text)


def renew(path: Path, contents: Mapping[str, str], write: bool, what: str, command: str) -> int:
    """Write the contents by name into the file, or complain, naming `what` and the `command`, if it holds others; returns the exit code."""
    text = fresh = path.read_text(encoding="utf-8")
    try:
        for name, content in contents.items():
            fresh = placed(fresh, name, content)
    except ValueError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if write:
        path.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        print(f"{path}: {what} out of date. Run {command} --write {path}", file=sys.stderr)
        return 1
    return 0
