"""The one-off measurements run on the demo pair and compare what they say they compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import measure_int4
import profile_round


def squared_error(rounding: measure_int4.Rounding, weight: torch.Tensor) -> float:
    return float((rounding(weight) - weight).square().mean())


def test_smaller_groups_and_narrowed_ranges_round_better_and_symmetric_ranges_worse() -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    fine, usual, coarse = (squared_error(measure_int4.asymmetric(group), weight) for group in (16, 32, 64))
    assert fine < usual < coarse
    assert squared_error(measure_int4.clipped(32), weight) < usual < squared_error(measure_int4.symmetric(32), weight)
    assert len(set(measure_int4.symmetric(32)(weight)[0, :32].tolist())) <= 15


def test_every_way_of_rounding_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "int4.json"
    monkeypatch.setattr(measure_int4, "MAX_TOKENS", 8)
    monkeypatch.setattr(sys, "argv", ["measure_int4.py", "demo", "--per-category", "1", "--threads", "1", "--json", str(out)])
    assert measure_int4.main() == 0
    found = json.loads(out.read_text())["variants"]
    assert len(found) == 9
    assert all(0.5 < variant["rate"] <= 1 for variant in found.values())
    table = capsys.readouterr().out
    assert all(f"| {name} |" in table for name in found)


def test_a_round_is_set_beside_its_kernels(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(profile_round, "REPEATS", 4)
    monkeypatch.setattr(sys, "argv", ["profile_round.py", "demo", "--threads", "1"])
    assert profile_round.main() == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[2:] == ["kernels", "step", "round"]


@pytest.mark.parametrize("script", [measure_int4, profile_round])
def test_an_unknown_pair_is_one_sentence(script: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["script", "nosuch"])
    assert script.main() == 2  # type: ignore[attr-defined]
    assert "nosuch" in capsys.readouterr().err
