"""Prompt lookup: where the last tokens have occurred before, propose what followed them (Saxena 2023).

A trie over the reversed contexts of every position finds the longest match of up to `LONGEST` tokens and its most recent place
in at most `LONGEST` steps a token, for both the search and the update.
"""

from __future__ import annotations

from collections.abc import Sequence

from specdec.drafting.base import Draft
from specdec.events import Source
from specdec.sampling import Sampler
from specdec.verification import Rule

LONGEST = 16
SHORTEST = 2


class SuffixIndex:
    """Every earlier occurrence of the newest tokens, most recent first found.

    A node stands for a sequence of tokens read backwards; it remembers the last position right after which that sequence
    ended. `steps` counts visited nodes.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest
        self.tokens: list[int] = []
        self.steps = 0
        self.match_length = 0
        self.match_end = 0
        self._children: dict[tuple[int, int], int] = {}
        self._ends: list[int] = [0]

    def append(self, token: int) -> None:
        """Add a token; `match_length` and `match_end` then describe the longest earlier occurrence of the context's end."""
        tokens, children, ends = self.tokens, self._children, self._ends
        tokens.append(token)
        here = len(tokens)
        self.match_length = 0
        node = 0
        for depth in range(1, min(self.longest, here) + 1):
            self.steps += 1
            key = (node, tokens[here - depth])
            child = children.get(key)
            if child is None:
                child = children[key] = len(ends)
                ends.append(here)
            else:
                self.match_length, self.match_end = depth, ends[child]
                ends[child] = here
            node = child

    def continuation(self, k: int) -> list[int]:
        """The `k` tokens after the match, running on into themselves where the match overlaps the end."""
        tokens, begin = self.tokens, self.match_end
        period = len(tokens) - begin
        return [tokens[begin + index % period] for index in range(k)]


class NGramDrafter:
    """Proposes the continuation of the longest match; certain of every token, and free of cost."""

    name = "ngram"
    source: Source = "ngram"
    priors: tuple[float, ...] = (0.3, 0.6, 0.8, 0.9)

    def __init__(self) -> None:
        self._index = SuffixIndex()

    def begin(self, tokens: Sequence[int]) -> None:
        known = self._index.tokens
        if len(known) > len(tokens) or known != list(tokens[: len(known)]):
            self._index = SuffixIndex()
            known = self._index.tokens
        for token in tokens[len(known) :]:
            self._index.append(token)

    def confidence_bucket(self) -> int:
        """The match length, counted in powers of two."""
        length = self._index.match_length
        return length.bit_length() - SHORTEST.bit_length() if length >= SHORTEST else -1

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        return Draft(self._index.continuation(k) if self._index.match_length >= SHORTEST else [])

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        for token in tokens:
            self._index.append(token)
