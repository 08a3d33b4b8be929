"""Running stages one after the other; what each needs is imported when its turn comes.

The compiler comes last: a compilation that is cut off can leave torch unusable.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from gpu_checks import report
from gpu_checks.findings import Findings, Value
from gpu_checks.setup import STAGE_SECONDS, Setup

MODULES = {
    "environment": "gpu_checks.environment",
    "exactness": "gpu_checks.exactness",
    "steps": "gpu_checks.steps",
    "prefill": "gpu_checks.prefill",
    "int4": "gpu_checks.int4",
    "kernels": "gpu_checks.kernels",
    "sampling": "gpu_checks.sampling",
    "host": "gpu_checks.host",
    "rounds": "gpu_checks.rounds",
    "loading": "gpu_checks.loading",
    "pair": "gpu_checks.pair",
    "compile": "gpu_checks.compiled",
}


def run(setup: Setup, names: Sequence[str], out: Path) -> dict[str, Findings]:
    """Run stages in this order and write what there is after each part; a stage that fails is recorded and the next one runs."""
    out.mkdir(parents=True, exist_ok=True)
    about: dict[str, Value] = {"device": _device(setup), "tiny": setup.tiny, "torch": torch.__version__}
    stages: dict[str, Findings] = {}
    for name in names:
        began = time.perf_counter()
        findings = stages[name] = Findings(began + STAGE_SECONDS, setup.full_size, partial(report.write, out, about, stages))
        findings.part(name, partial(_measure, name, setup, findings))
        findings.seconds = time.perf_counter() - began
        findings.ended = True
        findings.save()
    return stages


def _measure(name: str, setup: Setup, findings: Findings) -> None:
    import_module(MODULES[name]).measure(setup, findings)


def _device(setup: Setup) -> str:
    return torch.cuda.get_device_name(setup.device) if setup.on_gpu else setup.device.type
