"""Draw the README's picture: a real answer of the demo pair with its token marks, as an SVG.

python scripts/make_picture.py docs/answer.svg
"""

from __future__ import annotations

import io
import os
import pty
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PROMPT = "Tell me a story about a dog."
COMMAND = ["specchat", "-p", PROMPT, "--marks", "--stats", "--seed", "2", "--max-tokens", "110"]
COLUMNS, ROWS = 100, 40


def on_a_terminal(command: list[str]) -> str:
    """What a command writes when its output is a terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-m", *command])
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.waitpid(process, 0)
    return shown.decode().replace("\r\n", "\n")


def settled(shown: str) -> str:
    """The lines as they stand at the end: what a carriage return overwrote is gone."""
    return "\n".join(line.rpartition("\r")[2] for line in shown.split("\n"))


def main() -> None:
    path = Path(sys.argv[1])
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ specchat -p '{PROMPT}' --marks --stats", style="bold"))
    console.print(Text.from_ansi(settled(on_a_terminal(COMMAND))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(console.export_svg(title="specchat"), encoding="utf-8")


if __name__ == "__main__":
    main()
