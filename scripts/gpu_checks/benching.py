"""The engine's own benchmark in a process of its own, and what its answers say of speed and of text."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gpu_checks.engine_process import Engine, EngineError
from gpu_checks.findings import Findings
from gpu_checks.goals import IDENTICAL
from specdec.benchmark.plan import BenchPlan
from specdec.benchmark.summary import TRANSFORMERS, differences, summarise
from specdec.events import Bench, BenchDone, BenchStarted, Event, Measured, Stop

SILENT_SECONDS = 150.0
GRACE_SECONDS = 90.0


@dataclass
class Benched:
    """What a benchmark gave, and why it gave no more."""

    started: BenchStarted | None = None
    measured: list[Measured] = field(default_factory=list)
    problem: Exception | None = None


def bench(plan: BenchPlan, findings: Findings) -> Benched:
    """Measure until all is measured or the stage's time is over; a process that then goes on for too long is killed."""
    found = Benched()
    try:
        with Engine() as engine:
            engine.send(Bench(plan=plan))
            asked = False
            event: Event | None = None
            while not isinstance(event, BenchDone):
                _, event = engine.next(min(SILENT_SECONDS, findings.seconds_left + GRACE_SECONDS))
                if isinstance(event, BenchStarted):
                    found.started = event
                    print(f"{event.answers} answers ...", file=sys.stderr, flush=True)
                elif isinstance(event, Measured):
                    found.measured.append(event)
                if findings.seconds_left <= 0 and not asked:
                    engine.send(Stop())
                    asked = True
    except (EngineError, TimeoutError) as error:
        found.problem = error
    return found


def tell(found: Benched, findings: Findings, what: str) -> None:
    """Tables of the answers to a plan: how the target runs, the speeds of each method, and how many texts are not plain decoding's."""
    if found.started is not None:
        for name, reason in found.started.left_out.items():
            findings.skip(name, reason)
        environment = found.started.environment
        findings.add("how the target runs", models=what, exact=environment.exact, reason=environment.exact_reason)
    for key, figures in summarise(found.measured).items():
        findings.add(
            f"end to end, {what}",
            temperature=key.temperature,
            category=key.category,
            method=key.method,
            answers=figures.answers,
            tokens=figures.answer_tokens,
            tokens_per_second=figures.tokens_per_second.median,
            speedup=figures.speedup.median if figures.speedup else None,
            speedup_low=figures.speedup.low if figures.speedup else None,
            speedup_high=figures.speedup.high if figures.speedup else None,
            tokens_per_round=figures.tokens_per_round,
            acceptance=figures.acceptance,
            draft_ms=figures.draft_ms,
            verify_ms=figures.verify_ms,
            host_ms=figures.host_ms,
            first_token_ms=figures.first_token_ms.median,
        )
    _tell_texts(found.measured, findings, what)


def _tell_texts(measured: Sequence[Measured], findings: Findings, what: str) -> None:
    """Texts beside plain decoding's. In 16 bits transformers rounds otherwise, so that near ties may fall otherwise: that is no fault."""
    apart = differences(measured)
    for engine, theirs in {"specdec": False, "transformers, greedy": True}.items():
        answers = sum(_is_theirs(answer.method) == theirs and (answer.temperature == 0 or not theirs) for answer in measured)
        different = sum(_is_theirs(difference.method) == theirs for difference in apart)
        if answers:
            findings.add("answers against plain decoding", models=what, engine=engine, answers=answers, different=different)
        if answers and not theirs:
            findings.goal(IDENTICAL, f"{what}, {answers} answers, every token", 1 - different / answers)


def _is_theirs(method: str) -> bool:
    return method.startswith(TRANSFORMERS)


def speed_ratio(measured: Iterable[Measured], method: str, other: str, category: str | None = None) -> float | None:
    """A method's greedy tokens per second over another's: the median over the repeats, each over the prompts that both answered in it.

    None without such prompts; the warm-up is left out.
    """
    answers = {
        (answer.method, answer.repeat, answer.prompt): answer
        for answer in measured
        if answer.repeat > 0 and answer.temperature == 0 and category in (None, answer.category)
    }
    ratios = []
    for repeat in sorted({repeat for _, repeat, _ in answers}):
        prompts = {prompt for name, at, prompt in answers if (name, at) == (method, repeat) and (other, repeat, prompt) in answers}
        if prompts:
            ours, theirs = ([answers[name, repeat, prompt] for prompt in prompts] for name in (method, other))
            ratios.append(_tokens_per_second(ours) / _tokens_per_second(theirs))
    return statistics.median(ratios) if ratios else None


def _tokens_per_second(answers: Sequence[Measured]) -> float:
    counts = [answer.statistics for answer in answers]
    return 1000 * sum(count.answer_tokens for count in counts) / sum(count.decode_ms for count in counts)
