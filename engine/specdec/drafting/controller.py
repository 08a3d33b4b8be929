"""The controller: each round takes the drafter and length with the most expected tokens per measured millisecond.

Expected tokens of a draft of k are 1 + a1 + a1 a2 + ... with the measured acceptance of each position (Leviathan et al.,
arXiv 2211.17192, with one rate per position). Length 0, plain decoding, is always a candidate, so a draft that does not pay
switches itself off. What loses is tried again now and then, so that a change is noticed: drafts by probes, plain decoding by a round
of it whenever it comes close.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from specdec.drafting.base import Drafter
from specdec.drafting.step_times import MOST_WEIGHT, Ratio, StepTimes
from specdec.options import MAX_DRAFT_TOKENS

DECAY = 0.97
KEPT_FOR_NEXT_ANSWER = 0.1
PLAIN_EVERY = 32
CLOSE = 1.5
PRIOR_WEIGHT = 4.0
PROBE_SHARE = 0.01
PROBE_TOKENS = 2
MARGIN = 1.08


@dataclass(frozen=True)
class Costs:
    """Milliseconds measured on this machine: a target step by number of rows, and a draft by drafter and number of tokens."""

    verify_ms: Mapping[int, float]
    draft_ms: Mapping[str, Mapping[int, float]]

    def verify(self, rows: int) -> float:
        """A target step of that many rows."""
        return self._verify[rows]

    def draft(self, name: str, length: int) -> float:
        """A draft of that many tokens."""
        return self._draft[name][length]

    @cached_property
    def _verify(self) -> list[float]:
        return _straight(self.verify_ms, MAX_DRAFT_TOKENS + 1)

    @cached_property
    def _draft(self) -> dict[str, list[float]]:
        return {name: _straight({0: 0.0, **measured}, MAX_DRAFT_TOKENS) for name, measured in self.draft_ms.items()}


def _straight(measured: Mapping[int, float], last: int) -> list[float]:
    """The value at 0..last, by straight lines through the measured points and on beyond them."""
    points = sorted(measured.items())
    lines = list(pairwise(points)) or [(points[0], points[0])]
    values = []
    for x in range(last + 1):
        (x0, y0), (x1, y1) = next((line for line in lines if x <= line[1][0]), lines[-1])
        values.append(max(0.0, y0 + (y1 - y0) * (x - x0) / max(1, x1 - x0)))
    return values


@dataclass
class Record:
    """Decayed counts of drafted tokens tested and accepted at each position of a draft; `prior` is the rate before any."""

    prior: float
    tested: list[float] = field(default_factory=lambda: [0.0] * MAX_DRAFT_TOKENS)
    accepted: list[float] = field(default_factory=lambda: [0.0] * MAX_DRAFT_TOKENS)

    def observe(self, tested: int, accepted: int) -> None:
        for position in range(tested):
            self.tested[position] = self.tested[position] * DECAY + 1
            self.accepted[position] = self.accepted[position] * DECAY + (position < accepted)

    def fade(self) -> None:
        """Keep a little of what was counted."""
        self.tested = [count * KEPT_FOR_NEXT_ANSWER for count in self.tested]
        self.accepted = [count * KEPT_FOR_NEXT_ANSWER for count in self.accepted]

    def acceptance(self) -> list[float]:
        """The rate at each position; a position with little data leans on the one before it."""
        rates = []
        before = self.prior
        for tested, accepted in zip(self.tested, self.accepted, strict=True):
            before = (accepted + PRIOR_WEIGHT * before) / (tested + PRIOR_WEIGHT)
            rates.append(before)
        return rates


@dataclass(frozen=True)
class Choice:
    """A round's drafter (None: plain) and the number of tokens asked of it."""

    drafter: Drafter | None
    length: int


