"""What the user prefers, kept in settings.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from specdec.options import MAX_DRAFT_TOKENS, Drafting, DtypeChoice, ExactChoice, Sampling

Marks = Literal["style", "glyph", "off"]
Dtype = Literal["", DtypeChoice]
LEAST_CONTEXT = 16

ALLOWED: dict[str, str] = {
    "pair": "the name of a pair",
    "draft_model": "the name of one of the pair's drafts, int4, int4-shared-head, none for no model draft, or empty for its first",
    "context": f"a whole number of tokens from {LEAST_CONTEXT}, or 0 for the pair's own",
    "dtype": "auto, float16, bfloat16, float32 or int8, or empty for the pair's own",
    "exact": "auto, on or off",
    "system": "a text, or empty for none",
    "max_tokens": "a whole number from 1, or empty for no limit",
    "thinking": "auto, on or off",
    "sampling.temperature": "a number from 0 to 10, or empty for the model's own",
    "sampling.top_k": "a whole number from 0, or empty for the model's own",
    "sampling.top_p": "a number above 0 and up to 1, or empty for the model's own",
    "sampling.min_p": "a number from 0 to 1, or empty for the model's own",
    "sampling.repetition_penalty": "a number above 0 and up to 10, or empty for the model's own",
    "sampling.seed": "a whole number from 0, or empty for a new one each answer",
    "drafting.draft": "auto, model, ngram or off",
    "drafting.draft_tokens": f"a whole number from 0 to {MAX_DRAFT_TOKENS}, or empty to leave it to the controller",
    "drafting.accept": "coupled, rejection or threshold:X with X from 0 to 1",
    "view.marks": "style, glyph or off",
    "view.markdown": "on or off",
    "view.statistics": "on or off",
    "view.theme": "the name of a theme",
}
"""What each setting may be, as the end of a sentence."""


class Group(BaseModel):
    """Base of all settings: immutable, and a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class View(Group):
    """How things look; `statistics` shows the panel where there is room for it."""

    marks: Marks = "style"
    markdown: bool = True
    statistics: bool = True
    theme: str = "textual-dark"


class Settings(Group):
    """Everything a user can set; `keys` maps an action's id to the keys that replace its own, separated by commas.

    `draft_model` names a draft of the pair or a copy of its target, is `none` for no model draft, or empty for the pair's first.
    `context` 0 is the pair's own, and so is an empty `dtype`. `system` is the system prompt that new conversations begin with.
    `max_tokens` `None` lets an answer grow to the end of the context, `thinking` `None` leaves reasoning to the model.
    """

    pair: str = "demo"
    draft_model: str = ""
    context: int = Field(default=0, ge=0)
    dtype: Dtype = ""
    exact: ExactChoice = "auto"
    system: str = ""
    max_tokens: int | None = Field(default=None, ge=1)
    thinking: bool | None = None
    sampling: Sampling = Sampling()
    drafting: Drafting = Drafting()
    view: View = View()
    keys: dict[str, str] = Field(default_factory=dict)

    @field_validator("context")
    @classmethod
    def _own_or_usable(cls, context: int) -> int:
        if 0 < context < LEAST_CONTEXT:
            raise ValueError(f"must be {ALLOWED['context']}")
        return context


def flatten(settings: Settings) -> dict[str, object]:
    """Every setting by its full name, such as `sampling.temperature` or `keys.retry`."""
    flat: dict[str, object] = {}
    for name, value in settings.model_dump().items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": setting for inner, setting in value.items()}
        else:
            flat[name] = value
    return flat
