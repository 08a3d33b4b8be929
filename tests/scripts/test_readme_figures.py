"""The README's tables of speed are made from kept runs, which hold no text of prompts or answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.app.fake_engine import ENVIRONMENT, measured
from tests.app.test_bench_report import FIGURES, PLAN, STARTED

import readme_figures
from specchat.bench.measuring import Measurements
from specchat.bench.record import as_json, record
from specchat.bench.texts import compare

SCRIPT = Path(readme_figures.__file__)
README = SCRIPT.parents[1] / "README.md"


@pytest.fixture
def run() -> dict[str, Any]:
    answers = [measured(method, 0.0, prompt, 1) for method in PLAN.methods[:2] for prompt in PLAN.prompts]
    found = Measurements(PLAN, STARTED, answers)
    value: dict[str, Any] = json.loads(as_json(record(found, STARTED, FIGURES, compare(PLAN, answers), "1", "2030-01-02T03:04:05Z")))
    return value


def test_a_kept_run_has_its_figures_but_no_texts(run: dict[str, Any]) -> None:
    text = readme_figures.kept(run)
    found = json.loads(text)
    assert found["figures"] == run["figures"]
    assert len(found["measured"]) == 4
    assert "statistics" in found["measured"][0]
    assert run["measured"][0]["text"]
    assert not {"text", "tokens"} & set(found["measured"][0])


def test_the_table_has_what_was_measured_and_where(run: dict[str, Any]) -> None:
    section = readme_figures.section(run)
    assert "| small | 1.50x (120 tok/s) |  | 1.50x (120 tok/s) | 1.78x | 73% | 2.56 |" in section
    assert "At temperature 0.7:" in section
    assert ENVIRONMENT.processor in section
    assert "2030-01-02" in section
    assert "No drafter changed a text." in section


def test_tables_are_put_in_their_places_and_checked(run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme_figures, "FOLDER", tmp_path)
    source, readme = tmp_path / "run.json", tmp_path / "README.md"
    source.write_text(json.dumps(run))
    readme.write_text("# Title\n<!-- bench-mine -->\nold\n<!-- /bench-mine -->\nrest\n")

    def script(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["readme_figures.py", *arguments])
        return readme_figures.main()

    assert script("--keep", str(source), "mine") == 0
    assert script("--check", str(readme)) == 1
    assert script("--write", str(readme)) == 0
    assert script("--check", str(readme)) == 0
    assert readme.read_text() == f"# Title\n<!-- bench-mine -->\n{readme_figures.section(run)}<!-- /bench-mine -->\nrest\n"


def test_the_readme_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check", README], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
