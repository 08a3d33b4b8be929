"""What all tests share: folders of their own instead of the user's, an interrupt key that works, kernels that run without a GPU."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Triton looks at this when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_configure() -> None:
    """A shell has what it runs in the background ignore the interrupt key, and every program that starts from there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; the XDG folders and the Hugging Face cache lie in it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return home
