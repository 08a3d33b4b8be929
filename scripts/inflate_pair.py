"""Widen a small pair to the shapes of full-size models, so that real text can be timed at full-size cost.

    python scripts/inflate_pair.py PAIR --target SHAPE --draft SHAPE --out DIR [--seed N]

PAIR is a name of models.toml that has a sibling, such as demo. The wide models compute what the small ones compute, up to rounding,
and read as many bytes as the models whose shapes they have. Writes DIR/target and DIR/sibling, two Hugging Face directories in
float16, and prints their paths. An 8B target takes 16 GB of disk and little memory. Exit code 0, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demo_pair.export import staged
from inflation.directory import write_model
from inflation.shapes import SHAPES
from pair_quality.models import from_registry
from specdec.errors import SpecError, UsageError
from specdec.hub import locate
from specdec.memory import INT4


def main() -> int:
    """Widen both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", metavar="PAIR", help="a pair of models.toml with a sibling")
    parser.add_argument("--target", metavar="SHAPE", choices=SHAPES, required=True, help=f"one of {', '.join(SHAPES)}")
    parser.add_argument("--draft", metavar="SHAPE", choices=SHAPES, required=True, help="the same, for the sibling")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to make target and sibling in")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights beside the small model's (default: 0)")
    options = parser.parse_args()
    try:
        inflate(options.pair, {"target": options.target, "sibling": options.draft}, options.out, options.seed)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.out} cannot be written: {error}.", file=sys.stderr)
        return 2
    return 0


def inflate(pair: str, shapes: dict[str, str], out: Path, seed: int) -> None:
    """Write the target and the sibling of a pair, each in the shape of that name, and print where they are."""
    models = from_registry(pair)
    siblings = [source for source in models.drafts.values() if source != INT4]
    if not siblings:
        raise UsageError(f"The pair {pair} has no sibling.", "Pick one that has, such as demo.")
    sources = {"target": models.target, "sibling": siblings[0]}
    with staged(out, list(sources)) as folders:
        for name, source in sources.items():

            def report(done: int, total: int, name: str = name) -> None:
                print(f"{name}: {done} of {total} files", end="\n" if done == total else "\r", file=sys.stderr, flush=True)

            write_model(locate(source), SHAPES[shapes[name]], folders[name], seed, report)
    for name in sources:
        print(out / name)


if __name__ == "__main__":
    sys.exit(main())
