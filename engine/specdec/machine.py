"""What this machine offers: looked up where it is written down, measured where it is not."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

import torch

from specdec.calibration import available_cores
from specdec.errors import UsageError
from specdec.free_memory import host_memory
from specdec.machine_facts import Gpu, MachineFacts
from specdec.memory import resolve_dtype
from specdec.model.int4 import fastest, measure_backends

PACKAGES = ("triton", "bitsandbytes", "transformers", "huggingface_hub", "textual")
COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}
COPY_SHARE = 8
COPIES = 5
UNKNOWN = "unknown"
MIB = 2**20


def inspect_machine(device: str = "auto") -> MachineFacts:
    """The facts of this machine and of the device that `device` stands for.

    Takes about a second, and as long as bitsandbytes needs to be imported where there is a GPU. Raises UsageError for a device that is
    not there.
    """
    chosen = pick_device(device)
    memory = host_memory()
    gpus = _gpus()
    dtype: torch.dtype = getattr(torch, resolve_dtype("auto", "cpu" if chosen.type == "cpu" else "gpu"))
    timings = measure_backends(chosen.type, dtype)
    backend = fastest(timings)
    return MachineFacts(
        processor=processor(),
        cores=available_cores(),
        total_bytes=memory.total,
        free_bytes=memory.free,
        device=str(chosen),
        gpus=gpus,
        versions={"torch": torch.__version__, **{name: _version(name) for name in PACKAGES}},
        cuda=torch.version.cuda,
        int4=timings,
        int4_chosen=backend.name if backend else None,
        copy_bytes_per_second=_copy_speed(chosen, memory.free),
    )


def pick_device(name: str) -> torch.device:
    """The device a name stands for; `auto` is the first GPU that torch can use, else the CPU. Raises UsageError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if not found or (name != "cpu" and int(found[1] or 0) >= torch.cuda.device_count()):
        raise UsageError(f"There is no device {name} here.", "Use cpu, or leave the choice to specchat.")
    return torch.device(name)


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text(encoding="utf-8")) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine() or UNKNOWN


def _version(package: str) -> str | None:
    """The installed version of a package, looked up without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> tuple[Gpu, ...]:
    """The GPUs torch can use; where it can use none, those that the NVIDIA driver knows of."""
    known = _driver_gpus()
    driver = known[0].driver if known else UNKNOWN
    return tuple(_torch_gpu(index, driver) for index in range(torch.cuda.device_count())) or known


def _torch_gpu(index: int, driver: str) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    capability = f"{properties.major}.{properties.minor}"
    return Gpu(name=properties.name, driver=driver, capability=capability, total_bytes=total, free_bytes=free)


def _driver_gpus() -> tuple[Gpu, ...]:
    """What nvidia-smi lists; nothing where it is not installed or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=name,driver_version,compute_cap,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = re.findall(r"^(.+), (\S+), (\S+), (\d+), (\d+)$", answer, re.MULTILINE)
    return tuple(
        Gpu(name=name, driver=driver, capability=capability, total_bytes=int(total) * MIB, free_bytes=int(free) * MIB)
        for name, driver, capability, total, free in rows
    )


def _copy_speed(device: torch.device, free_on_host: int) -> float:
    """Bytes read and written per second by the quickest of some large copies on a device."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_on_host
    size = max(MIB, min(COPY_BYTES[device.type], free // COPY_SHARE))
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * size / min(_copy_seconds(source, target) for _ in range(COPIES))


def _copy_seconds(source: torch.Tensor, target: torch.Tensor) -> float:
    if source.is_cuda:
        torch.cuda.synchronize(source.device)
    began = time.perf_counter()
    target.copy_(source)
    if source.is_cuda:
        torch.cuda.synchronize(source.device)
    return time.perf_counter() - began
