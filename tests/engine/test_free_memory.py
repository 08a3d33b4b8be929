"""What is free is asked of the GPU or the system, within every limit that is set around us."""

import os
from pathlib import Path

import pytest

from specdec.free_memory import free_memory, host_memory
from specdec.memory import Memory


def machine(root: Path, files: dict[str, str]) -> Path:
    meminfo = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:       0\n"
    for name, text in ({"proc/meminfo": meminfo} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_host_memory_is_what_can_be_taken_without_swapping(tmp_path: Path) -> None:
    assert host_memory(machine(tmp_path, {})) == Memory("cpu", 8_192_000_000, 16_384_000_000)


def test_the_tightest_control_group_limits_host_memory(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user/job\n",
        "sys/fs/cgroup/user/job/memory.max": "max\n",
        "sys/fs/cgroup/user/job/memory.current": "0\n",
        "sys/fs/cgroup/user/job/memory.stat": "anon 0\n",
        "sys/fs/cgroup/user/memory.max": "4000000000\n",
        "sys/fs/cgroup/user/memory.current": "3000000000\n",
        "sys/fs/cgroup/user/memory.stat": "anon 5\ninactive_file 500000000\n",
    }
    assert host_memory(machine(tmp_path, files)) == Memory("cpu", 1_500_000_000, 4_000_000_000)


def test_an_old_control_group_limits_host_memory(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/job\n3:cpuset:/job\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000000000\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "2500000000\n",
        "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 100\n",
    }
    assert host_memory(machine(tmp_path, files)) == Memory("cpu", 0, 2_000_000_000)


def test_this_machine_has_some_memory() -> None:
    found = host_memory()
    assert 0 < found.free <= found.total


def fake_gpu(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def test_a_gpu_is_asked_for_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_gpu(tmp_path, 'while [ "$1" != "-i" ]; do shift; done; echo "$((1000 * ($2 + 1))), 24564"', monkeypatch)
    assert free_memory() == Memory("gpu", 1000 * 2**20, 24564 * 2**20)
    assert free_memory("cuda:1").free == 2000 * 2**20
    assert free_memory("cpu").device == "cpu"


@pytest.mark.parametrize(("visible", "device", "index"), [("3,1", "auto", 3), ("3,1", "cuda:1", 1), (" 2 ", "cuda", 2)])
def test_only_visible_gpus_count(visible: str, device: str, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    fake_gpu(tmp_path, 'while [ "$1" != "-i" ]; do shift; done; echo "$2, 24564"', monkeypatch)
    assert free_memory(device).free == index * 2**20


@pytest.mark.parametrize("visible", ["", "-1", "0 --help", "NoDevFiles"])
def test_no_visible_gpu_means_main_memory(visible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    fake_gpu(tmp_path, 'echo "1000, 24564"', monkeypatch)
    assert free_memory().device == "cpu"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo '[N/A], [N/A]'"])
def test_a_driver_that_fails_means_main_memory(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_gpu(tmp_path, script, monkeypatch)
    assert free_memory().device == "cpu"


def test_no_driver_means_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert free_memory().device == "cpu"
