"""The figures of an answer, counted round by round while it streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from specchat.marks import SOURCES
from specchat.transcript import Turn
from specdec.events import Done, Round, Source, Started, Statistics
from specdec.statistics import DrafterTally

RECENT = 120


@dataclass
class LiveFigures:
    """What can be said about an answer so far. Times called `now` are seconds of one clock, those called `*_ms` milliseconds.

    `recent` holds the tokens of the last rounds. `discarded` counts tokens drafted behind the end of the answer. An answer that
    is continued is started again: its counts go on, its speed is that of the last part.
    """

    answer_tokens: int = 0
    round_count: int = 0
    draft_ms: float = 0.0
    verify_ms: float = 0.0
    discarded: int = 0
    prompt_tokens: int = 0
    drafters: dict[str, DrafterTally] = field(default_factory=dict)
    tokens_by_source: dict[Source, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 0))
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))
    statistics: Statistics | None = None
    _tokens_before: int = 0
    _prefill_ms: float = field(default=0.0, compare=False)
    _began: float | None = field(default=None, compare=False)
    _first: float | None = field(default=None, compare=False)
    _last: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, turn: Turn) -> LiveFigures:
        """The figures of an answer that has ended."""
        figures = cls()
        figures.rounds(turn.rounds, 0.0)
        if turn.statistics is not None:
            figures._settle(turn.statistics)
        return figures

    def started(self, event: Started, now: float) -> None:
        """The prompt has been read."""
        self.prompt_tokens = event.prompt_tokens
        self.statistics = None
        self._tokens_before = self.answer_tokens
        self._prefill_ms = event.prefill_ms
        self._began, self._first = now, None

    def rounds(self, rounds: Sequence[Round], now: float) -> None:
        """Count rounds that have just arrived."""
        for round_ in rounds:
            self._count(round_)
        if rounds:
            self._first = now if self._first is None else self._first
            self._last = now

    def done(self, event: Done) -> None:
        """The answer ended; from here on the engine's own times are given."""
        self._settle(event.statistics)

    @property
    def tokens_per_second(self) -> float | None:
        """The speed of decoding alone, from the end of the prefill; `None` while it is not known."""
        if self.statistics is not None:
            return self.statistics.tokens_per_second
        if self._began is None or self._last <= self._began:
            return None
        return (self.answer_tokens - self._tokens_before) / (self._last - self._began)

    @property
    def first_token_ms(self) -> float | None:
        """From the request to the first token; `None` while it is not known."""
        if self.statistics is not None:
            return self.statistics.first_token_ms
        if self._began is None or self._first is None:
            return None
        return self._prefill_ms + (self._first - self._began) * 1000

    @property
    def tokens_per_round(self) -> float | None:
        """All tokens of the answer over its rounds; `None` before the first."""
        return self.answer_tokens / self.round_count if self.round_count else None

    @property
    def context_used(self) -> int:
        """Tokens of prompt and answer together."""
        return self.prompt_tokens + self.answer_tokens - self._tokens_before

    def _settle(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.prompt_tokens = statistics.prompt_tokens
        self._tokens_before = self.answer_tokens - statistics.answer_tokens

    def _count(self, round_: Round) -> None:
        emitted = 0
        for run in round_.runs:
            emitted += len(run.tokens)
            self.tokens_by_source[run.source] += len(run.tokens)
        self.answer_tokens += emitted
        self.round_count += 1
        self.draft_ms += round_.draft_ms
        self.verify_ms += round_.verify_ms
        self.recent.append(emitted)
        if round_.drafted:
            self.drafters.setdefault(round_.drafter, DrafterTally()).add(round_)
        if round_.accepted == round_.tested:
            self.discarded += round_.drafted - round_.tested
