"""scripts/run and scripts/test: what they install, when, and what they pass on; with a stand-in for Python that only notes its calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Makes "virtual environments" that hold a copy of itself, notes what pip is asked for, and runs specchat by repeating its arguments.
STAND_IN = """#!/bin/sh
case "$*" in
*version_info*) exit ${TOO_OLD:-0} ;;
*ensurepip*) exit ${NO_VENV:-0} ;;
*flock*) exec "$REAL_PYTHON" "$@" ;;
"-m venv"*) shift 3; rm -rf "$1"; mkdir -p "$1/bin"; cp "$0" "$1/bin/python"; echo venv >>"$CALLS" ;;
"-m pip --version") ;;
"-m pip install"*) echo "$*" >>"$CALLS"; sleep ${PIP_SECONDS:-0}; exit ${PIP_FAILS:-0} ;;
"-P -m specchat"*) shift 3; printf '<%s>' "$@"; cat ;;
*) echo "check $*" >>"$CALLS"; case "$*" in *"${FAILING_CHECK:-nothing}"*) exit 1 ;; esac ;;
esac
"""


class Checkout:
    """A checkout with the real scripts, where the only Python is the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls"
        shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=lambda _, names: [name for name in names if name.count("_")])
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder / name)
        programs = folder / "programs"
        programs.mkdir()
        for name in ("python3.13", "python3.12", "python3.11", "python3"):
            (programs / name).write_text(STAND_IN)
            (programs / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{programs}:/usr/bin:/bin",
            "CALLS": str(self.calls_file),
            "REAL_PYTHON": sys.executable,
        }

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "scripts" / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | environment,
            cwd="/",
        )

    def run(self, script: str, *arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
        process = self.start(script, *arguments, **environment)
        out, err = process.communicate(stdin, timeout=60)
        return process.returncode, out, err

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    return Checkout(folder)


def test_run_installs_once_and_passes_arguments_and_stdin_on(checkout: Checkout) -> None:
    install = "-m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ."
    code, out, err = checkout.run("run", "-p", "two words", "", stdin="from stdin")
    assert (code, out) == (0, "<-p><two words><>from stdin")
    assert "installing into" in err
    assert checkout.calls == ["venv", install]
    assert checkout.run("run", "again") == (0, "<again>", "")
    assert checkout.calls == ["venv", install]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_dependencies_are_installed(checkout: Checkout, name: str) -> None:
    checkout.run("run")
    with (checkout.folder / name).open("a") as file:
        file.write("# changed\n")
    checkout.run("run")
    assert [call.split()[0] for call in checkout.calls] == ["venv", "-m", "-m"]


def test_a_failed_installation_is_told_and_made_anew(checkout: Checkout) -> None:
    code, out, err = checkout.run("run", PIP_FAILS="1")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("specchat: the installation failed")
    assert checkout.run("run", "x")[:2] == (0, "<x>")
    assert [call.split()[0] for call in checkout.calls] == ["venv", "-m", "venv", "-m"]


def test_an_installation_broken_off_by_another_script_is_repaired(checkout: Checkout) -> None:
    checkout.run("run")
    checkout.run("test", PIP_FAILS="1")
    assert checkout.run("run", "x")[:2] == (0, "<x>")
    assert [call.split()[0] for call in checkout.calls] == ["venv", "-m", "-m", "venv", "-m"]


def test_starts_at_the_same_time_install_once(checkout: Checkout) -> None:
    starts = [checkout.start("run", str(number), PIP_SECONDS="0.3") for number in range(3)]
    assert [start.communicate("", timeout=60)[0] for start in starts] == ["<0>", "<1>", "<2>"]
    assert [call.split()[0] for call in checkout.calls] == ["venv", "-m"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [({"TOO_OLD": "1"}, "Python 3.11 or newer is needed"), ({"NO_VENV": "1"}, "python3.13 cannot make virtual environments")],
)
def test_a_python_that_will_not_do_is_one_clear_line(checkout: Checkout, environment: dict[str, str], words: str) -> None:
    code, out, err = checkout.run("run", **environment)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"specchat: {words}")


def test_test_runs_every_check_and_passes_arguments_to_pytest(checkout: Checkout) -> None:
    code, out, _ = checkout.run("test", "-k", "some name")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("==")] == [
        "== ruff check",
        "== ruff format",
        "== mypy",
        "== import contracts",
        "== pytest",
    ]
    assert checkout.calls[1].endswith("--editable .[test]")
    assert checkout.calls[-1] == "check -m pytest -k some name"


def test_test_stops_at_the_first_failure_and_names_it(checkout: Checkout) -> None:
    code, out, err = checkout.run("test", FAILING_CHECK="mypy")
    assert code == 1
    assert out.splitlines()[-1] == "== mypy"
    assert err.splitlines()[-1] == "specchat: the check 'mypy' failed."
