"""Draw the README's pictures from real runs of the demo pair: the app, and an answer on the command line, as SVG files.

python scripts/make_pictures.py docs
"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from specchat.client import ENGINE_COMMAND
from specchat.paths import Paths
from specchat.tui.run import open_app

PROMPT = "Tell me a story about a dog."
COMMAND = ["specchat", "-p", PROMPT, "--marks", "--stats", "--seed", "2", "--max-tokens", "110"]
COLUMNS, ROWS = 100, 40
APP_SIZE = (116, 38)
CONVERSATION = ("Who are you?", "What is speculative decoding?", "Tell me a story about a dog.")


async def picture_of_app(folder: Path) -> str:
    """The app after a short conversation, drawn by itself."""
    paths = Paths(config=folder / "config", sessions=folder / "sessions", logs=folder / "logs")
    app = open_app(paths, ENGINE_COMMAND, {"sampling": {"seed": 4}, "max_tokens": 130, "pair": "demo"})
    async with app.run_test(size=APP_SIZE) as pilot:
        while app.desk.ready is None:
            await pilot.pause(0.1)
        for prompt in CONVERSATION:
            app.chat.ask(prompt)
            while app.chat.answering is not None:
                await pilot.pause(0.1)
        await pilot.pause(0.5)
        drawn = app.export_screenshot(title="specchat")
        app.desk.close()
        app.downloads.close()
    return drawn


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


def picture_of_answer() -> str:
    """An answer on the command line with its token marks."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ specchat -p '{PROMPT}' --marks --stats", style="bold"))
    console.print(Text.from_ansi(settled(on_a_terminal(COMMAND))))
    return console.export_svg(title="specchat")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        app = asyncio.run(picture_of_app(Path(temporary)))
    for name, picture in (("app.svg", app), ("answer.svg", picture_of_answer())):
        (folder / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
