"""Which source and which round each character of an answer came from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable

from specchat.marks import SOURCES
from specdec.events import Round, Source


class Runs:
    """The runs of an answer by their place in its text; grows with it."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._sources: list[Source] = []
        self._round_starts: list[int] = []
        self._tokens: list[int] = []
        self._token_sources: list[Source] = []
        self._length = 0

    def __len__(self) -> int:
        """The number of rounds."""
        return len(self._round_starts)

    def add(self, rounds: Iterable[Round]) -> None:
        """Append rounds; the tokens of a run are taken to share its text evenly."""
        for round_ in rounds:
            self._round_starts.append(self._length)
            for run in round_.runs:
                size, count = len(run.text), len(run.tokens)
                self._tokens += [self._length + size * index // count for index in range(count)]
                self._token_sources += [run.source] * count
                if size:
                    self._starts.append(self._length)
                    self._sources.append(run.source)
                    self._length += size

    def borders(self, start: int, end: int) -> list[int]:
        """Where a run begins or the last one ends within source[start:end]."""
        borders = self._starts[bisect_left(self._starts, start) : bisect_left(self._starts, end)]
        return [*borders, self._length] if start <= self._length < end else borders

    def source_at(self, offset: int) -> Source | None:
        """The source of a character; text without tokens has none."""
        return self._sources[bisect_right(self._starts, offset) - 1] if 0 <= offset < self._length else None

    def round_at(self, offset: int) -> int | None:
        """The index of the round that a character came from."""
        if not 0 <= offset < self._length:
            return None
        return bisect_right(self._round_starts, offset) - 1

    def span(self, index: int) -> tuple[int, int] | None:
        """Where the text of a round begins and ends, or `None` if there is no such round."""
        if not 0 <= index < len(self._round_starts):
            return None
        end = self._round_starts[index + 1] if index + 1 < len(self._round_starts) else self._length
        return self._round_starts[index], end

    def counts(self, start: int, end: int) -> dict[Source, int]:
        """How many tokens of each source begin in source[start:end], with those that have no text yet at the end of all."""
        stop = len(self._tokens) if start < end and end >= self._length else bisect_left(self._tokens, end)
        found = Counter(self._token_sources[bisect_left(self._tokens, start) : stop])
        return {source: found[source] for source in SOURCES if found[source]}
