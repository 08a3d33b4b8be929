"""The tables of a benchmark at one temperature: speed, rounds, speedup by category, acceptance by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from specchat.bench.sections import Table
from specdec.benchmark.plan import BenchPlan, Method
from specdec.benchmark.summary import OVERALL, PLAIN, Figures, Key

SPEED = ("method", "tok/s", "speedup", "quartiles", "predicted", "first token ms", "between tokens ms", "p95", "p99")
ROUNDS = ("method", "rounds", "tokens/round", "accepted/tested", "round ms", "draft ms", "verify ms", "host ms")
NOTHING = "-"


def tables(plan: BenchPlan, figures: Mapping[Key, Figures], temperature: float) -> list[Table]:
    """All tables of a temperature, without those that would be empty."""
    overall = [(method, figures[key]) for method in plan.methods if (key := Key(temperature, method.name, OVERALL)) in figures]
    at = f"at temperature {temperature:g}"
    made = [
        Table(f"Speed {at}", SPEED, tuple(_speed(method, each) for method, each in overall)),
        Table(f"Rounds {at}", ROUNDS, tuple(_rounds(method, each) for method, each in overall)),
        _by_category(plan, figures, temperature, f"Speedup by category {at}"),
        _by_position(overall, f"Acceptance by position {at}"),
    ]
    return [table for table in made if table.rows]


def _speed(method: Method, figures: Figures) -> tuple[str, ...]:
    speedup = figures.speedup if method.name != PLAIN else None
    return (
        method.name,
        f"{figures.tokens_per_second.median:.1f}",
        f"{speedup.median:.2f}x" if speedup else NOTHING,
        f"{speedup.low:.2f} to {speedup.high:.2f}" if speedup else NOTHING,
        NOTHING if figures.predicted_speedup is None else f"{figures.predicted_speedup:.2f}x",
        f"{figures.first_token_ms.median:.1f}",
        f"{figures.inter_token_ms:.2f}",
        f"{figures.inter_token_p95_ms:.2f}",
        f"{figures.inter_token_p99_ms:.2f}",
    )


def _rounds(method: Method, figures: Figures) -> tuple[str, ...]:
    """Milliseconds are per round, with their share of it; transformers' rounds are not taken apart."""
    parts = (figures.draft_ms, figures.verify_ms, figures.host_ms)
    whole = sum(parts)
    return (
        method.name,
        f"{figures.rounds}",
        f"{figures.tokens_per_round:.2f}",
        NOTHING if figures.acceptance is None else _percent(figures.acceptance),
        f"{whole:.2f}",
        *(f"{part:.2f} ({_percent(part / whole)})" if method.engine == "specdec" else NOTHING for part in parts),
    )


def _by_category(plan: BenchPlan, figures: Mapping[Key, Figures], temperature: float, title: str) -> Table:
    measured = {key.category for key in figures}
    categories = [category for category in dict.fromkeys(prompt.category for prompt in plan.prompts) if category in measured]
    columns = (*categories, OVERALL)

    def cell(method: Method, category: str) -> str:
        found = figures.get(Key(temperature, method.name, category))
        return f"{found.speedup.median:.2f}x" if found and found.speedup else NOTHING

    return Table(title, ("method", *columns), _filled(plan, lambda method: tuple(cell(method, category) for category in columns)))


def _filled(plan: BenchPlan, cells: Callable[[Method], tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """A row for each method but plain decoding that has any figure."""
    rows = [(method.name, *cells(method)) for method in plan.methods if method.name != PLAIN]
    return tuple(row for row in rows if set(row[1:]) != {NOTHING})


def _by_position(overall: list[tuple[Method, Figures]], title: str) -> Table:
    longest = max((len(figures.acceptance_by_position) for _, figures in overall), default=0)
    header = ("method", *(f"{position}" for position in range(1, longest + 1)))
    rows = [(method.name, [_percent(rate) for rate in figures.acceptance_by_position]) for method, figures in overall]
    return Table(title, header, tuple((name, *cells, *[NOTHING] * (longest - len(cells))) for name, cells in rows if cells))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
