"""What `specchat pull` does: fetch the models of a pair that are not on disk yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from specdec.download import Report, download
from specdec.hub import BUILTIN, disk_state
from specdec.memory import is_copy
from specdec.registry import PairSpec


@dataclass(frozen=True)
class Pulled:
    """The sources of a pair that were fetched now, and those that were complete before."""

    pair: str
    fetched: tuple[str, ...]
    present: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The outcome in one sentence."""
        if self.fetched:
            return f"Fetched {', '.join(self.fetched)}; the pair {self.pair} is ready."
        if all(source.startswith(BUILTIN) for source in self.present):
            return f"There is nothing to fetch: {self.pair} ships with specchat."
        return f"There is nothing to fetch: {', '.join(self.present)} already on disk."


def sources(pair: PairSpec, draft_name: str | None) -> list[str]:
    """The target and the named sibling draft, or all of them; raises RegistryError for a draft that the pair has not.

    A copy of the target is made of the target alone, whether the pair names it or not.
    """
    if is_copy(draft_name):
        return [pair.target]
    drafts = pair.drafts if draft_name is None else (pair.draft(draft_name),)
    wanted = [pair.target, *(draft.source for draft in drafts if draft.source is not None)]
    return list(dict.fromkeys(wanted))


def pull(pair: PairSpec, draft_name: str | None, report: Report, cancelled: Callable[[], bool]) -> Pulled:
    """Fetch what a pair lacks, one source after the other; see `specdec.download.download` for progress and errors."""
    wanted = sources(pair, draft_name)
    missing = [source for source in wanted if not disk_state(source).complete]
    for source in missing:
        download(source, _named(source, report), cancelled)
    return Pulled(pair.name, tuple(missing), tuple(source for source in wanted if source not in missing))


def _named(source: str, report: Report) -> Report:
    return lambda file, done, total: report(f"{source} {file}", done, total)
