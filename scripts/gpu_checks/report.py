"""What a run found, as one JSON file and one Markdown file, and shortly on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_checks.findings import Findings, Reason, Row, Value
from results import replace, table

SCHEMA = 1
JSON_NAME, MARKDOWN_NAME = "gpu_check.json", "gpu_check.md"
VERDICTS = {True: "met", False: "missed", None: "does not apply here"}


def write(directory: Path, about: Mapping[str, Value], stages: Mapping[str, Findings]) -> None:
    """Put both files in their places, each in one step."""
    found = record(about, stages)
    replace(directory / JSON_NAME, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    replace(directory / MARKDOWN_NAME, markdown(about, stages))


def record(about: Mapping[str, Value], stages: Mapping[str, Findings]) -> dict[str, Any]:
    """Everything, for programs."""
    return {"schema": SCHEMA, "about": dict(about), "stages": {name: _stage(findings) for name, findings in stages.items()}}


def _stage(findings: Findings) -> dict[str, Any]:
    return {
        "status": status(findings),
        "seconds": findings.seconds,
        "tables": findings.tables,
        "goals": [asdict(goal) for goal in findings.goals],
        "skipped": [asdict(reason) for reason in findings.skipped],
        "failed": [asdict(reason) for reason in findings.failed],
    }


def status(findings: Findings) -> str:
    """How the stage ended, or that it has not."""
    if not findings.ended:
        return "not finished"
    return "failed in part" if findings.failed else "done"


def markdown(about: Mapping[str, Value], stages: Mapping[str, Findings]) -> str:
    """Everything, for people."""
    parts = ["# GPU check", ", ".join(f"{key} {shown(value)}" for key, value in about.items()), short(stages)]
    for name, findings in stages.items():
        parts.append(f"## {name}")
        for title, rows in findings.tables.items():
            parts += [f"### {title}", _rows_table(rows)]
        parts += _reasons("Failed", findings.failed) + _reasons("Not measured", findings.skipped)
    return "\n\n".join(parts) + "\n"


def short(stages: Mapping[str, Findings]) -> str:
    """The stages, and each goal beside what was measured."""
    ended = table(["stage", "status", "seconds"], ([name, status(own), f"{own.seconds:.0f}"] for name, own in stages.items()))
    goals = [goal for findings in stages.values() for goal in findings.goals]
    reached = table(["goal", "of", "measured", "verdict"], ([g.goal, g.how, shown(g.measured), VERDICTS[g.met]] for g in goals))
    return f"{ended}\n\n{reached}" if goals else ended


def shown(value: Value) -> str:
    """A value as a table shows it: four significant digits, and a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value).replace("|", "\\|")


def _rows_table(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return table([column.replace("_", " ") for column in columns], ([shown(row.get(column)) for column in columns] for row in rows))


def _reasons(title: str, reasons: Sequence[Reason]) -> list[str]:
    return [f"{title}:", "\n".join(f"- {each.what}: {each.reason}" for each in reasons)] if reasons else []
