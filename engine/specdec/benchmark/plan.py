"""What a benchmark runs and where; free of torch, since the app makes the plans."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from specdec.options import Drafting, LoadOptions, Message, Options

Engine = Literal["specdec", "transformers"]


class BenchPrompt(Options):
    """A conversation to answer, and the category it is reported under; `id` names it within its file or set."""

    id: str
    category: str
    messages: tuple[Message, ...] = Field(min_length=1)


class Method(Options):
    """A way of decoding.

    `draft` is the source of the draft model it needs (`int4` for the target's own copy), None for none. With the engine
    `transformers` the drafting says plain (`off`), assisted (`model`) or prompt lookup (`ngram`); its plain decoding can keep a
    cache of fixed size (`static_cache`), with which it compiles the decoding step on a GPU.
    """

    name: str
    drafting: Drafting
    draft: str | None = None
    engine: Engine = "specdec"
    static_cache: bool = False

    @model_validator(mode="after")
    def _cache_fits(self) -> Method:
        if self.static_cache and (self.engine, self.drafting.draft) != ("transformers", "off"):
            raise ValueError("only plain decoding by transformers has a static cache")
        return self


class BenchSettings(Options):
    """Everything but the prompts that decides what is measured.

    `load.draft` is ignored: the methods name the drafts, each of which is loaded once beside the one target. Every repeat answers
    every prompt with every method in turn, at every temperature; the repeat before the first is a warm-up that is not reported.
    """

    load: LoadOptions
    methods: tuple[Method, ...] = Field(min_length=1)
    temperatures: tuple[float, ...] = (0.0,)
    repeats: int = Field(default=3, ge=1)
    max_tokens: int = Field(default=128, ge=1)
    seed: int = 0

    @field_validator("methods")
    @classmethod
    def _names_differ(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if len({method.name for method in methods}) < len(methods):
            raise ValueError("two methods have one name")
        return methods


class BenchPlan(BenchSettings):
    """What is measured."""

    prompts: tuple[BenchPrompt, ...] = Field(min_length=1)


class Environment(Options):
    """Where a benchmark ran: names and versions as the libraries give them."""

    processor: str
    device: str
    cores: int
    threads: int
    dtype: str
    exact: bool
    exact_reason: str
    int4_backend: str | None
    versions: dict[str, str]
