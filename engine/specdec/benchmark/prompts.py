"""Prompts to measure with: the project's own, and any file of one JSON object a line in the shape of Spec-Bench."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from specdec.benchmark.plan import BenchPrompt
from specdec.benchmark.summary import OVERALL
from specdec.errors import UsageError
from specdec.options import Message

OWN_PROMPTS = Path(__file__).with_name("prompts.jsonl")
SHAPE = 'Each line must be like {"question_id": 1, "category": "chat", "turns": ["Hello!"]}.'

_Text = Annotated[str, Field(min_length=1)]


class _Question(BaseModel):
    """A line of a prompt file; other fields, such as Spec-Bench's reference answers, are passed over."""

    model_config = ConfigDict(strict=True)

    question_id: int | _Text
    category: _Text
    turns: list[_Text] = Field(min_length=1)


def read_prompts(path: Path) -> list[BenchPrompt]:
    """The first turn of every question in a file, in its order.

    Raises UsageError for a file that cannot be read or has no line, and, with the line's number, for a line that is not in the
    shape, an id that another line has already, or a category named as all of them together are.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(f"Cannot read the prompts in {path}: {error.strerror}.", "Name a file that is there and can be read.") from None
    except UnicodeDecodeError:
        raise UsageError(f"Cannot read the prompts in {path}: it is not UTF-8 text.", SHAPE) from None
    found: dict[str, BenchPrompt] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        prompt = _prompt(line, f"Line {number} of {path}")
        if prompt.id in found:
            raise UsageError(f"Line {number} of {path} has the question_id {prompt.id} of an earlier line.", "Give each line its own.")
        found[prompt.id] = prompt
    if not found:
        raise UsageError(f"There are no prompts in {path}.", SHAPE)
    return list(found.values())


def choose(prompts: Sequence[BenchPrompt], categories: Sequence[str] = (), per_category: int | None = None) -> list[BenchPrompt]:
    """The first `per_category` prompts (None: all) of each of these categories (none named: of every one), in their order.

    Raises UsageError for a category that no prompt has, or fewer than one prompt.
    """
    known = list(dict.fromkeys(prompt.category for prompt in prompts))
    for category in categories:
        if category not in known:
            raise UsageError(f"There is no category {category!r} in these prompts.", f"Choose from: {', '.join(known)}.")
    if per_category is not None and per_category < 1:
        raise UsageError(f"{per_category} prompts of each category leave nothing to measure.", "Ask for 1 or more.")
    chosen: dict[str, list[BenchPrompt]] = defaultdict(list)
    for prompt in prompts:
        chosen[prompt.category].append(prompt)
    kept = {prompt.id for category in categories or known for prompt in chosen[category][:per_category]}
    return [prompt for prompt in prompts if prompt.id in kept]


def _prompt(line: str, where: str) -> BenchPrompt:
    try:
        question = _Question.model_validate_json(line)
    except ValidationError as error:
        raise UsageError(f"{where} {_fault(error)}.", SHAPE) from None
    if question.category == OVERALL:
        raise UsageError(f"{where} has the category {OVERALL!r}, which is what all of them together are called.", "Give it another name.")
    return BenchPrompt(
        id=str(question.question_id), category=question.category, messages=(Message(role="user", content=question.turns[0]),)
    )


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "is not JSON"
    if not first["loc"]:
        return "is not a JSON object"
    return f"has no {first['loc'][0]}" if first["type"] == "missing" else f"has no valid {first['loc'][0]}"
