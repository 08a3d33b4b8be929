"""Carrying out a benchmark: every method answers every prompt in turn, in one process beside one target."""

from __future__ import annotations

import hashlib
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import product
from typing import TYPE_CHECKING

import torch

from specdec import __version__
from specdec.benchmark.answering import Answerer, Question, pair_answerer
from specdec.benchmark.fitting import fitted
from specdec.benchmark.plan import BenchPlan, BenchPrompt, Environment, Method
from specdec.calibration import available_cores
from specdec.errors import ContextFullError, SpecError, UsageError
from specdec.events import BenchDone, BenchStarted, Event, Measured, Ready
from specdec.loading import Pair, Report, load_pair, with_draft
from specdec.machine import processor
from specdec.options import Sampling
from specdec.text import require_room

if TYPE_CHECKING:
    from specdec.benchmark.reference import Reference

NO_DRAFT = ""


@dataclass(frozen=True)
class _Prompt:
    """A prompt with its tokens, how many of them may be answered, and its seed."""

    prompt: BenchPrompt
    tokens: tuple[int, ...]
    max_tokens: int
    seed: int

    def question(self, temperature: float) -> Question:
        """The question it is at a temperature; what else there is to sampling is the model's own."""
        return Question(self.prompt.messages, self.tokens, self.max_tokens, Sampling(temperature=temperature, seed=self.seed))


def run(plan: BenchPlan, report: Report, stopped: Callable[[], bool]) -> Iterator[Event]:
    """Load what the plan names, then yield `bench_started`, a `measured` for each answer and `bench_done`.

    `report` hears of the loading; `stopped` is asked between answers. A method that cannot run here is left out, with the reason in
    `bench_started`. Raises the typed errors of `load_pair`, and of a prompt that cannot be answered, before anything is measured.
    """
    pair = load_pair(plan.load.model_copy(update={"draft": None}), report)
    prompts = [_prepared(prompt, plan, pair) for prompt in plan.prompts]
    answerers, loaded, left_out = _engines(plan.methods, pair, report)
    answers = (plan.repeats + 1) * len(plan.temperatures) * len(prompts) * len(answerers)
    cut = tuple(prepared.prompt.id for prepared, prompt in zip(prompts, plan.prompts, strict=True) if prepared.prompt != prompt)
    yield BenchStarted(environment=_environment(loaded), loaded=loaded, left_out=left_out, cut=cut, answers=answers)
    for repeat, temperature, prompt, method in _turns(plan, prompts, list(answerers)):
        if stopped():
            yield BenchDone(stopped=True)
            return
        answer = answerers[method](prompt.question(temperature))
        yield Measured(
            method=method,
            temperature=temperature,
            prompt=prompt.prompt.id,
            category=prompt.prompt.category,
            repeat=repeat,
            memory_bytes=_peak_memory(pair.target.decoder.device),
            **vars(answer),
        )
    yield BenchDone(stopped=False)


def order(methods: Sequence[str], repeat: int) -> list[str]:
    """The methods as they take turns in a repeat: forwards, then backwards, then both from one method further on, and so on.

    If they only moved up by one, each would still follow the same one, and find the machine as that one leaves it.
    """
    first = repeat // 2 % len(methods)
    forwards = [*methods[first:], *methods[:first]]
    return forwards[::-1] if repeat % 2 else forwards


def _turns(plan: BenchPlan, prompts: Sequence[_Prompt], methods: Sequence[str]) -> Iterator[tuple[int, float, _Prompt, str]]:
    """Repeat (0 is the warm-up), temperature, prompt and method of each answer."""
    for repeat in range(plan.repeats + 1 if methods else 0):
        for turn in product(plan.temperatures, prompts, order(methods, repeat)):
            yield repeat, *turn


def _prepared(prompt: BenchPrompt, plan: BenchPlan, pair: Pair) -> _Prompt:
    """A prompt, cut where it is too long, with room for its answer.

    Raises ContextFullError or UsageError, naming it, if it cannot be answered.
    """
    context = pair.target.context
    room = context - min(plan.max_tokens, context // 2)
    try:
        messages = fitted(prompt.messages, room, lambda messages: len(pair.codec.render(messages)))
        prompt = prompt.model_copy(update={"messages": messages})
        tokens = pair.codec.render(prompt.messages)
        require_room(len(tokens), context)
    except (ContextFullError, UsageError) as error:
        raise type(error)(f"Prompt {prompt.id}: {error.cause}", error.next_step) from error
    return _Prompt(prompt, tuple(tokens), min(plan.max_tokens, context - len(tokens)), seed(plan.seed, prompt))


def seed(base: int, prompt: BenchPrompt) -> int:
    """The seed of a prompt's answers, which depends on its text but neither on its place nor on the method."""
    text = "\n".join((str(base), *(f"{message.role}: {message.content}" for message in prompt.messages)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _engines(methods: Sequence[Method], pair: Pair, report: Report) -> tuple[dict[str, Answerer], dict[str, Ready], dict[str, str]]:
    """How each method that can run here answers, what was loaded by draft source, and why the other methods are left out."""
    pairs = {NO_DRAFT: pair}
    for method in methods:
        if method.engine == "specdec" and method.draft and method.draft not in pairs:
            pairs[method.draft] = with_draft(pair, method.draft, report)
    answerers: dict[str, Answerer] = {}
    left_out: dict[str, str] = {}
    reference: Reference | None = None
    for method in methods:
        try:
            if method.engine == "transformers":
                from specdec.benchmark.reference import Reference

                reference = reference or Reference(pair, report)
                answerers[method.name] = reference.answerer(method)
            else:
                answerers[method.name] = pair_answerer(pairs[method.draft or NO_DRAFT], method.drafting)
        except SpecError as error:
            left_out[method.name] = error.cause
    return answerers, {source: each.ready for source, each in pairs.items() if not each.ready.draft_problem}, left_out


def _environment(loaded: Mapping[str, Ready]) -> Environment:
    """Where this runs, and how the target does."""
    target = loaded[NO_DRAFT]
    backends = (ready.draft_backend for ready in loaded.values())
    return Environment(
        processor=processor(),
        device=target.device,
        cores=available_cores(),
        threads=target.threads,
        dtype=target.dtype,
        exact=target.exact,
        exact_reason=target.exact_reason,
        int4_backend=next((backend for backend in backends if backend), None),
        versions={
            "specdec": __version__,
            "torch": torch.__version__,
            "transformers": metadata.version("transformers"),
            "python": platform.python_version(),
        },
    )


def _peak_memory(device: torch.device) -> int:
    """The most bytes this process has held so far on a device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
