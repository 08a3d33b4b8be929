"""What a pair needs in memory at a context length, against what is free on this machine; arithmetic without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from specdec.architecture import ModelConfig
from specdec.errors import MemoryShortError
from specdec.options import DtypeChoice

Device = Literal["gpu", "cpu"]
Fit = Literal["fits", "tight", "does not fit"]
Draft = ModelConfig | Literal["int4"] | None

Stored = Literal["float16", "bfloat16", "float32"]

DTYPE_BYTES: dict[Stored, int] = {"float16": 2, "bfloat16": 2, "float32": 4}
CONTEXT_STEP = 256
TIGHT_SHARE = 0.10
PREFILL_ROWS = 512
LOGIT_ROWS = 16
LOGIT_COPIES = 4
RUNTIME_BYTES: dict[Device, int] = {"gpu": 700 * 2**20, "cpu": 300 * 2**20}


@dataclass(frozen=True)
class PairNeed:
    """Bytes a loaded pair takes: the target's weights, the draft's, the key-value caches of both, and working space."""

    target: int
    draft: int
    kv: int
    workspace: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.target + self.draft + self.kv + self.workspace


@dataclass(frozen=True)
class Memory:
    """Where a pair would be loaded, and the bytes free and present there."""

    device: Device
    free: int
    total: int


def size_text(count: int) -> str:
    """A byte count for people, in decimal units: `16.4 GB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if abs(count) >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def resolve_dtype(choice: DtypeChoice, device: Device) -> Stored:
    """What `auto` stands for: float16 on a GPU, float32 on a CPU, where float16 arithmetic is many times slower."""
    if choice != "auto":
        return choice
    return "float16" if device == "gpu" else "float32"


def model_bytes(config: ModelConfig, dtype: Stored, device: Device) -> int:
    """Bytes of a model's weights; on a CPU a tied head is packed apart from the embedding it is tied to."""
    apart = config.vocab_size * config.hidden_size if config.tied and device == "cpu" else 0
    return (config.parameters + apart) * DTYPE_BYTES[dtype]


def int4_bytes(config: ModelConfig, group: int = 32) -> int:
    """Bytes of the quantised copy: 4 bits a weight, and a 16-bit scale and zero a group of weights.

    The output head is part of it; embeddings, norms and biases are the target's own and cost nothing.
    """
    return config.linear_parameters // 2 + config.linear_parameters // group * 4


def kv_bytes(config: ModelConfig, context: int, dtype: Stored) -> int:
    """Bytes of a key-value cache for `context` tokens, which is kept in steps of 256."""
    steps = -(-context // CONTEXT_STEP)
    return steps * CONTEXT_STEP * config.layers * 2 * config.kv_size * DTYPE_BYTES[dtype]


def workspace_bytes(config: ModelConfig, dtype: Stored, device: Device) -> int:
    """An estimate of everything that is neither weights nor cache.

    The runtime itself (CUDA context, kernels and captured graphs, or torch on the CPU), the activations of one layer for a
    512-token piece of prompt, and four float32 copies of 16 rows of logits (raw, warped, noise, probabilities).
    """
    widths = 4 * config.hidden_size + 2 * config.query_size + 2 * config.kv_size + 3 * config.intermediate_size
    activations = PREFILL_ROWS * widths * DTYPE_BYTES[dtype]
    logits = LOGIT_ROWS * LOGIT_COPIES * config.vocab_size * 4
    return RUNTIME_BYTES[device] + activations + logits


def pair_need(target: ModelConfig, draft: Draft, context: int, dtype: Stored, device: Device) -> PairNeed:
    """What a target with a sibling, its `int4` copy or no model draft needs at `context` tokens.

    The INT4 copy drafts in the target's cache; a sibling has one of its own.
    """
    kv = kv_bytes(target, context, dtype)
    workspace = workspace_bytes(target, dtype, device)
    if isinstance(draft, ModelConfig):
        caches = kv + kv_bytes(draft, context, dtype)
        return PairNeed(model_bytes(target, dtype, device), model_bytes(draft, dtype, device), caches, workspace)
    return PairNeed(model_bytes(target, dtype, device), int4_bytes(target) if draft == "int4" else 0, kv, workspace)


def estimate_need(target_download: int, draft_download: int | Literal["int4"], context: int, dtype: Stored, device: Device) -> PairNeed:
    """What a pair needs, guessed from download sizes (16 bits a weight) while no config is on disk.

    A token is taken to cost 128 KiB in each cache, as in an 8B model with grouped-query attention.
    """
    widening = DTYPE_BYTES[dtype] // 2
    kv = -(-context // CONTEXT_STEP) * CONTEXT_STEP * 128 * 2**10 * widening
    workspace = RUNTIME_BYTES[device] + 128 * 2**20
    if draft_download == "int4":
        return PairNeed(target_download * widening, target_download * 5 // 16, kv, workspace)
    caches = 2 if draft_download else 1
    return PairNeed(target_download * widening, draft_download * widening, caches * kv, workspace)


def judge(need: PairNeed, memory: Memory) -> Fit:
    """Whether a pair fits; `tight` when it would leave less than a tenth of the free memory."""
    spare = memory.free - need.total
    if spare < 0:
        return "does not fit"
    return "tight" if spare < TIGHT_SHARE * memory.free else "fits"


def largest_context(target: ModelConfig, draft: Draft, memory: Memory, dtype: Stored) -> int:
    """The longest context, in tokens, that fits: a multiple of 256 up to the target's limit, or 0 if none does."""
    fixed = pair_need(target, draft, 0, dtype, memory.device).total
    step = pair_need(target, draft, CONTEXT_STEP, dtype, memory.device).total - fixed
    return max(0, min((memory.free - fixed) // step, target.max_positions // CONTEXT_STEP)) * CONTEXT_STEP


def comfortable_context(target: ModelConfig, draft: Draft, memory: Memory, dtype: Stored) -> int:
    """The target's own limit, or the longest context that fits without being tight; 0 if none does."""
    if judge(pair_need(target, draft, target.max_positions, dtype, memory.device), memory) == "fits":
        return target.max_positions
    spared = Memory(memory.device, int(memory.free * (1 - TIGHT_SHARE)), memory.total)
    return largest_context(target, draft, spared, dtype)


def require(need: PairNeed, memory: Memory, target: ModelConfig, draft: Draft, dtype: Stored) -> None:
    """Raise MemoryShortError if the pair does not fit, saying what it needs, what is free and what would fit."""
    if judge(need, memory) != "does not fit":
        return
    place = "the GPU" if memory.device == "gpu" else "memory"
    cause = f"The pair needs {size_text(need.total)} and {place} has {size_text(memory.free)} free."
    context = largest_context(target, draft, memory, dtype)
    if context:
        raise MemoryShortError(cause, f"A context of {context} tokens would fit.")
    lighter: tuple[tuple[Draft, str], ...] = (("int4", "With the int4 draft"), (None, "Without a model draft (ngram or off)"))
    for other, words in lighter:
        context = largest_context(target, other, memory, dtype)
        if context:
            raise MemoryShortError(cause, f"{words} a context of {context} tokens would fit.")
    raise MemoryShortError(cause, "Free some memory or pick a smaller pair: `specchat pairs` lists them.")


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
