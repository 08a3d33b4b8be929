"""Measure what a GPU makes of the engine: one JSON file and one Markdown file, written again after every part of a stage.

    python scripts/gpu_check.py --out DIR [--stages environment,steps,...] [--widened DIR] [--device cuda] [--tiny]

Needs torch, triton, transformers and safetensors, pydantic for all stages but `environment`, `steps` and `compile`, and this
repository on PYTHONPATH (engine:scripts); bitsandbytes is measured where it is there. `loading` and `pair` make the demo pair in
full size, which takes 17.4 GB of disk; `--widened DIR` keeps it there for the next run. `--tiny` scales everything down, so that a
CPU can run every stage; `kernels` then needs Triton's interpreter, TRITON_INTERPRET=1. No stage begins a new part after six
minutes, and what is then under way in `rounds`, `loading` and `pair` is stopped within the next two.
Goals and measured figures go to stdout, progress to stderr; the exit code is 1 if a part failed.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gpu_checks import report
from gpu_checks.running import MODULES, run
from gpu_checks.setup import Setup


def stages(text: str) -> list[str]:
    """The stages of a list with commas between them."""
    names = text.split(",")
    for name in names:
        if name not in MODULES:
            raise argparse.ArgumentTypeError(f"there is no stage {name!r}; choose from {', '.join(MODULES)}")
    return list(dict.fromkeys(names))


def device(text: str) -> torch.device:
    """A device that is there."""
    if text == "cpu" or (text == "cuda" and torch.cuda.is_available()):
        return torch.device(text)
    raise argparse.ArgumentTypeError(f"there is no device {text!r} here; choose cuda where torch finds a GPU, or cpu")


def main() -> int:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the two files go")
    parser.add_argument("--stages", metavar="NAMES", type=stages, default=list(MODULES), help=f"default: {','.join(MODULES)}")
    parser.add_argument(
        "--widened", metavar="DIR", type=Path, help="where the widened demo pair lies or is made (default: a passing folder)"
    )
    parser.add_argument("--device", type=device, default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--tiny", action="store_true", help="scale everything down; the figures then mean nothing")
    options = parser.parse_args()
    if options.device.type == "cpu" and not options.tiny:
        parser.error("on a CPU only --tiny can be measured")
    with nullcontext(options.widened) if options.widened else TemporaryDirectory(prefix="widened-") as widened:
        found = run(Setup(options.device, options.tiny, Path(widened)), options.stages, options.out)
    print(report.short(found))
    return int(any(findings.failed for findings in found.values()))


if __name__ == "__main__":
    sys.exit(main())
