"""The built wheel carries everything: models.toml and the demo pair answer from an environment without the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], check=True, timeout=240)
    return next(folder.glob("specchat-*.whl"))


def test_the_wheel_holds_the_registry_and_the_demo_pair(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "specdec/models.toml" in names
    for model in ("target", "sibling"):
        for file in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "README.md"):
            assert f"specdec/demo/{model}/{file}" in names
    assert {"specdec/py.typed", "specchat/py.typed", "specchat/cli.py", "specchat/tui/specchat.tcss"} <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_it_answers_from_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are lent by this environment through a .pth file, which brings no editable installs along."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=120
    )
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [str(tmp_path / "venv" / "bin" / "specchat"), "-p", "Hello!", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    where = subprocess.run([python, "-c", "import specdec; print(specdec.__file__)"], capture_output=True, text=True, check=True)
    assert str(site) in where.stdout
