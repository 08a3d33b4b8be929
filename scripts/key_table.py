"""The keys and slash commands as a Markdown table, from the registry of actions, for the README.

python scripts/key_table.py                     print the table
python scripts/key_table.py --write README.md   put it between `<!-- keys -->` and `<!-- /keys -->`
python scripts/key_table.py --check README.md   exit with 1 if what stands there is not the table
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

import marked
from specchat.tui.actions import ACTIONS, BY_SLASH, Action, Group
from specchat.tui.keys import key_text


def table() -> str:
    """One row an action, by group: keys, slash command, what it does, and its name for `[keys]` in settings.toml."""
    rows = ["| Keys | Command | | Name |", "|---|---|---|---|"]
    for group in get_args(Group):
        note = " (keys work while a message is selected)" if group == "Message" else ""
        rows.append(f"| **{group}**{note} | | | |")
        rows += [_row(action) for action in ACTIONS if action.group == group]
    return "\n".join(rows) + "\n"


def main(arguments: list[str]) -> int:
    """Print, write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description="The keys and slash commands as a Markdown table.")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--write", type=Path, metavar="FILE", help="put the table between the marks of this file")
    kind.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 if the table of this file is out of date")
    options = parser.parse_args(arguments)
    path = options.write or options.check
    if path is None:
        print(table(), end="")
        return 0
    return marked.renew(path, {"keys": table()}, options.write is not None, "the table of keys is", "python scripts/key_table.py")


def _row(action: Action) -> str:
    names = [name for name, called in BY_SLASH.items() if called is action]
    called = [f"`/{name} {action.arguments}`".replace(" `", "`") for name in names]
    cells = (key_text(action.keys), " ".join(called).replace("|", r"\|"), action.help, f"`{action.id}`")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