class Controller:
    """Chooses among the drafters a request allows; its records live as long as the pair is loaded."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._records: dict[tuple[str, int], Record] = {}
        self._step_times = StepTimes()
        self._draft_ratios: dict[str, Ratio] = {}
        self._rounds_since_plain = 0
        self._spent_ms = 0.0
        self._probe_debt_ms = 0.0

    def begin(self) -> None:
        """A new answer: how well it can be drafted is known from the ones before by half at most."""
        for record in self._records.values():
            record.fade()

    def choose(self, drafters: Sequence[Drafter], limit: int, forced_length: int | None, forced: bool) -> Choice:
        """The next round's draft of at most `limit` tokens.

        `forced_length` fixes the length; `forced` rules out plain decoding as long as some drafter has anything to propose.
        """
        best, best_rate = Choice(None, 0), self._plain_rate()
        if forced or forced_length is not None:
            best_rate = 0.0
        ranked: list[tuple[float, Choice]] = []
        for drafter in drafters:
            bucket = drafter.confidence_bucket()
            if bucket < 0 or limit <= 0 or forced_length == 0:
                continue
            lengths = range(1, limit + 1) if forced_length is None else (min(forced_length, limit),)
            rates = self._rates(drafter, bucket, max(lengths))
            length = max(lengths, key=lambda k: rates[k])
            ranked.append((rates[length], Choice(drafter, length)))
        for rate, choice in ranked:
            if rate > best_rate * (MARGIN if best.drafter is None else 1.0):
                best, best_rate = choice, rate
        if forced or forced_length is not None:
            return best
        if self._rounds_since_plain >= PLAIN_EVERY and best_rate < CLOSE * self._plain_rate():
            return Choice(None, 0)
        return self._probe(best, ranked, limit)

    def observe(self, choice: Choice, bucket: int, tested: int, accepted: int, draft_ms: float, verify_ms: float, rows: int) -> None:
        """What the round did: counts for the records, times for the ratios to the calibrated costs."""
        self._spent_ms += draft_ms + verify_ms
        self._step_times.observe(rows, verify_ms / self._costs.verify(rows))
        self._rounds_since_plain = 0 if rows == 1 else self._rounds_since_plain + 1
        if choice.drafter is None:
            return
        name = choice.drafter.name
        self._record(choice.drafter, bucket).observe(tested, accepted)
        expected = self._costs.draft(name, choice.length)
        if expected > 0:
            self._draft_ratio(name).observe(draft_ms / expected)

    def _plain_rate(self) -> float:
        return 1 / self._verify_ms(1)

    def _verify_ms(self, rows: int) -> float:
        return self._costs.verify(rows) * self._step_times.ratio(rows)

    def _draft_ratio(self, name: str) -> Ratio:
        return self._draft_ratios.setdefault(name, Ratio(weight=MOST_WEIGHT))

    def _record(self, drafter: Drafter, bucket: int) -> Record:
        return self._records.setdefault((drafter.name, bucket), Record(drafter.priors[bucket]))

    def _rates(self, drafter: Drafter, bucket: int, longest: int) -> list[float]:
        """Expected tokens per millisecond for drafts of 0..longest tokens."""
        acceptance = self._record(drafter, bucket).acceptance()
        draft_ratio = self._draft_ratio(drafter.name).mean
        tokens, surviving, rates = 1.0, 1.0, [0.0]
        for k in range(1, longest + 1):
            surviving *= acceptance[k - 1]
            tokens += surviving
            rates.append(tokens / (self._costs.draft(drafter.name, k) * draft_ratio + self._verify_ms(k + 1)))
        return rates

    def _probe(self, best: Choice, ranked: Sequence[tuple[float, Choice]], limit: int) -> Choice:
        """Now and then, when plain decoding wins, try the best drafter shortly, so that a change of text is noticed.

        A probe is allowed while probes have taken under a hundredth of all decoding time.
        """
        if best.drafter is not None or not ranked or self._probe_debt_ms > PROBE_SHARE * self._spent_ms:
            return best
        choice = max(ranked, key=lambda pair: pair[0])[1]
        length = min(PROBE_TOKENS, limit)
        assert choice.drafter is not None
        extra = self._costs.draft(choice.drafter.name, length) + self._costs.verify(length + 1) - self._costs.verify(1)
        self._probe_debt_ms += extra
        return Choice(choice.drafter, length)
