"""A benchmark as one JSON object: what was asked, where it ran, every measurement, and the figures drawn from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from specchat import __version__
from specchat.bench.measuring import Measurements
from specchat.bench.texts import Texts
from specdec.benchmark.plan import BenchPrompt, BenchSettings, Environment
from specdec.benchmark.summary import Figures, Key, TextDifference
from specdec.events import PROTOCOL_VERSION, BenchStarted, Measured, Ready

WIRE_FIELDS = {"id", "type"}


class Problem(BaseModel):
    """The error that ended a benchmark early."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    cause: str
    next_step: str


class FiguresRow(BaseModel):
    """The figures of a method in a category, or in all of them together, at a temperature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float
    method: str
    category: str
    figures: Figures


class PromptRow(BaseModel):
    """A prompt without its text, which may be somebody else's: `sha256` tells whether another run had the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    category: str
    sha256: str

    @classmethod
    def of(cls, prompt: BenchPrompt) -> PromptRow:
        """The row of a prompt."""
        text = json.dumps([[message.role, message.content] for message in prompt.messages])
        return cls(id=prompt.id, category=prompt.category, sha256=hashlib.sha256(text.encode()).hexdigest())


class Record(BaseModel):
    """Everything about a benchmark but its prompts' texts; `date` is when it ended, in ISO form and UTC.

    `answers` is how many were to be measured, the warm-up included. `changed` are the answers that had to have plain decoding's
    tokens and have not; `foreign` those greedy ones of transformers that have others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str
    versions: dict[str, str]
    settings: BenchSettings
    prompts: tuple[PromptRow, ...]
    environment: Environment
    loaded: dict[str, Ready]
    left_out: dict[str, str]
    cut: tuple[str, ...]
    answers: int
    interrupted: bool
    error: Problem | None
    figures: tuple[FiguresRow, ...]
    changed: tuple[TextDifference, ...]
    foreign: tuple[TextDifference, ...]
    measured: tuple[Measured, ...]


def record(found: Measurements, started: BenchStarted, figures: Mapping[Key, Figures], texts: Texts, engine: str, date: str) -> Record:
    """What is kept of a benchmark; `engine` is the version the engine says it has."""
    error = found.error
    return Record(
        date=date,
        versions={"specchat": __version__, "engine": engine, "protocol": str(PROTOCOL_VERSION)},
        settings=BenchSettings.model_validate(found.plan.model_dump(exclude={"prompts"})),
        prompts=tuple(map(PromptRow.of, found.plan.prompts)),
        environment=started.environment,
        loaded=started.loaded,
        left_out=started.left_out,
        cut=started.cut,
        answers=started.answers,
        interrupted=found.interrupted,
        error=Problem(kind=error.kind, cause=error.cause, next_step=error.next_step) if error else None,
        figures=tuple(FiguresRow(**vars(key), figures=each) for key, each in figures.items()),
        changed=texts.changed,
        foreign=texts.foreign,
        measured=tuple(found.measured),
    )


def as_json(kept: Record, ascii_only: bool = False) -> str:
    """The object, a line for each of its values and for each measurement in it, so that two records can be compared."""

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only)

    excluded = {"measured": {"__all__": WIRE_FIELDS}, "loaded": {"__all__": WIRE_FIELDS}}
    values = kept.model_dump(mode="json", exclude=excluded)
    lines = []
    for name, value in values.items():
        items = [text(item) for item in value] if name in ("figures", "measured") else []
        lines.append(f"{text(name)}: " + ("[\n{}\n]".format(",\n".join(items)) if items else text(value)))
    return "{{\n{}\n}}\n".format(",\n".join(lines))
