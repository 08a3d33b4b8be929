"""The tables of measured speed in the README, made from the runs in `benchmarks/`, so that no figure is typed by hand.

python scripts/readme_figures.py --keep RUN.json NAME   keep a run of `specchat bench --json` as benchmarks/NAME.json
python scripts/readme_figures.py --write README.md      put each run's table between `<!-- NAME -->` and `<!-- /NAME -->`
python scripts/readme_figures.py --check README.md      exit with 1 if what stands there is not the table

A kept run has everything but the single answers' texts and tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import marked
from results import replace
from specdec.benchmark.summary import OVERALL

FOLDER = Path(__file__).parents[1] / "benchmarks"
TEXT_FIELDS = ("text", "tokens", "round_tokens", "round_ms")


def kept(run: dict[str, Any]) -> str:
    """A run without its texts, a line for each of its figures and measurements."""
    measured = [{name: value for name, value in answer.items() if name not in TEXT_FIELDS} for answer in run["measured"]]
    lines = []
    for name, value in (run | {"measured": measured, "changed": len(run["changed"]), "foreign": len(run["foreign"])}).items():
        many = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n{}\n]".format(",\n".join(map(json.dumps, value))) if many else json.dumps(value)
        lines.append(f"{json.dumps(name)}: {text}")
    return "{{\n{}\n}}\n".format(",\n".join(lines))


def section(run: dict[str, Any]) -> str:
    """The tables of a run and the sentences on how it was made."""
    temperatures = run["settings"]["temperatures"]
    tables = [f"{_title(temperature)}{_table(run, temperature)}" for temperature in temperatures]
    return "\n\n".join([*tables, _circumstances(run)]) + "\n"


def runs() -> dict[str, dict[str, Any]]:
    """The kept runs of `specchat bench`, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("bench-*.json"))}


def main() -> int:
    """Keep, write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--keep", nargs=2, metavar=("RUN", "NAME"))
    kind.add_argument("--write", type=Path, metavar="FILE")
    kind.add_argument("--check", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.keep:
        source, name = options.keep
        run = json.loads(Path(source).read_text(encoding="utf-8"))
        replace(FOLDER / f"bench-{name}.json", kept(run))
        return 0
    contents = {name: section(run) for name, run in runs().items()}
    path = options.write or options.check
    return marked.renew(path, contents, options.write is not None, "the figures are", "python scripts/readme_figures.py")


def _title(temperature: float) -> str:
    return "Greedy:\n\n" if temperature == 0 else f"At temperature {temperature:g}:\n\n"


def _table(run: dict[str, Any], temperature: float) -> str:
    """Speedup over plain decoding, and tokens per second, by method and category; the prediction beside what was realised."""
    found = {(row["method"], row["category"]): row["figures"] for row in run["figures"] if row["temperature"] == temperature}
    methods = list(dict.fromkeys(method for method, _ in found))
    categories = [*dict.fromkeys(prompt["category"] for prompt in run["prompts"]), OVERALL]
    lines = [f"| | {' | '.join(categories)} | predicted | accepted | tokens/round |", "|---" * (len(categories) + 4) + "|"]
    for method in methods:
        cells = [_speed(found.get((method, category))) for category in categories]
        whole = found[method, OVERALL]
        predicted, acceptance = whole["predicted_speedup"], whole["acceptance"]
        cells.append("" if predicted is None else f"{predicted:.2f}x")
        cells.append("" if acceptance is None else f"{acceptance:.0%}")
        cells.append(f"{whole['tokens_per_round']:.2f}")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _speed(figures: dict[str, Any] | None) -> str:
    if figures is None or figures["speedup"] is None:
        return ""
    return f"{figures['speedup']['median']:.2f}x ({figures['tokens_per_second']['median']:.0f} tok/s)"


def _circumstances(run: dict[str, Any]) -> str:
    place, settings = run["environment"], run["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in place["versions"].items())
    exact = f"exact mode {'on' if place['exact'] else 'off'} ({place['exact_reason']})"
    changed = "No drafter changed a text." if not run["changed"] else f"{run['changed']} texts were changed."
    cut = f", {len(run['cut'])} of them cut to the context" if run["cut"] else ""
    return (
        f"{place['processor']}, {place['device']}, {place['threads']} of {place['cores']} threads, {place['dtype']}, {exact}; {versions}; "
        f"{run['date'][:10]}. {len(run['prompts'])} prompts{cut}, up to {settings['max_tokens']} tokens each, "
        f"{settings['repeats']} repeats in turns after a warm-up, seed {settings['seed']}. {changed}"
    )


if __name__ == "__main__":
    sys.exit(main())
