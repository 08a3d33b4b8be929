"""From single measurements to the figures that are reported; the same for every table, plot and diagnosis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from specdec.benchmark.parting import parting
from specdec.benchmark.speedup import tokens_per_round_at
from specdec.events import DrafterStatistics, Measured

OVERALL = "overall"
PLAIN = "plain"
TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles; all three are the one value where there is but one."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """What one method did in one category at one temperature, the warm-up left out.

    Speeds are tokens per second of decoding, and their spread and the speedup's are over the repeats; `speedup` is over plain
    decoding of the same prompts in the same repeat, None without it. `first_token_ms` is spread over the answers. Milliseconds per
    round: drafting, verifying, and the rest of the decoding time (`host_ms`); another engine's rounds are not taken apart, so all
    of theirs is the rest. `predicted_speedup` is what the measured acceptance by position, the mean draft lengths and the measured
    draft, verify and plain milliseconds give by the book; None for plain decoding and for other engines.
    Inter-token times are those between the tokens of an answer: tokens of one round arrive together, so that all but the first of
    them came after 0 ms; 0 where no answer has a second token. `memory_bytes` is the process's peak by the last of these answers,
    with everything in it that was loaded for other methods.
    """

    answers: int
    answer_tokens: int
    tokens_per_second: Spread
    speedup: Spread | None
    predicted_speedup: float | None
    first_token_ms: Spread
    inter_token_ms: float
    inter_token_p95_ms: float
    inter_token_p99_ms: float
    rounds: int
    tokens_per_round: float
    acceptance: float | None
    acceptance_by_position: tuple[float, ...]
    draft_ms: float
    verify_ms: float
    host_ms: float
    memory_bytes: int


@dataclass(frozen=True)
class Key:
    """Which figures: a temperature, a method and a category, or OVERALL for all of them."""

    temperature: float
    method: str
    category: str


@dataclass(frozen=True)
class TextDifference:
    """An answer that is not plain decoding's: the first token (from 1) that differs and the text from a little before it on."""

    temperature: float
    method: str
    prompt: str
    token: int
    plain: str
    other: str


def summarise(measured: Sequence[Measured]) -> dict[Key, Figures]:
    """The figures of every method, temperature and category that has measurements beyond the warm-up, and overall.

    In the order of the warm-up, first all categories, then overall.
    """
    groups: dict[Key, list[Measured]] = defaultdict(list)
    for answer in measured:
        groups[Key(answer.temperature, answer.method, answer.category)] += [answer] if answer.repeat > 0 else []
    overall: dict[Key, list[Measured]] = defaultdict(list)
    for key, answers in groups.items():
        overall[replace(key, category=OVERALL)] += answers
    groups |= overall
    return {key: _figures(answers, groups.get(replace(key, method=PLAIN), [])) for key, answers in groups.items() if answers}


def differences(measured: Sequence[Measured]) -> list[TextDifference]:
    """Every answer whose tokens are not those of plain decoding of the same prompt at the same temperature, in the order measured.

    The warm-up counts too. Plain decoding itself must repeat itself: its first answer is the one compared with. Above temperature 0
    transformers draws other random numbers, so its answers are left out there.
    """
    plain: dict[tuple[float, str], Measured] = {}
    for answer in measured:
        if answer.method == PLAIN:
            plain.setdefault((answer.temperature, answer.prompt), answer)
    found = []
    for answer in measured:
        expected = plain.get((answer.temperature, answer.prompt))
        comparable = answer.temperature == 0 or not answer.method.startswith(TRANSFORMERS)
        if expected and comparable:
            apart = parting(expected.tokens, expected.text, answer.tokens, answer.text)
            if apart:
                found.append(TextDifference(answer.temperature, answer.method, answer.prompt, apart.token, apart.one, apart.other))
    return found


def _figures(answers: Sequence[Measured], plain: Sequence[Measured]) -> Figures:
    statistics = [answer.statistics for answer in answers]
    rounds = sum(counts.rounds for counts in statistics)
    tokens = sum(counts.answer_tokens for counts in statistics)
    draft_ms = sum(counts.draft_ms for counts in statistics) / rounds
    verify_ms = sum(counts.verify_ms for counts in statistics) / rounds
    drafts = [drafter for counts in statistics for drafter in counts.drafters.values()]
    tested = sum(drafter.tested for drafter in drafts)
    gaps = sorted(_inter_token_ms(answers))
    pairs = _paired(answers, plain)
    return Figures(
        answers=len(answers),
        answer_tokens=tokens,
        tokens_per_second=_spread([_tokens_per_second(repeat) for repeat in _by_repeat(answers)]),
        speedup=_speedup(pairs) if pairs else None,
        predicted_speedup=_predicted_speedup(pairs) if pairs else None,
        first_token_ms=_spread([counts.first_token_ms for counts in statistics]),
        inter_token_ms=_quantile(gaps, 0.5) if gaps else 0.0,
        inter_token_p95_ms=_quantile(gaps, 0.95) if gaps else 0.0,
        inter_token_p99_ms=_quantile(gaps, 0.99) if gaps else 0.0,
        rounds=rounds,
        tokens_per_round=tokens / rounds,
        acceptance=sum(drafter.accepted for drafter in drafts) / tested if tested else None,
        acceptance_by_position=_acceptance_by_position(drafts),
        draft_ms=draft_ms,
        verify_ms=verify_ms,
        host_ms=sum(counts.decode_ms for counts in statistics) / rounds - draft_ms - verify_ms,
        memory_bytes=max(answer.memory_bytes for answer in answers),
    )


