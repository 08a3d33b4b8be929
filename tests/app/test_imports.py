"""What the app really imports, asked of a fresh interpreter."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest
from tests.app.harness import FAKE_ENGINE

import specchat

NAMES = [module.name for module in pkgutil.walk_packages(specchat.__path__, "specchat.") if not module.name.endswith("__main__")]
TENSORS = {"torch", "transformers", "safetensors", "bitsandbytes"}
REPORT = "import json, sys; print(json.dumps(sorted(name for name in sys.modules if '.' not in name)), file=sys.stderr)"


def imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit\natexit.register(lambda: exec({REPORT!r}))\n{code}"], capture_output=True, timeout=60
    )
    names: list[str] = json.loads(done.stderr.splitlines()[-1])
    return set(names)


def test_help_imports_nothing_slow() -> None:
    modules = imported_by("import sys; sys.argv[1:] = ['--help']; from specchat.cli import main; main()")
    assert "specchat" in modules
    assert not modules & {"torch", "transformers", "textual", "huggingface_hub", "safetensors", "bitsandbytes", "numpy", "pydantic", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], ["pairs"], ["paths"], ["sessions"], ["-p", "Hello?"]])
def test_what_needs_no_screen_does_not_import_textual(arguments: list[str]) -> None:
    modules = imported_by(f"import sys; sys.argv[1:] = {arguments}; from specchat.cli import main; main({[*FAKE_ENGINE, 'echo']})")
    assert "specchat" in modules
    assert not modules & {"textual", *TENSORS}


def test_no_module_of_the_app_imports_a_tensor_library() -> None:
    modules = imported_by("\n".join(f"import {name}" for name in NAMES))
    assert {"specchat", "textual"} <= modules
    assert not modules & TENSORS


def test_only_the_screens_import_textual() -> None:
    names = [name for name in NAMES if not name.startswith("specchat.tui")]
    assert {"specchat.desk", "specchat.engine_thread", "specchat.export"} <= set(names)
    assert "textual" not in imported_by("\n".join(f"import {name}" for name in names))
