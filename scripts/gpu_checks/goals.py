"""What the engine is to reach on a workstation GPU: ratios measured within one run, and the seconds of a first answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A figure and the bound it is to stay on the right side of."""

    figure: str
    bound: float
    at_least: bool = False

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"{self.figure}: {'at least' if self.at_least else 'at most'} {self.bound:g}"

    def met(self, measured: float) -> bool:
        """Whether a measured figure reaches it; NaN never does."""
        return measured >= self.bound if self.at_least else measured <= self.bound


PLAIN_STEP, VERIFY, INT4_STEP, SIBLING_STEP = "plain step", "verify 16 rows", "INT4 step", "sibling step"
IDLE, EXACT_COST, IDENTICAL = "idle", "exact mode", "identical"
FIRST_ANSWER, MEMORY_PEAK = "first answer", "memory peak"
AUTO_CHAT, AUTO_REPETITIVE = "auto, chat", "auto, repetitive"
PLAIN_TRANSFORMERS, AUTO_ASSISTED = "plain against transformers", "auto against assisted"

GOALS = {
    PLAIN_STEP: Goal("plain step, share of the measured copy bandwidth", 0.90, at_least=True),
    VERIFY: Goal("verifying 16 rows against 1 row", 1.10),
    INT4_STEP: Goal("INT4 copy step against target step (c)", 0.35),
    SIBLING_STEP: Goal("sibling 1B step against 8B target step", 0.20),
    IDLE: Goal("GPU idle share during rounds", 0.03),
    EXACT_COST: Goal("exact mode against fast mode, plain step", 1.05),
    IDENTICAL: Goal("answers identical to plain, all drafters, exact mode", 1.0, at_least=True),
    FIRST_ANSWER: Goal("seconds from weights on the device to the first round of an answer", 5.0),
    MEMORY_PEAK: Goal("peak of memory against what was reckoned, share apart", 0.05),
    AUTO_CHAT: Goal("auto against plain, chat, tokens per second", 2.0, at_least=True),
    AUTO_REPETITIVE: Goal("auto against plain, repetitive text, tokens per second", 4.0, at_least=True),
    PLAIN_TRANSFORMERS: Goal("plain against transformers' plain generate, tokens per second", 2.0, at_least=True),
    AUTO_ASSISTED: Goal("auto against transformers' assisted generate, tokens per second", 5.0, at_least=True),
}