def _paired(answers: Iterable[Measured], plain: Iterable[Measured]) -> list[tuple[Measured, Measured]]:
    """Each answer with plain decoding's to the same prompt in the same repeat, where there is one."""
    others = {(answer.repeat, answer.prompt): answer for answer in plain}
    return [(answer, others[answer.repeat, answer.prompt]) for answer in answers if (answer.repeat, answer.prompt) in others]


def _by_repeat(answers: Iterable[Measured]) -> list[list[Measured]]:
    repeats: dict[int, list[Measured]] = defaultdict(list)
    for answer in answers:
        repeats[answer.repeat].append(answer)
    return list(repeats.values())


def _tokens_per_second(answers: Sequence[Measured]) -> float:
    decode_ms = sum(answer.statistics.decode_ms for answer in answers)
    return sum(answer.statistics.answer_tokens for answer in answers) / decode_ms * 1000


def _speedup(pairs: Sequence[tuple[Measured, Measured]]) -> Spread:
    """The ratio of the two speeds in each repeat, over the prompts that both answered in it."""
    ours, plain = (_by_repeat(side) for side in zip(*pairs, strict=True))
    return _spread([_tokens_per_second(one) / _tokens_per_second(other) for one, other in zip(ours, plain, strict=True)])


def _predicted_speedup(pairs: Sequence[tuple[Measured, Measured]]) -> float | None:
    """Tokens per round by the book times a plain step's milliseconds over a round's (arXiv 2211.17192), without the host's in either."""
    method = pairs[0][0].method
    if method == PLAIN or method.startswith(TRANSFORMERS):
        return None
    ours, plain = (_step_ms(side) for side in zip(*pairs, strict=True))
    return _expected_tokens_per_round([answer for answer, _ in pairs]) * plain / ours


def _step_ms(answers: Iterable[Measured]) -> float:
    """Milliseconds of drafting and verifying a round."""
    statistics = [answer.statistics for answer in answers]
    return sum(counts.draft_ms + counts.verify_ms for counts in statistics) / sum(counts.rounds for counts in statistics)


def _expected_tokens_per_round(answers: Sequence[Measured]) -> float:
    """What each drafter's acceptance by position, over all the answers, gives with drafts as long as its mean in each answer.

    A round without a draft gives one token. Only the mean is known of lengths that vary within an answer; it gives a little too much.
    """
    names = {name for answer in answers for name in answer.statistics.drafters}
    expected = rounds = 0.0
    for name in names:
        drafts = [answer.statistics.drafters[name] for answer in answers if name in answer.statistics.drafters]
        acceptance = _acceptance_by_position(drafts)
        expected += sum(draft.rounds * tokens_per_round_at(acceptance, draft.drafted / draft.rounds) for draft in drafts)
        rounds += sum(draft.rounds for draft in drafts)
    all_rounds = sum(answer.statistics.rounds for answer in answers)
    return (expected + all_rounds - rounds) / all_rounds


def _acceptance_by_position(drafts: Sequence[DrafterStatistics]) -> tuple[float, ...]:
    """Accepted over tested at each position, of all the drafts together."""
    tested = map(sum, zip_longest(*(draft.tested_by_position for draft in drafts), fillvalue=0))
    accepted = map(sum, zip_longest(*(draft.accepted_by_position for draft in drafts), fillvalue=0))
    return tuple(kept / tried for kept, tried in zip(accepted, tested, strict=True))


def _inter_token_ms(answers: Iterable[Measured]) -> list[float]:
    gaps: list[float] = []
    for answer in answers:
        waits = [wait for tokens, ms in zip(answer.round_tokens, answer.round_ms, strict=True) for wait in [ms, *[0.0] * (tokens - 1)]]
        gaps += waits[1:]
    return gaps


def _spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    return Spread(_quantile(ordered, 0.5), _quantile(ordered, 0.25), _quantile(ordered, 0.75))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of the ordered values lies, by a straight line between neighbours."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
