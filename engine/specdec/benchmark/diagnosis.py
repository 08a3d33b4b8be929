"""Why speculation gains little, from what was measured: the classic reasons, each with its figure and a next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from specdec.benchmark.balance import Balance, Bottleneck, Loss
from specdec.benchmark.summary import OVERALL, PLAIN, TRANSFORMERS, Figures, Key
from specdec.machine_facts import MachineFacts
from specdec.memory import Memory, PairNeed, judge, size_text

AUTO = "auto"
WORTHWHILE = 1.1
EXPLANATIONS: dict[Loss, tuple[str, str, str]] = {
    "draft": (
        "draft too slow",
        "Drafting takes more time than the accepted tokens save.",
        "Pick a smaller draft with --draft-model, or draft fewer tokens a round with --draft-tokens.",
    ),
    "verify": (
        "verify too dear",
        "The target takes much longer for the rows of a draft than for one row, so testing drafted tokens is dear.",
        "Draft fewer tokens a round with --draft-tokens; where exact mode pads every round, --exact off shows what that costs.",
    ),
    "host": (
        "host time too large",
        "The time outside drafting and verifying, which no model uses, eats the gain.",
        "Close other programs that use the processor; a target whose steps are longer than that time gains more.",
    ),
    "refused": (
        "acceptance too low",
        "The target refuses too many drafted tokens for what a round costs here.",
        "Pick a draft that agrees more with the target through --draft-model, such as int4, or draft fewer tokens a round.",
    ),
    "undrafted": (
        "too few drafts",
        "Most rounds have nothing to verify but the target's own token: little of the text repeats, or drafting was found not to pay.",
        "Use this way of drafting for text that repeats itself, and a draft model (--draft model) for other text.",
    ),
}
COSTS: dict[Loss, str] = {
    "draft": "drafting costs {:.2f} plain steps a round",
    "verify": "verifying a draft costs {:.2f} plain steps more than a plain step",
    "host": "the host takes {:.2f} plain steps a round more than in plain decoding",
}


@dataclass(frozen=True)
class Finding:
    """One reason: its short name, the figure that shows it, what it means, and what to do."""

    name: str
    measured: str
    sentence: str
    next_step: str


def diagnose(
    figures: Mapping[Key, Figures], temperature: float, facts: MachineFacts | None = None, need_bytes: int | None = None
) -> list[Finding]:
    """What holds speculation back at one temperature; empty where it gains what it can.

    First memory, then text for which another draft is a tenth faster than both plain decoding and what is used by default: `auto`,
    or the best overall where that was not measured. Where the default gains less than a tenth over plain decoding, each forced way
    of drafting that does no better has the loss that would have to shrink least, the one nearest to paying first.
    """
    findings = list(_memory(facts, need_bytes)) if facts and need_bytes is not None else []
    here = {key: found for key, found in figures.items() if key.temperature == temperature and _judged(key, found)}
    overall = {key.method: found for key, found in here.items() if key.category == OVERALL}
    if not overall:
        return findings
    default = AUTO if AUTO in overall else max(overall, key=lambda method: _speedup(overall[method]))
    findings += _better_drafts(here, default)
    if _speedup(overall[default]) < WORTHWHILE:
        plain = figures[Key(temperature, PLAIN, OVERALL)]
        forced = {method: found for method, found in overall.items() if method != AUTO} or overall
        findings += _losses({method: found for method, found in forced.items() if _speedup(found) < WORTHWHILE}, plain)
    return findings


def _judged(key: Key, found: Figures) -> bool:
    """Whether these are figures of this engine's speculation, measured beside plain decoding."""
    return key.method != PLAIN and not key.method.startswith(TRANSFORMERS) and found.speedup is not None


def _speedup(found: Figures) -> float:
    assert found.speedup is not None
    return found.speedup.median


