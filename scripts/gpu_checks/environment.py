"""Stage `environment`: the machine, the versions, and the ceilings that everything else is compared with."""

from __future__ import annotations

import platform
import subprocess
from functools import partial
from importlib import metadata

import torch

from gpu_checks import bandwidth
from gpu_checks.findings import Findings, Value
from gpu_checks.setup import Setup

PACKAGES = ("torch", "triton", "transformers", "safetensors", "bitsandbytes", "pydantic")


def measure(setup: Setup, findings: Findings) -> None:
    """Names and versions, then copy bandwidth and matrix throughput."""
    findings.add("machine", what="python", found=platform.python_version())
    for package in PACKAGES:
        findings.add("machine", what=package, found=_version(package))
    findings.add("machine", what="CUDA of torch", found=torch.version.cuda)
    findings.part("GPU", partial(_gpu, setup, findings))
    findings.part("copy", lambda: _rate(findings, "copy, read and written", setup.bandwidth / 1e9, "GB/s"))
    side = 128 if setup.tiny else 8192
    for name in setup.dtypes:
        findings.part(f"product in {name}", partial(_product, setup, findings, name, side))


def _gpu(setup: Setup, findings: Findings) -> None:
    if not setup.on_gpu:
        findings.skip("GPU", "the device is a CPU")
        return
    properties = torch.cuda.get_device_properties(setup.device)
    free, total = torch.cuda.mem_get_info(setup.device)
    found: dict[str, Value] = {
        "GPU": properties.name,
        "compute capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "L2 MB": properties.L2_cache_size / 1e6,
        "memory GB": total / 1e9,
        "free GB": free / 1e9,
        "driver": _driver(),
    }
    for what, value in found.items():
        findings.add("machine", what=what, found=value)


def _product(setup: Setup, findings: Findings, name: str, side: int) -> None:
    rate = bandwidth.multiplications_per_second(setup.device, getattr(torch, name), side)
    _rate(findings, f"matrix product in {name}, side {side}", rate / 1e12, "TFLOP/s")


def _rate(findings: Findings, what: str, rate: float, unit: str) -> None:
    findings.add("ceilings", what=what, rate=rate, unit=unit)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError):
        return None
