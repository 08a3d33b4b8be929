"""What a caller may choose: sampling, drafting and loading options, free of torch so that the app can build them too."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

DraftChoice = Literal["auto", "off", "ngram", "model"]
ExactChoice = Literal["auto", "on", "off"]
DtypeChoice = Literal["auto", "float16", "bfloat16", "float32", "int8"]
MAX_DRAFT_TOKENS = 15
ACCEPT_RULE = re.compile(r"^(coupled|rejection|threshold:(0?\.\d+|0|1|1\.0+))$")


class Options(BaseModel):
    """Base of all option groups: immutable, and a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(Options):
    """How a token is chosen from the target's logits; `None` means the model's own generation config, then the neutral value.

    `temperature` 0 is greedy. `seed` `None` lets the engine draw one and report it.
    """

    temperature: float | None = Field(default=None, ge=0, le=10)
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    seed: int | None = Field(default=None, ge=0, lt=2**63)


class Drafting(Options):
    """Which drafter proposes, how many tokens a round, and the accept rule.

    `draft_tokens` `None` leaves the length to the controller. `accept` is `coupled`, `rejection` or the lossy `threshold:X`
    (0 <= X <= 1), which also takes drafted tokens whose target probability is at least X.
    """

    draft: DraftChoice = "auto"
    draft_tokens: int | None = Field(default=None, ge=0, le=MAX_DRAFT_TOKENS)
    accept: str = "coupled"

    @field_validator("accept")
    @classmethod
    def _known_rule(cls, accept: str) -> str:
        if not ACCEPT_RULE.match(accept):
            raise ValueError("must be coupled, rejection or threshold:X with X between 0 and 1")
        return accept


class LoadOptions(Options):
    """What to load: sources are `builtin:NAME`, a local directory or a Hugging Face repository that is on disk already.

    `draft` is a source of its own, `int4` for the target's quantised copy, `int4-shared-head` for one that has no output head but the
    target's, or `None`; `other_drafts` are sources to offer where the pair does not fit into memory. With the dtype `int8` the target's
    matrices are rounded to 8 bits a weight, so its text is not that of the others. `context` is in tokens; `None` takes the model's own
    limit, or what memory comfortably holds of it. `threads` `None` measures one thread against all of them on a CPU, but
    for `spare_cores`, which are left to whoever shows the text: a thread that has to wait for its core holds up all the others.
    """

    target: str
    draft: str | None = None
    other_drafts: tuple[str, ...] = ()
    dtype: DtypeChoice = "auto"
    context: int | None = Field(default=None, ge=16)
    exact: ExactChoice = "auto"
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    spare_cores: int = Field(default=0, ge=0)


class Message(Options):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str
