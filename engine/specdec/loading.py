"""load_pair: from two sources to a target, its drafters and a calibrated controller, ready to answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from specdec.architecture import ModelConfig, read_config
from specdec.calibration import calibrate, choose_threads
from specdec.checkpoint import Version, load_weights
from specdec.compatibility import check_pair
from specdec.drafting.controller import Controller, Costs
from specdec.drafting.model import ModelDrafter
from specdec.drafting.ngram import NGramDrafter
from specdec.errors import CheckpointError, HubError, IncompatibleDraftError, MemoryShortError, SpecError
from specdec.events import Ready
from specdec.exactness import Exactness, choose_execution
from specdec.hub import locate
from specdec.machine import pick_device
from specdec.memory import (
    DTYPE_BYTES,
    Draft,
    Memory,
    PairNeed,
    Stored,
    comfortable_context,
    free_memory,
    judge,
    pair_need,
    require,
    resolve_dtype,
    size_text,
)
from specdec.model.decoder import Decoder, Weights
from specdec.model.int4 import Backend, choose_backend
from specdec.model.linear import full_precision
from specdec.options import LoadOptions
from specdec.passes import CudaRecorder, recorder_for
from specdec.target import Target, padded_capacity
from specdec.text import TextCodec

INT4: Literal["int4"] = "int4"
SIBLING: Literal["sibling"] = "sibling"
WORTHWHILE_TIME = 0.7
Report = Callable[[str, int, int], None]


def unheard(stage: str, done: int, total: int) -> None:
    """The `report` of a load that nobody watches."""


@dataclass
class Pair:
    """A target with what drafts for it, calibrated and ready; `ready` says how it runs, `costs` is what calibration measured."""

    target: Target
    drafter: ModelDrafter | None
    ngram: NGramDrafter
    costs: Costs
    controller: Controller
    codec: TextCodec
    exactness: Exactness
    ready: Ready


def load_pair(options: LoadOptions, report: Report = unheard) -> Pair:
    """Load what the options name from disk; `report` gets a stage, what is done and all there is to do: bytes of weights.

    A draft that cannot serve its target is left out, with a warning in `ready`. Raises the typed errors of hub, checkpoint,
    architecture and memory for everything else.
    """
    began = time.perf_counter()
    device = pick_device(options.device)
    dtype_name = resolve_dtype(options.dtype, "cpu" if device.type == "cpu" else "gpu")
    dtype: torch.dtype = getattr(torch, dtype_name)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    directory = locate(options.target)
    config = read_config(directory)
    codec = TextCodec(directory)
    warnings = list(codec.warnings)
    plan = _plan_draft(options.draft, directory, config, device, dtype)
    place = free_memory(str(device))
    limit = config.max_positions
    context = min(limit, options.context or comfortable_context(config, plan.need, place, dtype_name) or limit)
    if options.context is not None and options.context > limit:
        warnings.append(f"The model reads at most {limit} tokens, so the context is {limit} instead of {options.context}.")
    elif options.context is None and context < limit:
        warnings.append(f"Memory comfortably holds a context of {context} of the {limit} tokens that the model reads.")
    need = pair_need(config, plan.need, context, dtype_name, place.device)
    require(need, place, config, plan.need, dtype_name)

    copies: list[Version] = [plan.backend.layer] if plan.backend and plan.kind == INT4 else []
    weights = load_weights(directory, config, dtype, device, [full_precision, *copies], lambda done, total: report("target", done, total))
    target = Target(Decoder(config, weights[0], padded_capacity(context)), context, record=recorder_for(device))
    plan, drafter = _load_draft(plan, target, report, weights[1:])
    report("calibration", 0, 1)
    threads = options.threads or choose_threads(target, options.spare_cores)
    exactness = choose_execution(target, options.exact)
    target.execution = exactness.execution
    ready = Ready(
        target=options.target,
        dtype=dtype_name,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=threads,
        context=context,
        exact=exactness.exact,
        exact_reason=exactness.reason,
        thinking=codec.thinking,
        load_ms=0.0,
        memory_bytes=need.total,
        warnings=tuple(warnings),
    )
    return _calibrated(target, drafter, NGramDrafter(), codec, exactness, plan.tell(ready), began)


def with_draft(pair: Pair, draft: str, report: Report = unheard) -> Pair:
    """A pair that was loaded without a draft, and one that drafts for the same target; the pair itself stays as it is.

    They share all but the draft, the costs and the controller, so only one of them may answer at a time. A draft that cannot serve
    or does not fit into the free memory is left out as in `load_pair`.
    """
    began = time.perf_counter()
    target, ready = pair.target, pair.ready
    decoder = target.decoder
    place = free_memory(str(decoder.device))

    def need(draft: Draft) -> PairNeed:
        return pair_need(decoder.config, draft, target.context, stored_name(decoder.dtype), place.device)

    plan = _plan_draft(draft, locate(ready.target), decoder.config, decoder.device, decoder.dtype)
    try:
        require_beside(f"The draft {draft}", need(plan.need).total - need(None).total, place)
    except MemoryShortError as error:
        plan = plan.without(error)
    plan, drafter = _load_draft(plan, target, report)
    report("calibration", 0, 1)
    ready = plan.tell(ready.model_copy(update={"memory_bytes": need(plan.need).total}))
    return _calibrated(target, drafter, pair.ngram, pair.codec, pair.exactness, ready, began)


def require_beside(what: str, size: int, place: Memory) -> None:
    """Raise MemoryShortError if so many bytes more do not fit beside what is loaded."""
    if judge(PairNeed(size, 0, 0, 0), place) == "does not fit":
        where = "the GPU" if place.device == "gpu" else "memory"
        cause = f"{what} needs {size_text(size)} more and {where} has {size_text(place.free)} free."
        raise MemoryShortError(cause, "Free some memory, or measure without it.")


@dataclass(frozen=True)
class _DraftPlan:
    """Which model will draft: its kind, its directory and config (the target's own for an INT4 copy), and what multiplies in INT4.

    A sibling without a backend stays in full precision. `problem` is why there is no draft although `source` was asked for.
    """

    source: str | None
    directory: Path
    config: ModelConfig
    kind: Literal["int4", "sibling"] | None = None
    backend: Backend | None = None
    problem: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def need(self) -> Draft:
        """The draft as the memory estimate wants it."""
        return INT4 if self.kind == INT4 else self.config if self.kind else None

    def without(self, error: SpecError) -> _DraftPlan:
        """The plan to run without the draft that failed."""
        warnings = (*self.warnings, f"Running without the draft model. {error}")
        return replace(self, kind=None, backend=None, problem=error.cause, warnings=warnings)

    def tell(self, ready: Ready) -> Ready:
        """What is said of the target, and of the draft too."""
        update = {
            "draft": self.source if self.kind else None,
            "draft_kind": self.kind,
            "draft_backend": self.backend.name if self.backend else None,
            "draft_problem": self.problem,
            "warnings": ready.warnings + self.warnings,
        }
        return ready.model_copy(update=update)


def _plan_draft(draft: str | None, target: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> _DraftPlan:
    """Decide on the draft; one that is missing or does not fit its target becomes a warning and the plan's problem."""
    plan = _DraftPlan(draft, target, config)
    if draft is None:
        return plan
    try:
        if draft == INT4:
            return replace(plan, kind=INT4, backend=choose_backend(device.type, dtype))
        directory = locate(draft)
        compatibility = check_pair(target, directory)
        if not compatibility.usable:
            raise IncompatibleDraftError(f"The draft {directory.name} does not fit its target: {' '.join(compatibility.reasons)}")
        return _DraftPlan(draft, directory, read_config(directory), SIBLING, _quick_backend(device, dtype), "", compatibility.reasons)
    except (HubError, CheckpointError, IncompatibleDraftError) as error:
        return plan.without(error)


def _quick_backend(device: torch.device, dtype: torch.dtype) -> Backend | None:
    """An INT4 kernel for a sibling, where it is clearly faster; a draft's precision can cost acceptance, never text."""
    try:
        backend = choose_backend(device.type, dtype)
    except IncompatibleDraftError:
        return None
    return backend if backend.relative_time < WORTHWHILE_TIME else None


def _load_draft(
    plan: _DraftPlan, target: Target, report: Report, weights: Sequence[Weights] = ()
) -> tuple[_DraftPlan, ModelDrafter | None]:
    """The planned drafter, if any, made of `weights` or read from disk; files that cannot be read become the plan's problem."""
    if plan.kind is None:
        return plan, None
    config, decoder = plan.config, target.decoder
    layer = plan.backend.layer if plan.backend else full_precision
    try:
        (found,) = weights or load_weights(
            plan.directory, config, decoder.dtype, decoder.device, [layer], lambda done, total: report("draft", done, total)
        )
    except CheckpointError as error:
        return plan.without(error), None
    if plan.kind == INT4:
        copy = decoder.sharing(replace(found, embedding=decoder.weights.embedding))
        return plan, ModelDrafter(INT4, copy, config.vocab_size, target.context, target.cache, target.passes.record)
    capacity = min(target.context, config.max_positions)
    vocabulary = min(config.vocab_size, decoder.config.vocab_size)
    return plan, ModelDrafter(SIBLING, Decoder(config, found, capacity), vocabulary, capacity, record=target.passes.record)


def _calibrated(
    target: Target,
    drafter: ModelDrafter | None,
    ngram: NGramDrafter,
    codec: TextCodec,
    exactness: Exactness,
    ready: Ready,
    began: float,
) -> Pair:
    """The pair, with the costs measured and the time that loading took since `began`."""
    costs = calibrate(target, [ngram] if drafter is None else [ngram, drafter])
    record, warnings = target.passes.record, ready.warnings
    if isinstance(record, CudaRecorder) and record.problem is not None:
        warnings = (*warnings, f"Running without CUDA graphs, which is slower: {record.problem}")
    ready = ready.model_copy(update={"load_ms": (time.perf_counter() - began) * 1000, "warnings": warnings})
    return Pair(target, drafter, ngram, costs, Controller(costs), codec, exactness, ready)


def stored_name(dtype: torch.dtype) -> Stored:
    """The name of a dtype."""
    return next(name for name in DTYPE_BYTES if getattr(torch, name) == dtype)
