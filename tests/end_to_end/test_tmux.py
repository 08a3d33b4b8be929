"""The app as a person has it: ./scripts/run in a real terminal, keys in, screen out."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.harness import wait_until_gone
from tests.end_to_end.tmux import Tmux

from specchat.paths import find_paths
from specchat.store import Store

ROOT = Path(__file__).parents[2]
RUN = shlex.quote(str(ROOT / "scripts" / "run"))
SECOND_PAIR = """
[pairs.little]
title = "The sibling alone"
target = "builtin:demo/sibling"
context = 512
license = "apache-2.0"
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Tmux]:
    with Tmux(tmp_path / "tmux") as terminal:
        terminal.type(f"cd {shlex.quote(str(tmp_path))}")
        terminal.keys("Enter")
        yield terminal


def engine_pid(app_pid: int) -> int:
    children = [child for task in Path(f"/proc/{app_pid}/task").glob("*/children") for child in task.read_text().split()]
    found = [int(child) for child in children if "specdec.host" in Path(f"/proc/{child}/cmdline").read_text()]
    assert len(found) == 1
    return found[0]


def app_pid() -> int:
    """The newest process that runs specchat with this test's home."""
    home = os.environ["XDG_DATA_HOME"].encode()
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: -int(path.name)):
        try:
            ours = home in (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if ours and b"-m\0specchat" in command:
            return int(entry.name)
    raise AssertionError("specchat does not run")


def stored_rounds() -> int:
    with sqlite3.connect(find_paths().database) as database:
        return int(database.execute("SELECT count(*) FROM round").fetchone()[0])


def wait_for_rounds(count: int) -> None:
    limit = time.monotonic() + 60
    while not find_paths().database.exists() or stored_rounds() < count:
        assert time.monotonic() < limit, "no rounds are saved"
        time.sleep(0.02)


def test_start_chat_stop_switch_pair_export_quit(terminal: Tmux, tmp_path: Path) -> None:
    registry = find_paths().user_registry
    registry.parent.mkdir(parents=True)
    registry.write_text(SECOND_PAIR, encoding="utf-8")

    terminal.type(RUN)
    terminal.keys("Enter")
    terminal.until("Enter starts with the demo pair")
    terminal.until("little")
    terminal.keys("Enter")
    terminal.until("● ready")

    terminal.type("Tell me a story about a dog.")
    terminal.keys("Enter")
    terminal.until("● answering|tok/s")
    shown = terminal.until("● ready")
    assert re.search(r"draft \d+", shown)
    assert "tokens/round" in shown

    terminal.type("/set max_tokens 900")
    terminal.keys("Enter")
    terminal.type("Tell me a very long story.")
    terminal.keys("Enter")
    terminal.until("● answering")
    terminal.keys("Escape")
    terminal.until("● ready")

    terminal.type("/pair little")
    terminal.keys("Enter")
    terminal.until(r"sibling.*● ready")

    terminal.type("/export markdown out.md")
    terminal.keys("Enter")
    terminal.until("Written to")
    assert "Tell me a story about a dog." in (tmp_path / "out.md").read_text(encoding="utf-8")

    terminal.keys("C-q")
    terminal.until(r"scripts/run\n\$ *\n")
    terminal.type("echo the shell is back")
    terminal.keys("Enter")
    terminal.until("\nthe shell is back")


def test_a_killed_engine_costs_the_rest_of_one_answer(terminal: Tmux) -> None:
    terminal.type(f"{RUN} --pair demo --max-tokens 900 --seed 3")
    terminal.keys("Enter")
    terminal.until("● ready")
    terminal.type("Tell me a very long story.")
    terminal.keys("Enter")
    wait_for_rounds(5)
    os.kill(engine_pid(app_pid()), signal.SIGKILL)
    terminal.until("SIGKILL")
    store = Store(find_paths().database)
    [row] = store.sessions()
    kept = store.load(row.id).branch()[-1]
    assert len(kept.rounds) >= 5
    assert kept.error
    store.close()

    terminal.type("/set max_tokens 20")
    terminal.keys("Enter")
    terminal.type("Are you back?")
    terminal.keys("Enter")
    terminal.until(r"Are you back\?")
    terminal.until("● ready")
    terminal.keys("C-q")


def test_a_killed_app_loses_nothing_but_the_last_round_and_leaves_no_engine(terminal: Tmux) -> None:
    terminal.type(f"{RUN} --pair demo --max-tokens 900 --seed 3")
    terminal.keys("Enter")
    terminal.until("● ready")
    terminal.type("Tell me a very long story.")
    terminal.keys("Enter")
    wait_for_rounds(20)
    app = app_pid()
    engine = engine_pid(app)
    os.kill(app, signal.SIGKILL)
    wait_until_gone(engine)
    store = Store(find_paths().database)
    [row] = store.sessions()
    answer = store.load(row.id).branch()[-1]
    assert answer.interrupted
    assert len(answer.rounds) >= 20
    assert answer.text == "".join(run.text for round_ in answer.rounds for run in round_.runs)
    begun = answer.text
    store.close()

    terminal.keys("C-j")
    terminal.type("stty sane; clear; echo again$((1 + 1))")
    terminal.keys("C-j")
    terminal.until("again2")
    terminal.type(f"{RUN} --pair demo --max-tokens 40; echo code $?")
    terminal.keys("Enter")
    terminal.until("● ready")
    terminal.keys("C-r")
    terminal.until("very long story")
    terminal.keys("Enter")
    terminal.until("interrupted")
    terminal.type("/continue")
    terminal.keys("Enter")
    wait_for_rounds(len(answer.rounds) + 1)
    terminal.keys("C-q")
    terminal.until("code 0")
    store = Store(find_paths().database)
    continued = store.load(row.id).branch()[-1]
    assert continued.text.startswith(begun)
    assert len(continued.text) > len(begun)
    assert continued.finish is not None
    store.close()


def test_odd_bytes_and_a_failing_editor_change_nothing_and_a_signal_ends_it_in_order(terminal: Tmux) -> None:
    terminal.type(f"EDITOR=false {RUN} --pair demo; echo code $?")
    terminal.keys("Enter")
    terminal.until("● ready")
    terminal.type("half a prompt")
    terminal.until("half a prompt")
    terminal.keys("-H", "ff")
    terminal.keys("C-g")
    terminal.until("The editor false ended with code 1")
    terminal.until("half a prompt")
    os.kill(app_pid(), signal.SIGTERM)
    terminal.until("code 143")
    terminal.type("stty -a | grep -o ' echo '; echo the shell is back")
    terminal.keys("Enter")
    terminal.until(r"\n echo\s*\nthe shell is back")
