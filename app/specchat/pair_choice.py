"""A pair as the user picked it on the pairs screen, and as the settings keep it."""

from __future__ import annotations

from dataclasses import dataclass

from specchat.choices import NO_DRAFT
from specchat.settings import Settings
from specdec.memory import INT8, Way


@dataclass(frozen=True)
class PairChoice:
    """A pair as picked: `draft` is one of its drafts, `none` for no model draft, or empty for its first.

    `context` 0 is its own, and so is an empty `dtype`.
    """

    pair: str
    draft: str = ""
    context: int = 0
    dtype: str = ""

    @classmethod
    def of(cls, settings: Settings) -> PairChoice:
        """The pair that the settings name."""
        return cls(settings.pair, settings.draft_model, settings.context, settings.dtype)

    @property
    def way(self) -> Way:
        """The draft by its name, and whether with 8 bits a weight."""
        return Way(None if self.draft == NO_DRAFT else self.draft, self.dtype == INT8)
