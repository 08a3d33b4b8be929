"""The demo pair widened to full size: its own text and acceptance at the cost of the shapes of full-size models."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from demo_pair.export import staged
from gpu_checks.demo import SIBLING_SOURCE, TARGET_SOURCE
from gpu_checks.findings import NO_TIME, Findings
from gpu_checks.setup import Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B
from inflation.directory import wide_config, write_model
from inflation.placement import place
from inflation.shapes import SHAPES, WideShape
from specdec.architecture import read_config, read_json
from specdec.hub import locate

TARGET, SIBLING = "target", "sibling"
SOURCES = {TARGET: TARGET_SOURCE, SIBLING: SIBLING_SOURCE}
SEED = 0
WIDENED = f"demo pair widened to {LLAMA_8B} and {LLAMA_1B}"


def shape(setup: Setup, name: str) -> WideShape:
    """What the target or the sibling is widened to; if everything is scaled down, hardly more than the demo pair's own sizes."""
    full = SHAPES[{TARGET: LLAMA_8B, SIBLING: LLAMA_1B}[name].lower()]
    if not setup.tiny:
        return full
    layers = read_config(locate(SOURCES[name])).layers + 1
    return replace(full, hidden_size=384, layers=layers, heads=6, kv_heads=2, head_dim=64, intermediate_size=896, vocab_size=4160)


def widened_pair(setup: Setup, findings: Findings) -> dict[str, Path]:
    """The folders of target and sibling, which are made where they are not there; how long that takes is told.

    Raises FileExistsError where something else lies in their place, and TimeoutError if the stage's time is over before they are made.
    """
    shapes = {name: shape(setup, name) for name in SOURCES}
    folders = {name: setup.widened / name for name in SOURCES}
    began = time.perf_counter()
    missing = not all(folder.exists() for folder in folders.values())
    if missing:
        _make(setup.widened, shapes, findings)
    for name, folder in folders.items():
        expected = wide_config(read_json(locate(SOURCES[name]) / "config.json"), place(read_config(locate(SOURCES[name])), shapes[name]))
        if read_json(folder / "config.json") != expected:
            raise FileExistsError(f"{folder} is not the {name} of the {WIDENED}")
    size = sum(path.stat().st_size for folder in folders.values() for path in folder.iterdir())
    findings.add(f"the {WIDENED}", gigabytes=size / 1e9, seconds_to_make=time.perf_counter() - began if missing else None)
    return folders


def _make(root: Path, shapes: Mapping[str, WideShape], findings: Findings) -> None:
    def in_time(done: int, total: int) -> None:
        if findings.seconds_left <= 0:
            raise TimeoutError(NO_TIME)

    occupied = [str(root / name) for name in SOURCES if (root / name).exists()]
    if occupied:
        raise FileExistsError(f"{', '.join(occupied)} is there without the other half of a pair")
    with staged(root, list(SOURCES)) as made:
        for name, source in SOURCES.items():
            write_model(locate(source), shapes[name], made[name], SEED, in_time)
