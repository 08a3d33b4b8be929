"""The table of keys in the README comes from the registry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from specchat.tui.actions import ACTIONS

SCRIPT = Path(__file__).parents[2] / "scripts" / "key_table.py"
BEFORE = "# Title\n<!-- keys -->\nold\n<!-- /keys -->\nrest\n"


def key_table(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_every_action_has_a_row_of_four_cells_with_its_command() -> None:
    table = key_table().stdout
    for action in ACTIONS:
        assert f"| `{action.id}` |" in table
        assert not action.slash or f"`/{action.slash}" in table
    for row in table.splitlines():
        assert row.replace(r"\|", "").count("|") == 5


def test_a_file_is_out_of_date_until_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(BEFORE)
    assert "out of date" in key_table("--check", readme).stderr
    assert key_table("--check", readme).returncode == 1
    assert key_table("--write", readme).returncode == 0
    assert key_table("--check", readme).returncode == 0
    assert readme.read_text() == f"# Title\n<!-- keys -->\n{key_table().stdout}<!-- /keys -->\nrest\n"


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n")
    done = key_table("--write", readme)
    assert done.returncode == 1
    assert "<!-- keys -->" in done.stderr
    assert readme.read_text() == "nothing here\n"


def test_the_table_needs_no_screen() -> None:
    code = "import sys, specchat.tui.keys; assert 'textual' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_readme_tells_the_keys_there_are() -> None:
    checked = key_table("--check", SCRIPT.parents[1] / "README.md")
    assert checked.returncode == 0, checked.stderr
