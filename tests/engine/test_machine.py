"""What is found out about the machine: plausible here, and right on made-up machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from specdec import machine
from specdec.errors import UsageError
from specdec.machine_facts import Gpu, Int4Timing
from specdec.model import int4
from specdec.model.linear import Linear

CARD = "NVIDIA H100 80GB HBM3, 535.104.05, 9.0, 81559, 81000"
CARDS = (
    Gpu(name="NVIDIA H100 80GB HBM3", driver="535.104.05", capability="9.0", total_bytes=81559 * 2**20, free_bytes=81000 * 2**20),
    Gpu(name="A card, with a comma", driver="535.104.05", capability="8.9", total_bytes=2**30, free_bytes=2**20),
)


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "COPY_BYTES", {"cpu": 2**22, "cuda": 2**22})


def fake_nvidia_smi(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def test_the_facts_of_this_machine_are_plausible() -> None:
    facts = machine.inspect_machine("cpu")
    assert facts.device == "cpu"
    assert facts.processor.strip()
    assert 1 <= facts.cores <= (os.cpu_count() or 1)
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert facts.versions.keys() == {"torch", *machine.PACKAGES}
    assert facts.versions["torch"] == torch.__version__
    assert facts.versions["transformers"]
    assert facts.cuda == torch.version.cuda
    assert 10**8 < facts.copy_bytes_per_second < 10**13


def test_the_chosen_int4_backend_is_the_one_that_drafts() -> None:
    facts = machine.inspect_machine("cpu")
    assert [timing.name for timing in facts.int4] == ["int4pack", "nf4", "triton"]
    assert facts.int4_chosen == int4.choose_backend("cpu", torch.float32).name == "int4pack"
    assert facts.int4[0].relative_time is not None
    assert facts.int4[0].relative_time > 0
    assert facts.int4[1] == Int4Timing(name="nf4", relative_time=None, problem="not tried on a CPU, where it is slower than full precision")
    assert facts.int4[2] == Int4Timing(name="triton", relative_time=None, problem="needs a GPU")


def test_without_a_working_int4_backend_none_is_chosen_and_the_reasons_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_dense: object) -> Linear:
        raise RuntimeError("no such kernel\nwith details")

    def wordless(_dense: object) -> Linear:
        raise NotImplementedError

    int4.measure_backends.cache_clear()
    monkeypatch.setattr(int4, "BACKENDS", {"one": broken, "two": wordless})
    facts = machine.inspect_machine("cpu")
    int4.measure_backends.cache_clear()
    assert facts.int4_chosen is None
    assert [timing.problem for timing in facts.int4] == ["no such kernel", "NotImplementedError"]


def test_the_backend_with_the_least_time_is_the_fastest() -> None:
    timings = [
        Int4Timing(name="slow", relative_time=0.9),
        Int4Timing(name="broken", relative_time=None, problem="no kernel"),
        Int4Timing(name="quick", relative_time=0.4),
    ]
    assert int4.fastest(timings) == int4.Backend("quick", 0.4)
    assert int4.fastest(timings[1:2]) is None


def test_bitsandbytes_is_not_imported_for_its_version() -> None:
    code = "import sys; from specdec.machine import inspect_machine; inspect_machine('cpu'); sys.exit('bitsandbytes' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=120).returncode == 0


def test_a_package_that_is_not_there_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("no-such-package-anywhere",))
    assert machine.inspect_machine("cpu").versions["no-such-package-anywhere"] is None


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:99", "cpu0", ""])
def test_a_device_that_is_not_there_is_a_usage_error(device: str) -> None:
    with pytest.raises(UsageError, match=f"There is no device {device} here"):
        machine.inspect_machine(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch has a GPU here")
def test_cards_that_torch_cannot_use_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, f"echo '{CARD}'; echo 'A card, with a comma, 535.104.05, 8.9, 1024, 1'", monkeypatch)
    facts = machine.inspect_machine()
    assert facts.device == "cpu"
    assert facts.gpus == CARDS


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch has a GPU here")
@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo 'Card, 535, 9.0, [N/A], [N/A]'"])
def test_a_driver_that_fails_tells_of_no_card(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, script, monkeypatch)
    assert machine.inspect_machine().gpus == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_described() -> None:
    facts = machine.inspect_machine()
    assert facts.device == "cuda"
    assert facts.gpus
    assert facts.gpus[0].name == torch.cuda.get_device_name(0)
    assert 0 < facts.gpus[0].free_bytes <= facts.gpus[0].total_bytes
    assert facts.int4_chosen in {"int4pack", "nf4", "triton"}
