"""What the user prefers, kept in settings.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from specdec.options import Drafting, ExactChoice, Sampling

Marks = Literal["style", "glyph", "off"]


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

    `draft_model` names a draft of the pair, or is empty for its first one. `context` 0 is the pair's own.
    """

    pair: str = "demo"
    draft_model: str = ""
    context: int = Field(default=0, ge=0)
    exact: ExactChoice = "auto"
    system: str = ""
    max_tokens: int | None = Field(default=None, ge=1)
    thinking: bool | None = None
    sampling: Sampling = Sampling()
    drafting: Drafting = Drafting()
    view: View = View()
    keys: dict[str, str] = Field(default_factory=dict)
