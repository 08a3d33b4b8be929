"""From the command line to a plan: everything that can be refused is refused here, before an engine is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from pydantic import ValidationError

from specchat.bench.methods import COUPLED, REJECTION, methods
from specchat.choices import DEFAULT_PAIR, checked, choose_models
from specdec.benchmark.plan import BenchPlan, Method
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.errors import UsageError
from specdec.memory import INT4
from specdec.options import MAX_DRAFT_TOKENS, Drafting, LoadOptions, Sampling
from specdec.registry import find_pair, load_registry

DRAFT_TOKENS, TEMPERATURE = "draft-tokens", "temperature"
SWEEPS = f"--sweep {DRAFT_TOKENS}=1,2,4,8 and --sweep {TEMPERATURE}=0,0.7 are what there is."
RULES = (COUPLED, REJECTION)
AGAINST = ("transformers",)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Wanted:
    """The options as they were typed; None where one was not given."""

    pair: str | None = None
    target: str | None = None
    draft_model: str | None = None
    dtype: str | None = None
    prompts: str | None = None
    categories: tuple[str, ...] = ()
    per_category: int | None = None
    repeats: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    exact: str | None = None
    accept: str = COUPLED
    sweeps: tuple[str, ...] = ()
    against: str | None = None
    check: bool = False


def build_plan(wanted: Wanted, user_registry: Path) -> BenchPlan:
    """The plan that the options ask for.

    Raises UsageError for a value out of its range, options that contradict each other and prompts that cannot be read, and
    RegistryError for unknown names.
    """
    lengths, temperatures = _sweeps(wanted.sweeps)
    if temperatures and wanted.temperature is not None:
        raise UsageError(f"--temperature and --sweep {TEMPERATURE} contradict each other.", "Give one of them.")
    checked(Sampling, temperature=wanted.temperature, seed=wanted.seed)
    rules = _distinct("--accept", [_one_of("--accept", rule, RULES) for rule in wanted.accept.split(",")])
    against = wanted.against is not None and bool(_one_of("--against", wanted.against, AGAINST))
    load, drafts = _models(wanted, user_registry)
    plan = checked(
        BenchPlan,
        repeats=wanted.repeats,
        max_tokens=wanted.max_tokens,
        seed=wanted.seed,
        load=load,
        methods=methods(drafts, rules, lengths, against),
        prompts=tuple(
            choose(read_prompts(OWN_PROMPTS if wanted.prompts is None else Path(wanted.prompts)), wanted.categories, wanted.per_category)
        ),
        temperatures=temperatures or (0.0 if wanted.temperature is None else wanted.temperature,),
    )
    if wanted.check and not any(repeats_plain(method, heat) for method in plan.methods[1:] for heat in plan.temperatures):
        raise UsageError("--check has nothing to compare: above temperature 0 rejection draws another sample.", "Add --accept coupled.")
    return plan


def repeats_plain(method: Method, temperature: float) -> bool:
    """Whether the engine promises plain decoding's very text: under the coupled rule always, under rejection when it is greedy."""
    return method.engine == "specdec" and (method.drafting.accept == COUPLED or temperature == 0)


def _models(wanted: Wanted, user_registry: Path) -> tuple[LoadOptions, dict[str, str]]:
    """What to load, and the sources of the draft models to measure by name: the one that was named, else all of the pair."""
    load = choose_models(
        user_registry,
        Drafting(),
        wanted.pair,
        wanted.target,
        wanted.draft_model,
        dtype=wanted.dtype,
        context=None,
        exact=wanted.exact,
    )
    if wanted.draft_model is not None:
        drafts = {PurePath(wanted.draft_model).name: load.draft} if load.draft else {}
    elif wanted.target is not None:
        drafts = {}
    else:
        pair = find_pair(load_registry(user_registry), wanted.pair or DEFAULT_PAIR)
        drafts = {draft.name: draft.source or INT4 for draft in pair.drafts}
    return load.model_copy(update={"draft": None, "other_drafts": ()}), drafts


def _sweeps(typed: Sequence[str]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The draft lengths and the temperatures to go through; empty where there is no such sweep."""
    given: dict[str, str] = {}
    for sweep in typed:
        name, separator, values = sweep.partition("=")
        if name not in (DRAFT_TOKENS, TEMPERATURE) or not separator:
            raise UsageError(f"There is no sweep {sweep!r}.", SWEEPS)
        if name in given:
            raise UsageError(f"--sweep {name} is given twice.", "Put all its values into one, with commas between them.")
        given[name] = values
    lengths = _values(
        DRAFT_TOKENS, given, int, lambda length: 1 <= length <= MAX_DRAFT_TOKENS, f"whole numbers from 1 to {MAX_DRAFT_TOKENS}"
    )
    temperatures = _values(TEMPERATURE, given, float, _allowed, "numbers from 0 to 10")
    return lengths, temperatures


def _values(
    name: str, given: dict[str, str], read: Callable[[str], Value], allowed: Callable[[Value], bool], words: str
) -> tuple[Value, ...]:
    if name not in given:
        return ()
    values = []
    for text in given[name].split(","):
        try:
            value = read(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise UsageError(f"--sweep {name}: {text!r} is not among the {words}.", SWEEPS)
        values.append(value)
    return tuple(_distinct(f"--sweep {name}", values))


def _allowed(temperature: float) -> bool:
    try:
        Sampling(temperature=temperature)
    except ValidationError:
        return False
    return True


def _one_of(option: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f"{option}: there is no {value!r}.", f"There is {' and '.join(known)}.")
    return value


def _distinct(option: str, values: list[Value]) -> list[Value]:
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"{option} names {value} twice.", "Name it once.")
    return values
