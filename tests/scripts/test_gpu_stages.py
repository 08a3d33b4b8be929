"""Stages of scripts/gpu_check.py as they run on a GPU: with graphs, events and waits."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import pytest
import torch
from tests.pretend_gpu.cuda import NAME, pretend_gpu

from gpu_checks import running
from gpu_checks.setup import Setup

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


@pytest.mark.parametrize("stage", ["environment", "steps", "prefill", "sampling"])
def test_a_stage_finds_no_fault(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdec.model.operations.find_spec", lambda name: None if name == "triton" else find_spec(name))
    monkeypatch.setattr("gpu_checks.setup.ROWS", (1, 16))
    began = perf_counter()
    with pretend_gpu() as gpu:
        (found,) = running.run(Setup(torch.device("cuda"), True, tmp_path), [stage], tmp_path / "out").values()
    assert (found.failed, found.skipped, found.ended) == ([], [], True)
    assert found.seconds <= perf_counter() - began
    assert gpu.waits["synchronize"]
    if stage == "environment":
        assert {row["what"]: row["found"] for row in found.tables["machine"]}["GPU"] == NAME
    if stage == "steps":
        rows = found.tables["a forward pass"]
        assert all({"eager_ms", "graph_ms", "engine_ms"} <= row.keys() for row in rows)
        assert gpu.waits["capture"] >= len(rows)
