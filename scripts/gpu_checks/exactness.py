"""Stage `exactness`: which execution is exact here and what it costs, and whether every drafter then gives plain decoding's answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from gpu_checks.answering import Answered, DrawnLengths, NoisyOracle, answer
from gpu_checks.demo import load_demo
from gpu_checks.findings import Findings
from gpu_checks.forward import ENGINE, HOWS, forward_pass, target_ways, with_graph
from gpu_checks.goals import EXACT_COST, IDENTICAL
from gpu_checks.setup import DtypeName, Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B
from gpu_checks.synthetic import random_decoder
from gpu_checks.timing import Call, interleaved_ms
from specdec.benchmark.fitting import fitted
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.drafting.base import Drafter
from specdec.drafting.ngram import NGramDrafter
from specdec.exactness import PADDED, Exactness, choose_execution, considered, probe_tokens
from specdec.loading import Pair
from specdec.options import Sampling
from specdec.passes import recorder_for
from specdec.target import TILE, Target

TEMPERATURES = (0.0, 0.7)
STEP_ROWS = (1, 5, 16)
ORACLE_ERRORS = 0.25


@dataclass
class Count:
    """How many answers of one drafter equal plain decoding's, in tokens and in every bit of the logits."""

    answers: int = 0
    same_tokens: int = 0
    same_logits: int = 0
    tested: int = 0
    accepted: int = 0

    def add(self, plain: Answered, other: Answered) -> None:
        """Count an answer."""
        self.answers += 1
        self.same_tokens += plain.tokens == other.tokens
        self.same_logits += torch.equal(plain.logits, other.logits)
        self.tested += sum(round_.tested for round_ in other.rounds)
        self.accepted += sum(round_.accepted for round_ in other.rounds)


def measure(setup: Setup, findings: Findings) -> None:
    """The demo pair and two synthetic shapes, each in every dtype; the goal counts all their answers."""
    counts: list[Count] = []
    for dtype in setup.dtypes:
        findings.part(f"demo pair, {dtype}", partial(_demo, setup, findings, dtype, counts))
    for name in (LLAMA_8B, LLAMA_1B):
        for dtype in setup.dtypes:
            findings.part(f"{name}, {dtype}", partial(_synthetic, setup, findings, name, dtype, counts))
    answers = sum(count.answers for count in counts)
    if answers:
        findings.goal(IDENTICAL, f"{answers} answers, every token", sum(count.same_tokens for count in counts) / answers)
        findings.goal(IDENTICAL, f"{answers} answers, every bit of the logits", sum(count.same_logits for count in counts) / answers)


def _demo(setup: Setup, findings: Findings, dtype: DtypeName, counts: list[Count]) -> None:
    pair, drafters = load_demo(setup, findings, dtype)
    _execution(setup, findings, f"demo pair, {dtype}", pair.target, pair.exactness)
    drafters["all of them"] = [drafter for own in drafters.values() for drafter in own]
    max_tokens = 16 if setup.tiny else 64
    prompts = _prompts(pair, 1 if setup.tiny else 2, max_tokens)
    _identity(
        findings, f"demo pair, {dtype}", pair.target, drafters, prompts[-2:] if setup.tiny else prompts, pair.codec.eos, max_tokens, counts
    )


def _prompts(pair: Pair, per_category: int, max_tokens: int) -> list[list[int]]:
    """Prompts of every category, from a line to as much as the context holds."""
    room = pair.target.context - max_tokens
    chosen = choose(read_prompts(OWN_PROMPTS), per_category=per_category)
    return [pair.codec.render(fitted(prompt.messages, room, lambda messages: len(pair.codec.render(messages)))) for prompt in chosen]


