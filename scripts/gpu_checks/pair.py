"""Stage `pair`: end to end on the demo pair at full size, every drafter and transformers' ways of decoding taking turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from gpu_checks.benching import Benched, bench, speed_ratio, tell
from gpu_checks.demo import TARGET_SOURCE
from gpu_checks.engine_process import Engine
from gpu_checks.findings import Findings
from gpu_checks.goals import AUTO_ASSISTED, AUTO_CHAT, AUTO_REPETITIVE, PLAIN_TRANSFORMERS
from gpu_checks.rounds import methods
from gpu_checks.setup import Setup
from gpu_checks.widened import SIBLING, TARGET, WIDENED, widened_pair
from specdec.benchmark.plan import BenchPlan, BenchPrompt, Method
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.benchmark.summary import PLAIN, TRANSFORMERS
from specdec.events import Chat, Done, Event, Load, Round
from specdec.options import Drafting, LoadOptions, Message, Sampling

STATIC, ASSISTED, LOOKUP = f"{TRANSFORMERS}-static", f"{TRANSFORMERS}-sibling", f"{TRANSFORMERS}-ngram"
CHAT, REPETITIVE, AGAIN = "chat", "repetitive", "asked again"
ASKED_AGAIN = (
    "Tell me a story about a small green boat.",
    "Write a story about a little robot who wants to learn how to swim.",
    "How does speculative decoding work?",
)
PER_CATEGORY = 3
ANSWER_TOKENS = 128
ASKING_SECONDS = 60.0
PLAIN_DRAFTING = Drafting(draft="off")


def measure(setup: Setup, findings: Findings) -> None:
    """Make the pair where it is not there, then measure until the stage's time is over."""
    folders: dict[str, Path] = {}
    findings.part(WIDENED, lambda: folders.update(widened_pair(setup, findings)))
    if folders:
        findings.part("end to end", partial(_measure, setup, findings, folders))


def all_methods(sibling: str) -> tuple[Method, ...]:
    """The engine's own methods and transformers'; that which has to be compiled first of all."""
    return (
        Method(name=STATIC, drafting=PLAIN_DRAFTING, engine="transformers", static_cache=True),
        *methods(sibling),
        Method(name=TRANSFORMERS, drafting=PLAIN_DRAFTING, engine="transformers"),
        Method(name=ASSISTED, drafting=Drafting(draft="model"), draft=sibling, engine="transformers"),
        Method(name=LOOKUP, drafting=Drafting(draft="ngram"), engine="transformers"),
    )


def prompts(setup: Setup) -> tuple[BenchPrompt, ...]:
    """Chat, what the engine's benchmark calls repetitive, and questions asked again, which the demo pair answers as it did before.

    The demo pair's answers to repetitive prompts are short. What it answered at first is asked of the pair itself.
    """
    per_category = 1 if setup.tiny else PER_CATEGORY
    own = choose(read_prompts(OWN_PROMPTS), (CHAT, REPETITIVE), per_category)
    with Engine() as engine:
        engine.send(Load(options=LoadOptions(target=TARGET_SOURCE, device="cpu", context=512)))
        deadline = time.perf_counter() + ASKING_SECONDS
        again = [_asked_again(engine, text, deadline) for text in ASKED_AGAIN[:per_category]]
    return (*own, *again)


def _asked_again(engine: Engine, text: str, deadline: float) -> BenchPrompt:
    question = Message(role="user", content=text)
    said: list[str] = []

    def hear(moment: float, event: Event) -> None:
        said.extend(run.text for run in (event.runs if isinstance(event, Round) else ()))

    engine.send(Chat(messages=(question,), sampling=Sampling(temperature=0), drafting=PLAIN_DRAFTING, max_tokens=ANSWER_TOKENS))
    engine.until(Done, deadline, hear)
    messages = (question, Message(role="assistant", content="".join(said)), question)
    return BenchPrompt(id=f"again: {text}", category=AGAIN, messages=messages)


def _measure(setup: Setup, findings: Findings, folders: Mapping[str, Path]) -> None:
    target, sibling = str(folders[TARGET]), str(folders[SIBLING])
    plan = BenchPlan(
        load=LoadOptions(target=target, dtype=setup.dtypes[0], device=str(setup.device), exact="on", context=512 if setup.tiny else None),
        methods=all_methods(sibling),
        repeats=1 if setup.tiny else 3,
        max_tokens=16 if setup.tiny else ANSWER_TOKENS,
        prompts=prompts(setup),
    )
    found = bench(plan, findings)
    if found.problem is not None and found.started is not None and not found.measured:
        findings.skip(STATIC, str(found.problem))
        found = bench(plan.model_copy(update={"methods": plan.methods[1:]}), findings)
    tell(found, findings, WIDENED)
    _tell_compiling(findings, found)
    _tell_goals(findings, found)
    if found.problem is not None:
        findings.fail("end to end", found.problem)


def _tell_compiling(findings: Findings, found: Benched) -> None:
    """The first answer with a static cache, during which transformers compiles the decoding step on a GPU, beside the last one."""
    answers = [answer for answer in found.measured if answer.method == STATIC]
    if len(answers) > 1:
        first, last = ((answer.statistics.first_token_ms + sum(answer.round_ms[1:])) / 1000 for answer in (answers[0], answers[-1]))
        findings.add("transformers with a static cache", first_answer_seconds=first, last_answer_seconds=last)


def _tell_goals(findings: Findings, found: Benched) -> None:
    goals = (
        (AUTO_CHAT, "auto", PLAIN, CHAT),
        (AUTO_REPETITIVE, "auto", PLAIN, REPETITIVE),
        (AUTO_REPETITIVE, "auto", PLAIN, AGAIN),
        (PLAIN_TRANSFORMERS, PLAIN, TRANSFORMERS, None),
        (AUTO_ASSISTED, "auto", ASSISTED, None),
    )
    for key, method, other, category in goals:
        ratio = speed_ratio(found.measured, method, other, category)
        if ratio is not None:
            findings.goal(key, f"{WIDENED}, greedy, {category or 'all'} prompts", ratio)
