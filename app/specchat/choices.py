"""What the user chose, checked: command-line values become the engine's options before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from specdec.errors import UsageError
from specdec.events import Chat
from specdec.memory import COPIES, INT4, is_copy
from specdec.options import Drafting, ExactChoice, LoadOptions, Message, Sampling
from specdec.registry import PairSpec, find_pair, load_registry

DEFAULT_PAIR = "demo"
NO_DRAFT = "none"
WITH_MODEL = ("auto", "model")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Job:
    """A pair to load and how to answer with it."""

    load: LoadOptions
    sampling: Sampling
    drafting: Drafting
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    system: str | None = None

    def chat(self, messages: Sequence[Message], sampling: Sampling | None = None) -> Chat:
        """The request for the next answer in a conversation, the system message put before it."""
        system = [Message(role="system", content=self.system)] if self.system else []
        return Chat(
            messages=(*system, *messages),
            sampling=sampling or self.sampling,
            drafting=self.drafting,
            max_tokens=self.max_tokens,
            stop=self.stop,
        )


def checked(model: type[Model], **values: Any) -> Model:
    """An option group of the values that are not `None`; raises UsageError naming the first option that is out of its range."""
    try:
        return model(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{option}: {reason[:1].lower()}{reason[1:]}.", "`specchat --help` lists what each option takes.") from None


def choose_models(
    user_registry: Path, drafting: Drafting, pair: str | None, target: str | None, draft_model: str | None, **values: Any
) -> LoadOptions:
    """What to load: a pair of the registry with its first draft, or a target of its own with none, unless `draft_model` names one.

    `values` are the remaining load options, `None` for the pair's own. Raises UsageError for choices that contradict each other
    and RegistryError for unknown names.
    """
    if pair is not None and target is not None:
        raise UsageError("--pair and --target contradict each other.", "Give one of them.")
    if draft_model is not None and drafting.draft not in WITH_MODEL:
        raise UsageError(f"--draft-model has no use with --draft {drafting.draft}.", "Leave one of them out.")
    listed: tuple[str, ...] = ()
    if target is not None:
        draft = draft_model
    else:
        spec = find_pair(load_registry(user_registry), pair or DEFAULT_PAIR)
        values = {name: value if value is not None else getattr(spec, name, None) for name, value in values.items()}
        target, draft, listed = spec.target, _draft_source(spec, draft_model or ""), _sources(spec)
    if drafting.draft == "model" and draft is None:
        raise UsageError("--draft model needs a draft model, and none was chosen.", "Name one with --draft-model.")
    return _options(target, draft, listed, drafting, values)


def options_for(pair: PairSpec, draft_name: str, context: int, exact: ExactChoice, drafting: Drafting, dtype: str = "") -> LoadOptions:
    """How to load a pair: with its first draft where `draft_name` is empty, with no model draft where it is `none`.

    `context` is in tokens, 0 for the pair's own, as is an empty `dtype`. Raises RegistryError for an unknown draft, and UsageError
    where the drafting needs a model draft and there is none.
    """
    values = {"dtype": dtype or pair.dtype, "context": context or pair.context, "exact": exact}
    draft = _draft_source(pair, draft_name)
    if drafting.draft == "model" and draft is None:
        raise UsageError("Drafting by the model alone needs a draft model, and none is chosen.", "Pick one with /pair, or try /draft auto.")
    return _options(pair.target, draft, _sources(pair), drafting, values)


def _options(target: str, draft: str | None, listed: Sequence[str], drafting: Drafting, values: Mapping[str, Any]) -> LoadOptions:
    """The load options, checked; a model draft that the drafting cannot use is not loaded.

    Where it is, what may be offered instead are the other drafts that are `listed` for the target, and its copies.
    """
    if draft is None or drafting.draft not in WITH_MODEL:
        return checked(LoadOptions, target=target, draft=None, **values)
    others = tuple(source for source in dict.fromkeys((*listed, *COPIES)) if source != draft)
    return checked(LoadOptions, target=target, draft=draft, other_drafts=others, **values)


def _sources(pair: PairSpec) -> tuple[str, ...]:
    """The sources of a pair's drafts, best first."""
    return tuple(draft.source or INT4 for draft in pair.drafts)


def _draft_source(pair: PairSpec, name: str) -> str | None:
    """The source of a draft: of the pair's first, of one of its names, a source itself, or None for no model draft."""
    own = dict(zip((draft.name for draft in pair.drafts), _sources(pair), strict=True))
    if not name:
        return next(iter(own.values()), None)
    if name in own:
        return own[name]
    if name == NO_DRAFT:
        return None
    if is_copy(name) or "/" in name or ":" in name:
        return name
    return pair.draft(name).source
