"""The ways of decoding that are measured, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specdec.benchmark.plan import Method
from specdec.benchmark.summary import PLAIN, TRANSFORMERS
from specdec.errors import UsageError
from specdec.memory import is_copy
from specdec.options import Drafting

NGRAM, AUTO = "ngram", "auto"
COUPLED, REJECTION = "coupled", "rejection"


def methods(drafts: Mapping[str, str], rules: Sequence[str], lengths: Sequence[int], against_transformers: bool) -> tuple[Method, ...]:
    """Plain decoding, each drafter forced, and the engine's own choice between n-grams and a draft model, the first being the best.

    `drafts` are the sources of the draft models by name. With `lengths` (else the controller's choice) a forced drafter is there
    once for each, and a draft model for each of the accept `rules` too; the others follow the first rule. Raises UsageError for a
    draft's name that means another method.
    """
    each_length = tuple(lengths) or (None,)
    wanted = [Method(name=PLAIN, drafting=Drafting(draft="off"))]
    for length in each_length:
        drafting = Drafting(draft="ngram", draft_tokens=length, accept=rules[0])
        wanted.append(Method(name=_name(NGRAM, drafting), drafting=drafting))
    for name, source in drafts.items():
        if name in (PLAIN, NGRAM, AUTO) or name.startswith(TRANSFORMERS):
            raise UsageError(f"The draft's name {name!r} means another method here.", "Give the draft another name in models.toml.")
        for length in each_length:
            for rule in rules:
                drafting = Drafting(draft="model", draft_tokens=length, accept=rule)
                wanted.append(Method(name=_name(name, drafting), drafting=drafting, draft=source))
    best, *others = drafts or [None]
    for name in (best, *others):
        drafting = Drafting(accept=rules[0])
        label = AUTO if name == best else f"{AUTO}, {name}"
        wanted.append(Method(name=_name(label, drafting), drafting=drafting, draft=drafts[name] if name else None))
    return (*wanted, *(_transformers(drafts) if against_transformers else ()))


def _name(base: str, drafting: Drafting) -> str:
    length = "" if drafting.draft_tokens is None else f" k={drafting.draft_tokens}"
    return f"{base}{length}{'' if drafting.accept == COUPLED else f', {drafting.accept}'}"


def _transformers(drafts: Mapping[str, str]) -> tuple[Method, ...]:
    """transformers plain, assisted by the first sibling and with prompt lookup; the engine says where it cannot assist."""
    sources = list(drafts.values())
    sibling = next((source for source in sources if not is_copy(source)), sources[0] if sources else None)
    return (
        Method(name=TRANSFORMERS, drafting=Drafting(draft="off"), engine="transformers"),
        Method(name=f"{TRANSFORMERS}, assisted", drafting=Drafting(draft="model"), draft=sibling, engine="transformers"),
        Method(name=f"{TRANSFORMERS}, prompt lookup", drafting=Drafting(draft="ngram"), engine="transformers"),
    )