def _memory(facts: MachineFacts, need_bytes: int) -> Iterator[Finding]:
    memory = _place(facts)
    fit = judge(PairNeed(need_bytes, 0, 0, 0), memory)
    if fit == "fits":
        return
    where = "GPU memory" if memory.device == "gpu" else "memory"
    does = "does not fit" if fit == "does not fit" else "leaves less than a tenth of what is free, so anything else may push it out"
    yield Finding(
        "memory short",
        f"{size_text(need_bytes)} needed, {size_text(memory.free)} of {where} free",
        f"The pair {does}.",
        "Lower --context, use a lighter draft, close what else uses the memory, or pick a smaller pair: `specchat pairs` lists them.",
    )


def _place(facts: MachineFacts) -> Memory:
    """The memory of the device that would be used."""
    if not facts.device.startswith("cuda"):
        return Memory("cpu", facts.free_bytes, facts.total_bytes)
    gpu = facts.gpus[int(facts.device.partition(":")[2] or 0)]
    return Memory("gpu", gpu.free_bytes, gpu.total_bytes)


def _better_drafts(here: Mapping[Key, Figures], default: str) -> Iterator[Finding]:
    """For each other method, the text where it is the best and beats the default and plain decoding by a tenth; overall covers all.

    The quartiles of the two methods must be apart too.
    """
    beaten: dict[str, list[Key]] = {}
    for key, used in here.items():
        if key.method != default:
            continue
        rivals = [other for other in here if (other.category, other.temperature) == (key.category, key.temperature)]
        best = max(rivals, key=lambda other: _speedup(here[other]))
        ours, theirs = used.speedup, here[best].speedup
        if ours and theirs and theirs.median >= WORTHWHILE * max(ours.median, 1.0) and theirs.low > ours.high:
            beaten.setdefault(best.method, []).append(best)
    for method, keys in beaten.items():
        shown = [key for key in keys if key.category == OVERALL] or keys
        gains = [(key.category, _speedup(here[key]), _speedup(here[Key(key.temperature, default, key.category)])) for key in shown]
        yield Finding(
            "wrong draft for this text",
            "; ".join(f"{category}: {method} {theirs:.2f}x, {default} {ours:.2f}x" for category, theirs, ours in gains),
            f"For such text {method} gains more than {default}.",
            f"Choose {method}: --draft says which kind drafts, --draft-model which model.",
        )


def _losses(methods: Mapping[str, Figures], plain: Figures) -> list[Finding]:
    found: list[tuple[float, Finding]] = []
    for method, figures in methods.items():
        if figures.acceptance is None:
            found.append((0.0, _finding("undrafted", f"{method} gains {_speedup(figures):.2f}x: no draft in {figures.rounds} rounds")))
            continue
        balance = Balance.of(figures, plain)
        if balance.speedup < WORTHWHILE:
            worst = balance.bottleneck(WORTHWHILE, 1 - figures.acceptance)
            found.append((worst.staying, _finding(worst.loss, f"{method} gains {_speedup(figures):.2f}x: {_figure(worst)}")))
    return [finding for _, finding in sorted(found, key=lambda each: -each[0])]


def _finding(loss: Loss, measured: str) -> Finding:
    name, sentence, next_step = EXPLANATIONS[loss]
    return Finding(name, measured, sentence, next_step)


def _figure(worst: Bottleneck) -> str:
    """The loss as measured and as it would have to be, in the words of what is reported elsewhere."""
    size, allowed = worst.size, worst.allowed
    match worst.loss:
        case "refused":
            measured = f"{1 - size:.0%} of the tested tokens accepted"
            needed = f"at least {1 - allowed:.0%} needed" if allowed is not None else ""
        case "undrafted":
            measured = f"a draft in about {1 - size:.0%} of the rounds"
            needed = f"at least {1 - allowed:.0%} needed" if allowed is not None else ""
        case loss:
            measured = COSTS[loss].format(size)
            needed = f"at most {allowed:.2f} allowed" if allowed is not None else ""
    return f"{measured}, {needed} for a gain of a tenth" if needed else f"{measured}; no change of that alone gives a gain of a tenth"
