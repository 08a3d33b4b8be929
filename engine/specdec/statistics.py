"""Counting what an answer cost, round by round; free of torch, so that the app counts by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from specdec.events import DrafterStatistics, Round, Statistics


@dataclass
class DrafterTally:
    """Counts of one drafter; the lists grow to its longest draft.

    Tested are the drafted tokens compared with the target's until the first refusal, that one included.
    """

    rounds: int = 0
    drafted: int = 0
    tested: int = 0
    accepted: int = 0
    tested_by_position: list[int] = field(default_factory=list)
    accepted_by_position: list[int] = field(default_factory=list)

    def add(self, round_: Round) -> None:
        """Count a round of this drafter."""
        self.rounds += 1
        self.drafted += round_.drafted
        self.tested += round_.tested
        self.accepted += round_.accepted
        longer = round_.tested - len(self.tested_by_position)
        self.tested_by_position += [0] * longer
        self.accepted_by_position += [0] * longer
        for position in range(round_.tested):
            self.tested_by_position[position] += 1
            self.accepted_by_position[position] += position < round_.accepted

    @property
    def acceptance(self) -> float:
        """The part of the tested tokens that was accepted."""
        return self.accepted / self.tested if self.tested else 0.0

    @property
    def by_position(self) -> list[float]:
        """The same for each position of a draft."""
        return [accepted / tested for accepted, tested in zip(self.accepted_by_position, self.tested_by_position, strict=True)]

    def statistics(self) -> DrafterStatistics:
        """The counts as they go over the wire."""
        return DrafterStatistics.model_validate({**vars(self)})


@dataclass
class Tally:
    """Counts of one answer."""

    prompt_tokens: int
    reused_tokens: int
    prefill_ms: float
    first_token_ms: float = 0.0
    answer_tokens: int = 0
    rounds: int = 0
    draft_ms: float = 0.0
    verify_ms: float = 0.0
    drafters: dict[str, DrafterTally] = field(default_factory=dict)

    def add(self, round_: Round) -> None:
        """Count a round."""
        self.rounds += 1
        self.answer_tokens += sum(len(run.tokens) for run in round_.runs)
        self.draft_ms += round_.draft_ms
        self.verify_ms += round_.verify_ms
        if round_.drafted:
            self.drafters.setdefault(round_.drafter, DrafterTally()).add(round_)

    def statistics(self, decode_ms: float) -> Statistics:
        """The whole, with `decode_ms` from the end of the prefill to the end of the answer."""
        return Statistics(
            prompt_tokens=self.prompt_tokens,
            reused_tokens=self.reused_tokens,
            prefill_ms=self.prefill_ms,
            first_token_ms=self.first_token_ms,
            answer_tokens=self.answer_tokens,
            decode_ms=decode_ms,
            tokens_per_second=self.answer_tokens / decode_ms * 1000 if decode_ms else 0.0,
            rounds=self.rounds,
            tokens_per_round=self.answer_tokens / self.rounds if self.rounds else 0.0,
            draft_ms=self.draft_ms,
            verify_ms=self.verify_ms,
            drafters={name: tally.statistics() for name, tally in self.drafters.items()},
        )
