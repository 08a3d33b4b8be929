"""Which target and drafts are measured, and how they are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specchat.paths import find_paths
from specdec.exactness import Exactness
from specdec.hub import locate
from specdec.loading import Pair, load_pair
from specdec.memory import INT4
from specdec.options import DtypeChoice, LoadOptions
from specdec.registry import find_pair, load_registry


@dataclass(frozen=True)
class Models:
    """A target and the sources of its drafts, by the name the tables use; without a context the target's own limit counts."""

    name: str
    target: str
    drafts: Mapping[str, str]
    context: int | None = None
    dtype: DtypeChoice = "auto"


def from_registry(name: str) -> Models:
    """A pair of models.toml, the user's own included; raises RegistryError for one that is not there."""
    spec = find_pair(load_registry(find_paths().user_registry), name)
    drafts = {draft.name: draft.source or INT4 for draft in spec.drafts}
    return Models(name, spec.target, drafts, spec.context, spec.dtype)


def from_sources(target: str, drafts: Sequence[str]) -> Models:
    """A target and drafts by their sources, as the engine takes them; raises SpecError for one that is not on disk."""
    for source in (target, *drafts):
        if source != INT4:
            locate(source)
    return Models(target, target, {source: source for source in drafts})


def load(models: Models, draft: str | None, threads: int | None, exactness: Exactness | None = None) -> Pair:
    """The target with one draft in exact mode, run as `exactness` says if an earlier load found it.

    What an execution computes may differ in the last bit from another's, so texts can be compared between loads only if all run
    the same. Raises SpecError for a target that cannot be loaded; a draft that cannot is left out, as `ready` says.
    """
    options = LoadOptions(target=models.target, draft=draft, dtype=models.dtype, context=models.context, exact="on", threads=threads)
    pair = load_pair(options)
    if exactness is not None:
        pair.exactness = exactness
        pair.target.execution = exactness.execution
    return pair