def _synthetic(setup: Setup, findings: Findings, name: str, dtype: DtypeName, counts: list[Count]) -> None:
    lengths = (TILE - 9, 2 * TILE + 3) if setup.tiny else (TILE - 9, 1000, 8000)
    max_tokens = 16 if setup.tiny else 48
    context = max(lengths) + max_tokens
    decoder = random_decoder(setup.shape(name), getattr(torch, dtype), setup.device, context)
    target = Target(decoder, context, record=recorder_for(setup.device))
    exactness = choose_execution(target, "on")
    target.execution = exactness.execution
    what = f"{name}, {dtype}"
    _execution(setup, findings, what, target, exactness)
    prompts = [probe_tokens(target, length) for length in lengths]
    _identity(findings, what, target, {"ngram": [NGramDrafter()]}, prompts, (), max_tokens, counts)


def _execution(setup: Setup, findings: Findings, what: str, target: Target, exactness: Exactness) -> None:
    """What exact mode found, and at a short context the time of its steps against the fastest execution's, and of all it may choose."""
    start = min(target.context - max(STEP_ROWS), setup.contexts[0]) // TILE * TILE
    target.cache.rows.normal_()
    tried = [execution for execution in considered(target) if not execution.serial_attention]
    kinds = {"fast": choose_execution(target, "off").execution, "exact": exactness.execution, "padded": PADDED}
    for rows in STEP_ROWS:
        ways: dict[str, Call] = {}
        for kind, execution in kinds.items():
            if not 0 < execution.padded_rows < rows:
                told = f"{what}, {kind}, rows {rows}"
                if execution.attention != "split" and execution.products == "library":
                    call = forward_pass(target.decoder, target.cache, rows, start, execution)
                    ways |= with_graph(setup, findings, call, told, f"{kind} ")
                ways |= target_ways(findings, target, execution, rows, start, told, f"{kind} ")
        for execution in tried:
            name = f"{execution} "
            ways |= target_ways(findings, target, execution, rows, start, f"{what}, {name}rows {rows}", name)
        found = interleaved_ms(setup.device, ways, setup.repeats)
        target.execution = exactness.execution
        for execution in tried:
            findings.add(
                "executions that exact mode considers",
                model=what,
                rows=rows,
                products=execution.products,
                attention=execution.attention,
                ms=found.get(f"{execution} {ENGINE}"),
            )
        for how in HOWS:
            times = {kind: found.get(f"{kind} {how}") for kind in kinds}
            fast, exact = times["fast"], times["exact"]
            if fast is None:
                continue
            cost = exact / fast if exact is not None else None
            findings.add(
                "exact mode", model=what, rows=rows, how=how, **{f"{kind}_ms": ms for kind, ms in times.items()}, exact_over_fast=cost
            )
            if rows == 1 and cost is not None:
                findings.goal(EXACT_COST, f"{what}, position {start}, {how}", cost)
    findings.add("what exact mode chose", model=what, execution=exactness.reason, prefill_matches=exactness.prefill_matches)


def _identity(
    findings: Findings,
    what: str,
    target: Target,
    drafters: dict[str, list[Drafter]],
    prompts: Sequence[list[int]],
    eos: Collection[int],
    max_tokens: int,
    counts: list[Count],
) -> None:
    """Every drafter, and one that proposes the answer itself with errors, against plain decoding, with random draft lengths."""
    vocabulary = target.decoder.config.vocab_size
    for temperature in TEMPERATURES:
        found = {name: Count() for name in (*drafters, NoisyOracle.name)}
        for seed, prompt in enumerate(prompts):
            sampling = Sampling(temperature=temperature, seed=seed)
            plain = answer(target, [], DrawnLengths(seed), prompt, sampling, eos, max_tokens)
            oracle = NoisyOracle([*prompt, *plain.tokens], vocabulary, ORACLE_ERRORS, seed)
            ways: dict[str, list[Drafter]] = {**drafters, NoisyOracle.name: [oracle]}
            for name, own in ways.items():
                found[name].add(plain, answer(target, own, DrawnLengths(seed), prompt, sampling, eos, max_tokens))
        for name, count in found.items():
            findings.add(
                "answers against plain decoding, random draft lengths", model=what, drafter=name, temperature=temperature, **vars(count)
            )
        counts.extend(found.values())
