"""Why the speedup by the book and the one that was realised differ."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from specdec.benchmark.summary import Figures

NOTEWORTHY = 0.10


@dataclass(frozen=True)
class Gap:
    """Three factors whose product is the predicted speedup over the realised one.

    `tokens`: those of a round by the book over those it gave. `host`: what the time outside drafting and verifying adds to a round,
    over what it adds to a plain step. `rest`: the median of the repeats over all of them together.
    """

    tokens: float
    host: float
    rest: float

    @property
    def ratio(self) -> float:
        """The predicted speedup over the realised one."""
        return self.tokens * self.host * self.rest

    @property
    def reason(self) -> str:
        """A sentence on the factor that does most of it, empty where the two speedups are within a tenth of each other."""
        if abs(self.ratio - 1) <= NOTEWORTHY:
            return ""
        over = self.ratio > 1
        sentences = {
            f"The book expects {_percent(self.tokens)} {'more' if over else 'fewer'} tokens a round than there were.": self.tokens,
            f"Beside a plain step, the host makes a round {_percent(self.host)} {'longer' if over else 'shorter'}.": self.host,
            f"The repeats were uneven: their median is {_percent(self.rest)} off the whole.": self.rest,
        }
        return max(sentences, key=lambda sentence: log(sentences[sentence]) * (1 if over else -1))


def explain_gap(method: Figures, plain: Figures) -> Gap | None:
    """The gap of a method's figures, with plain decoding's of the same prompts; None where nothing is predicted or realised."""
    if method.predicted_speedup is None or method.speedup is None:
        return None
    round_ms, step_ms = method.draft_ms + method.verify_ms, plain.draft_ms + plain.verify_ms
    tokens = method.predicted_speedup * round_ms / step_ms / method.tokens_per_round
    host = (1 + method.host_ms / round_ms) / (1 + plain.host_ms / step_ms)
    return Gap(tokens, host, method.predicted_speedup / method.speedup.median / tokens / host)


def _percent(factor: float) -> str:
    return f"{abs(factor - 1):.0%}"
