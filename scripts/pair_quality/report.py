"""The results as Markdown tables, short enough to read."""

from __future__ import annotations

from collections.abc import Sequence

from pair_quality import OVERALL
from pair_quality.acceptance import Acceptance, measure
from pair_quality.answering import Answer
from pair_quality.answers import survey
from pair_quality.evaluation import SAMPLED, TARGET, Results
from pair_quality.expected import judge
from results import table


def report(results: Results) -> str:
    """All tables, and the answers that are not the expected ones."""
    sections = [losses_table(results), acceptance_table(results), _categories(results), endings_table(results), _expected(results)]
    sections += [_others(category, answers) for category, answers in results.expected.items()]
    return "\n\n".join(sections)


def losses_table(results: Results) -> str:
    """Bits per byte by source and model."""
    losses = results.losses
    rows = []
    for source, loss in losses[TARGET].items():
        rows.append([source, f"{loss.turns:,}", f"{loss.bytes:,}", *(f"{own[source].bits_per_byte:.3f}" for own in losses.values())])
    return "## Bits per byte of what the assistant says\n\n" + table(["source", "turns", "bytes", *losses], rows)


def acceptance_table(results: Results) -> str:
    """Acceptance by position, of each drafter at each temperature, overall."""
    measured = {
        (drafter, temperature): measure(answers)[OVERALL]
        for drafter, own in results.answers.items()
        for temperature, answers in own.items()
    }
    longest = max(len(acceptance.tested) for acceptance in measured.values())
    rows = []
    for (drafter, temperature), acceptance in measured.items():
        rates = [f"{rate:.2f}" for rate in acceptance.by_position]
        rates += ["-"] * (longest - len(rates))
        rows.append([drafter, f"{temperature}", *rates, rate(acceptance), f"{acceptance.mean_accepted_length:.2f}"])
    head = ["drafter", "temperature", *map(str, range(1, longest + 1)), "all", "mean accepted length"]
    return "## Acceptance rate by position in the draft\n\n" + table(head, rows)


def _categories(results: Results) -> str:
    """Acceptance and mean accepted length in each category."""
    columns = {
        f"{drafter}, {temperature}": measure(answers) for drafter, own in results.answers.items() for temperature, answers in own.items()
    }
    rows = []
    for category, selection in results.selections.items():
        count = f"{len(selection.prompts)}" + (f" ({selection.skipped} too long)" if selection.skipped else "")
        rows.append([category, count, *(_both(measured.get(category, Acceptance())) for measured in columns.values())])
    rows.append([OVERALL, f"{len(results.prompts)}", *(_both(measured[OVERALL]) for measured in columns.values())])
    title = "## Mean accepted length, and acceptance rate, by drafter and temperature"
    return f"{title}\n\n" + table(["category", "prompts", *columns], rows)


def endings_table(results: Results) -> str:
    """Whether sampled answers end, say anything and go round in circles; the same for all drafters."""
    answers = next(iter(results.answers.values()))[SAMPLED]
    rows = [
        [category, f"{own.answers}", f"{own.ended:.0%}", f"{own.empty:.0%}", f"{own.looping:.0%}", f"{own.mean_tokens:.0f}"]
        for category, own in survey(answers).items()
    ]
    head = ["category", "answers", "ended by itself", "empty", "in a loop", "mean tokens"]
    return f"## Answers at temperature {SAMPLED}\n\n" + table(head, rows)


def _expected(results: Results) -> str:
    """How many greedy answers are the expected ones, by kind."""
    rows = []
    for category, answers in results.expected.items():
        verdicts = judge(answers)
        for kind, verdict in verdicts.items():
            rows.append([f"{category}: {kind}", f"{len(verdict.right)}", f"{len(verdict.right) + len(verdict.others)}"])
        rows.append([f"all {category}", f"{sum(len(verdict.right) for verdict in verdicts.values())}", f"{len(answers)}"])
    return "## Greedy answers that are word for word the expected one\n\n" + table(["prompts", "as expected", "asked"], rows)


def _others(category: str, answers: Sequence[Answer]) -> str:
    """What was answered instead, to be judged by reading."""
    lines = []
    for answer in (answer for verdict in judge(answers).values() for answer in verdict.others):
        prompt = answer.prompt
        lines.append(f"- {_line(prompt.messages[-1].content)}")
        lines.append(f"  - expected: {_line(prompt.expected or '')}")
        lines.append(f"  - answer: {_line(answer.text)}")
    return f"## Other answers to {category}\n\n" + ("\n".join(lines) or "None.")


def _line(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split()) or "(empty)"


def rate(acceptance: Acceptance) -> str:
    """An acceptance rate, or a dash where nothing was drafted."""
    return "-" if acceptance.rate is None else f"{acceptance.rate:.2f}"


def _both(acceptance: Acceptance) -> str:
    return f"{acceptance.mean_accepted_length:.2f} ({rate(acceptance)})" if acceptance.rounds else "-"
