"""The results as JSON, with all that is needed to measure them again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

import specdec
from pair_quality.acceptance import Acceptance, measure
from pair_quality.answering import Answer
from pair_quality.answers import is_looping, survey
from pair_quality.evaluation import SAMPLED, Plan, Results
from pair_quality.expected import is_expected
from pair_quality.models import Models
from results import replace
from specdec.machine import processor


def record(results: Results, models: Models, plan: Plan, corpus: Path | None, files: Sequence[Path]) -> dict[str, Any]:
    """Settings, machine, every figure and every answer."""
    by_drafter = results.answers
    return {
        "settings": asdict(plan) | {"models": asdict(models), "corpus": corpus and str(corpus), "prompts": list(map(str, files))},
        "machine": {"processor": processor(), "cores": os.cpu_count(), **versions()},
        "ready": results.ready.model_dump(),
        "drafts": {name: ready.model_dump() for name, ready in results.drafts.items()},
        "skipped": {category: selection.skipped for category, selection in results.selections.items()},
        "differences": results.differences,
        "losses": {
            model: {source: asdict(loss) | {"bits_per_byte": loss.bits_per_byte} for source, loss in own.items()}
            for model, own in results.losses.items()
        },
        "acceptance": {
            drafter: {temperature: acceptances(measure(answers)) for temperature, answers in own.items()}
            for drafter, own in by_drafter.items()
        },
        "survey": {category: asdict(own) for category, own in survey(next(iter(by_drafter.values()))[SAMPLED]).items()},
        "answers": {
            drafter: {temperature: list(map(_answer, answers)) for temperature, answers in own.items()}
            for drafter, own in by_drafter.items()
        },
        "expected": {category: list(map(_answer, answers)) for category, answers in results.expected.items()},
    }


def versions() -> dict[str, str]:
    """What was used to measure."""
    return {"specdec": specdec.__version__, "torch": torch.__version__, "transformers": transformers.__version__}


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Put a JSON file in its place."""
    replace(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def acceptances(measured: Mapping[str, Acceptance]) -> dict[str, Any]:
    """The counts and rates of each category."""
    return {
        category: asdict(own) | {"rate": own.rate, "by_position": own.by_position, "mean_accepted_length": own.mean_accepted_length}
        for category, own in measured.items()
    }


def _answer(answer: Answer) -> dict[str, Any]:
    """One answer with its prompt, of which only a digest is kept unless it is the project's own."""
    prompt = answer.prompt
    return {
        "category": prompt.category,
        "kind": prompt.kind,
        "prompt": [message.model_dump() for message in prompt.messages] if prompt.own else f"not shown, {prompt.seed(0):08x}",
        "expected": prompt.expected,
        "as_expected": is_expected(answer),
        "text": answer.text,
        "finish": answer.finish,
        "looping": is_looping(answer),
        "statistics": answer.statistics.model_dump(),
    }
