"""How much memory is free where a pair would be loaded: on the first GPU, or in this machine's main memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from specdec.memory import Memory


def free_memory(device: str = "auto") -> Memory:
    """The memory a pair would be loaded into: the first visible NVIDIA GPU (or `cuda:N`), else this machine's own."""
    gpu = None if device == "cpu" else _gpu_memory(device)
    return gpu or host_memory()


def host_memory(root: Path = Path("/")) -> Memory:
    """Main memory that can be taken without swapping; on Linux within the limits of the control groups around us.

    `root` is where /proc and /sys are found.
    """
    if sys.platform == "darwin":
        return _darwin_memory()
    text = (root / "proc/meminfo").read_text(encoding="ascii")
    fields = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    rooms = [(fields["MemAvailable"], fields["MemTotal"]), *_cgroup_rooms(root)]
    return Memory("cpu", min(free for free, _ in rooms), min(total for _, total in rooms))


def _gpu_memory(device: str) -> Memory | None:
    program = shutil.which("nvidia-smi")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    index = int(device.removeprefix("cuda:")) if re.fullmatch(r"cuda:\d+", device) else 0
    names = [str(index)] if visible is None else visible.split(",")[index:]
    if program is None or not names or not re.fullmatch(r"\s*(\d+|[A-Z]+-[\w/-]+)\s*", names[0]):
        return None
    query = [program, "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits", "-i", names[0].strip()]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"\s*(\d+)\s*,\s*(\d+)", answer)
    return Memory("gpu", int(found[1]) * 2**20, int(found[2]) * 2**20) if found else None


def _darwin_memory() -> Memory:
    page = os.sysconf("SC_PAGE_SIZE")
    answer = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=10, check=True).stdout
    pages = sum(int(count) for count in re.findall(r"^Pages (?:free|inactive|speculative):\s+(\d+)", answer, re.MULTILINE))
    return Memory("cpu", pages * page, os.sysconf("SC_PHYS_PAGES") * page)


def _cgroup_rooms(root: Path) -> list[tuple[int, int]]:
    """(free, limit) of every limited control group from ours up; file pages that can be dropped count as free."""
    groups = root / "proc/self/cgroup"
    if not groups.is_file():
        return []
    rooms = []
    for line in groups.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / "sys/fs/cgroup" / controllers
        limit, used, droppable = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if controllers
            else ("memory.max", "memory.current", "inactive_file")
        )
        group = top / path.strip("/")
        for level in (group, *group.parents):
            room = _room(level, limit, used, droppable)
            if room is not None:
                rooms.append(room)
            if level == top:
                break
    return rooms


def _room(group: Path, limit: str, used: str, droppable: str) -> tuple[int, int] | None:
    try:
        most = int((group / limit).read_text())
        taken = int((group / used).read_text())
        statistics = (group / "memory.stat").read_text()
    except (OSError, ValueError):
        return None
    found = re.search(rf"^{droppable} (\d+)", statistics, re.MULTILINE)
    return max(0, most - taken + (int(found[1]) if found else 0)), most
