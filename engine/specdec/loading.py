"""load_pair: from two sources to a target, its drafters and a calibrated controller, ready to answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from specdec.architecture import ModelConfig, read_config
from specdec.calibration import calibrate, choose_threads
from specdec.checkpoint import Version, load_weights
from specdec.compatibility import check_pair
from specdec.drafting.controller import Controller
from specdec.drafting.model import ModelDrafter
from specdec.drafting.ngram import NGramDrafter
from specdec.errors import CheckpointError, HubError, IncompatibleDraftError, UsageError
from specdec.events import Ready
from specdec.exactness import Exactness, choose_execution
from specdec.hub import locate
from specdec.memory import Draft, free_memory, pair_need, require, resolve_dtype
from specdec.model.decoder import Decoder
from specdec.model.int4 import Backend, choose_backend
from specdec.model.linear import full_precision
from specdec.options import LoadOptions
from specdec.target import Target, padded_capacity
from specdec.text import TextCodec

INT4: Literal["int4"] = "int4"
SIBLING: Literal["sibling"] = "sibling"
WORTHWHILE_TIME = 0.7
Report = Callable[[str, int, int], None]


@dataclass
class Pair:
    """A target with what drafts for it, calibrated and ready; `ready` says how it runs."""

    target: Target
    drafter: ModelDrafter | None
    ngram: NGramDrafter
    controller: Controller
    codec: TextCodec
    exactness: Exactness
    ready: Ready


def load_pair(options: LoadOptions, report: Report = lambda stage, done, total: None) -> Pair:
    """Load what the options name from disk; `report` gets a stage, steps done and steps in all.

    A draft that cannot serve its target is left out, with a warning in `ready`. Raises the typed errors of hub, checkpoint,
    architecture and memory for everything else.
    """
    began = time.perf_counter()
    device = _device(options.device)
    dtype_name = resolve_dtype(options.dtype, "cpu" if device.type == "cpu" else "gpu")
    dtype: torch.dtype = getattr(torch, dtype_name)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    directory = locate(options.target)
    config = read_config(directory)
    codec = TextCodec(directory)
    warnings = list(codec.warnings)
    context = min(options.context or config.max_positions, config.max_positions)
    if options.context is not None and options.context > context:
        warnings.append(f"The model reads at most {context} tokens, so the context is {context} instead of {options.context}.")
    plan = _plan_draft(options.draft, directory, config, device, dtype, warnings)
    place = free_memory("cpu" if device.type == "cpu" else str(device))
    need = pair_need(config, plan.need, context, dtype_name, place.device)
    require(need, place, config, plan.need, dtype_name)

    copies: list[Version] = [plan.backend.layer] if plan.backend and plan.kind == INT4 else []
    weights = load_weights(directory, config, dtype, device, [full_precision, *copies], lambda done, total: report("target", done, total))
    target = Target(Decoder(config, weights[0], padded_capacity(context)), context)
    problem = plan.problem
    drafter = None
    if plan.kind == INT4:
        drafter = ModelDrafter(INT4, target.decoder.sharing(weights[1]), config.vocab_size, context, target.cache)
    elif plan.kind == SIBLING:
        try:
            drafter = _load_sibling(plan, target, report)
        except CheckpointError as error:
            warnings.append(f"Running without the draft model. {error}")
            problem = error.cause
    report("calibration", 0, 1)
    threads = options.threads or choose_threads(target, options.spare_cores)
    exactness = choose_execution(target, options.exact)
    target.execution = exactness.execution
    ngram = NGramDrafter()
    costs = calibrate(target, [ngram] if drafter is None else [ngram, drafter])
    ready = Ready(
        target=options.target,
        draft=options.draft if drafter else None,
        draft_kind=plan.kind if drafter else None,
        draft_backend=plan.backend.name if drafter and plan.backend else None,
        draft_problem=problem,
        dtype=dtype_name,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=threads,
        context=context,
        exact=exactness.exact,
        exact_reason=exactness.reason,
        thinking=codec.thinking,
        load_ms=(time.perf_counter() - began) * 1000,
        memory_bytes=need.total,
        warnings=tuple(warnings),
    )
    return Pair(target, drafter, ngram, Controller(costs), codec, exactness, ready)


@dataclass(frozen=True)
class _DraftPlan:
    """Which model will draft: its kind, its directory and config (the target's own for an INT4 copy), and what multiplies in INT4.

    A sibling without a backend stays in full precision. `problem` is why there is no draft although one was asked for.
    """

    directory: Path
    config: ModelConfig
    kind: Literal["int4", "sibling"] | None = None
    backend: Backend | None = None
    problem: str = ""

    @property
    def need(self) -> Draft:
        """The draft as the memory estimate wants it."""
        return INT4 if self.kind == INT4 else self.config if self.kind else None


def _plan_draft(
    draft: str | None, target: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype, warnings: list[str]
) -> _DraftPlan:
    """Decide on the draft; one that is missing or does not fit its target becomes a warning and the plan's problem."""
    none = _DraftPlan(target, config)
    if draft is None:
        return none
    try:
        if draft == INT4:
            return _DraftPlan(target, config, INT4, choose_backend(device.type, dtype))
        directory = locate(draft)
        compatibility = check_pair(target, directory)
        if not compatibility.usable:
            raise IncompatibleDraftError(f"The draft {directory.name} does not fit its target: {' '.join(compatibility.reasons)}")
        warnings.extend(compatibility.reasons)
        return _DraftPlan(directory, read_config(directory), SIBLING, _quick_backend(device, dtype))
    except (HubError, CheckpointError, IncompatibleDraftError) as error:
        warnings.append(f"Running without the draft model. {error}")
        return replace(none, problem=error.cause)


def _quick_backend(device: torch.device, dtype: torch.dtype) -> Backend | None:
    """An INT4 kernel for a sibling, where it is clearly faster; a draft's precision can cost acceptance, never text."""
    try:
        backend = choose_backend(device.type, dtype)
    except IncompatibleDraftError:
        return None
    return backend if backend.relative_time < WORTHWHILE_TIME else None


def _load_sibling(plan: _DraftPlan, target: Target, report: Report) -> ModelDrafter:
    config, decoder = plan.config, target.decoder
    capacity = min(target.context, config.max_positions)
    layer = plan.backend.layer if plan.backend else full_precision
    weights = load_weights(plan.directory, config, decoder.dtype, decoder.device, [layer], lambda done, total: report("draft", done, total))
    vocabulary = min(config.vocab_size, decoder.config.vocab_size)
    return ModelDrafter(SIBLING, Decoder(config, weights[0], capacity), vocabulary, capacity)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name) or (name != "cpu" and not torch.cuda.is_available()):
        raise UsageError(f"There is no device {name} here.", "Use cpu, or leave the choice to specchat.")
    return torch.device(name)
