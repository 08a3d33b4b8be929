"""Stage `loading`: how fast the demo pair at full size is read and calibrated, how soon it answers, and what memory that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gpu_checks.engine_process import Engine
from gpu_checks.findings import Findings
from gpu_checks.goals import FIRST_ANSWER, MEMORY_PEAK
from gpu_checks.memory import BEFORE, MOST, Peak, apart, device_in_use, process_bytes, watched
from gpu_checks.setup import Setup
from gpu_checks.widened import SIBLING, TARGET, WIDENED, widened_pair
from specdec.events import Chat, Done, Event, Hello, Load, Progress, Ready, Round
from specdec.memory import INT4
from specdec.options import LoadOptions, Message

GREETING = (Message(role="user", content="Hello! Who are you?"),)
LONG = (Message(role="user", content="The dog saw the cat. " * 100),)
LONG_ANSWER_TOKENS = 48
PART_SECONDS = 110.0
CALIBRATION = "calibration"
COMPILED_ANEW, COMPILED_BEFORE, NO_KERNELS = "kernels compiled anew", "kernels compiled before", "no kernels to compile"
TINY_CONTEXT = 1024


def measure(setup: Setup, findings: Findings) -> None:
    """Load with each draft, on a GPU first without compiled kernels on disk and then with them; every load in a process of its own."""
    folders: dict[str, Path] = {}
    findings.part(WIDENED, lambda: folders.update(widened_pair(setup, findings)))
    if not folders:
        return
    target = str(folders[TARGET])
    for name, source in {SIBLING: str(folders[SIBLING]), INT4: INT4}.items():
        options = LoadOptions(target=target, draft=source, device=str(setup.device), context=TINY_CONTEXT if setup.tiny else None)
        with TemporaryDirectory(prefix="kernels-") as kernels:
            for state in (COMPILED_ANEW, COMPILED_BEFORE) if setup.on_gpu else (NO_KERNELS,):
                findings.part(f"{name}, {state}", partial(_load, setup, findings, name, state, options, kernels))


@dataclass(frozen=True)
class Loaded:
    """A load as it was seen from outside; `peak` is in bytes, None where nothing tells the memory of a process."""

    reports: list[tuple[float, Progress]]
    ready: Ready
    ready_at: float
    first_round_at: float
    peak: int | None


def _load(setup: Setup, findings: Findings, draft: str, state: str, options: LoadOptions, kernels: str) -> None:
    """A load, and the peak of memory: on a GPU of all that the device has in use, on a CPU of what the process has resident."""
    if setup.on_gpu:
        with watched(partial(device_in_use, setup.device)) as device:
            loaded = _loaded(options, kernels)
        loaded = replace(loaded, peak=device.growth)
    else:
        loaded = _loaded(options, kernels)
    if loaded.ready.draft_problem:
        findings.skip(f"{draft} draft", loaded.ready.draft_problem)
        return
    _tell(setup, findings, draft, state, loaded)


def _loaded(options: LoadOptions, kernels: str) -> Loaded:
    """Load, answer a short prompt, and then one of several prefill chunks, by which every part of memory has been in use."""
    deadline = time.perf_counter() + PART_SECONDS
    reports: list[tuple[float, Progress]] = []

    def see(moment: float, event: Event) -> None:
        if isinstance(event, Progress):
            reports.append((moment, event))

    with Engine({"TRITON_CACHE_DIR": kernels}) as engine:
        engine.until(Hello, deadline)
        before = process_bytes(engine.process.pid, BEFORE)
        engine.send(Load(options=options))
        ready_at, ready = engine.until(Ready, deadline, see)
        engine.send(Chat(messages=GREETING))
        first_round_at, _ = engine.until(Round, deadline)
        engine.until(Done, deadline)
        engine.send(Chat(messages=LONG, max_tokens=LONG_ANSWER_TOKENS))
        engine.until(Done, deadline)
        most = process_bytes(engine.process.pid, MOST)
    return Loaded(reports, ready, ready_at, first_round_at, None if before is None or most is None else Peak(before, most).growth)


def _tell(setup: Setup, findings: Findings, draft: str, state: str, loaded: Loaded) -> None:
    reports, ready, peak = loaded.reports, loaded.ready, loaded.peak
    weights_at = loaded_at(reports)
    size, seconds = reading(reports)
    findings.add(
        f"loading the {WIDENED}",
        draft=draft,
        state=state,
        read_seconds=seconds,
        read_gigabytes_per_second=size / 1e9 / seconds,
        calibration_seconds=loaded.ready_at - weights_at,
        first_answer_seconds=loaded.first_round_at - weights_at,
        load_seconds=ready.load_ms / 1000,
        context=ready.context,
        exact=ready.exact,
        memory_reckoned_gigabytes=ready.memory_bytes / 1e9,
        memory_peak_gigabytes=None if peak is None else peak / 1e9,
    )
    findings.goal(FIRST_ANSWER, f"{WIDENED}, {draft}, {state}", loaded.first_round_at - weights_at)
    if peak is None:
        findings.skip("memory peak", "the system does not tell the memory of a process")
    elif setup.on_gpu:
        findings.goal(MEMORY_PEAK, f"{WIDENED}, {draft}, {state}", apart(peak, ready.memory_bytes))


def loaded_at(reports: Sequence[tuple[float, Progress]]) -> float:
    """The moment at which all weights were on the device: when calibration began."""
    return next(moment for moment, report in reports if report.stage == CALIBRATION)


def reading(reports: Sequence[tuple[float, Progress]]) -> tuple[int, float]:
    """How many bytes were read after the first report, and in how many seconds, until all weights were on the device.

    The files lie where the system has them, which is in memory as long as it has room.
    """
    weights = [(moment, report) for moment, report in reports if report.unit == "bytes"]
    began, first = weights[0]
    totals = {report.stage: report.total for _, report in weights}
    return sum(totals.values()) - first.done, loaded_at(reports) - began
