"""The plots of a benchmark, one file a plot and format, with a panel for each temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from specchat.bench.outputs import write
from specdec.benchmark.plan import BenchPlan
from specdec.benchmark.summary import OVERALL, PLAIN, Figures, Key
from specdec.events import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "png")
PANEL_INCHES = (11.0, 4.0)
DOTS_PER_INCH = 150
STEPS = 20
Draw = Callable[["Axes", float], None]


def write_plots(folder: Path, plan: BenchPlan, figures: Mapping[Key, Figures], measured: Sequence[Measured]) -> list[Path]:
    """Draw the plots into a folder and return the files; raises SpecError where one cannot be written."""
    plots: dict[str, Draw] = {
        "speedup-by-category": lambda axes, heat: _speedups(axes, plan, figures, heat),
        "acceptance-by-position": lambda axes, heat: _acceptance(axes, plan, figures, heat),
        "tokens-per-round": lambda axes, heat: _tokens_per_round(axes, plan, measured, heat),
    }
    temperatures = [heat for heat in plan.temperatures if any(key.temperature == heat for key in figures)]
    return [path for name, draw in plots.items() for path in _write(folder, name, draw, temperatures)]


def tokens_per_round_over_time(answers: Sequence[Measured], steps: int = STEPS) -> tuple[list[float], list[float]]:
    """The mean tokens of the rounds that ended in each of some equal steps of decoding time, and the seconds at the steps' middles.

    Steps without a round are left out.
    """
    rounds: list[tuple[float, int]] = []
    for answer in answers:
        elapsed = 0.0
        for tokens, ms in zip(answer.round_tokens, answer.round_ms, strict=True):
            elapsed += ms / 1000
            rounds.append((elapsed, tokens))
    width = max((moment for moment, _ in rounds), default=0.0) / steps
    seconds, means = [], []
    for step in range(steps):
        inside = [tokens for moment, tokens in rounds if min(int(moment / width), steps - 1) == step] if width else []
        if inside:
            seconds.append((step + 0.5) * width)
            means.append(fmean(inside))
    return seconds, means


def _write(folder: Path, name: str, draw: Draw, temperatures: Sequence[float]) -> list[Path]:
    from matplotlib import color_sequences, rc_context
    from matplotlib.figure import Figure

    width, height = PANEL_INCHES
    with rc_context({"svg.hashsalt": name}):
        figure = Figure(figsize=(width, height * len(temperatures)), layout="constrained")
        for axes, temperature in zip(figure.subplots(len(temperatures), squeeze=False)[:, 0], temperatures, strict=True):
            axes.set_title(f"{name.replace('-', ' ')}, temperature {temperature:g}", parse_math=False)
            axes.set_prop_cycle(color=color_sequences["tab20"])
            draw(axes, temperature)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        paths = []
        for ending in FORMATS:
            image = BytesIO()
            figure.savefig(image, format=ending, dpi=DOTS_PER_INCH, metadata={"Date": None} if ending == "svg" else None)
            paths.append(folder / f"{name}.{ending}")
            write(paths[-1], image.getvalue())
    return paths


def _drafting(plan: BenchPlan) -> list[str]:
    return [method.name for method in plan.methods if method.name != PLAIN]


def _speedups(axes: Axes, plan: BenchPlan, figures: Mapping[Key, Figures], temperature: float) -> None:
    categories = [*dict.fromkeys(prompt.category for prompt in plan.prompts), OVERALL]
    names = [name for name in _drafting(plan) if Key(temperature, name, OVERALL) in figures]
    width = 0.8 / max(1, len(names))
    for index, name in enumerate(names):
        found = [figures.get(Key(temperature, name, category)) for category in categories]
        bars = [(place, each.speedup) for place, each in enumerate(found) if each and each.speedup]
        places = [place - 0.4 + (index + 0.5) * width for place, _ in bars]
        reach = [[spread.median - spread.low for _, spread in bars], [spread.high - spread.median for _, spread in bars]]
        axes.bar(places, [spread.median for _, spread in bars], width, yerr=reach, label=_label(name))
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(categories)), [_label(category) for category in categories], rotation=20, ha="right")
    axes.set_ylabel("times plain decoding (median, quartiles)")


def _acceptance(axes: Axes, plan: BenchPlan, figures: Mapping[Key, Figures], temperature: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for name in _drafting(plan):
        found = figures.get(Key(temperature, name, OVERALL))
        if found and found.acceptance_by_position:
            axes.plot(range(1, len(found.acceptance_by_position) + 1), found.acceptance_by_position, marker=".", label=_label(name))
    axes.set_xlabel("position in the draft")
    axes.set_ylabel("accepted of tested")
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _tokens_per_round(axes: Axes, plan: BenchPlan, measured: Sequence[Measured], temperature: float) -> None:
    for name in _drafting(plan):
        answers = [answer for answer in measured if (answer.method, answer.temperature) == (name, temperature) and answer.repeat > 0]
        seconds, means = tokens_per_round_over_time(answers)
        if seconds:
            axes.plot(seconds, means, marker=".", label=_label(name))
    axes.set_xlabel("seconds of decoding")
    axes.set_ylabel("mean tokens of a round")
    axes.set_ylim(bottom=0)


def _label(name: str) -> str:
    """A name as matplotlib shows it, which reads $ as the start of a formula and hides names that begin with an underscore."""
    return name.replace("$", r"\$").lstrip("_") or "unnamed"
