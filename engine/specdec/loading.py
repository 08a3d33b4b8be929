"""load_pair: from two sources to a target, its drafters and a calibrated controller, ready to answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from specdec.architecture import ModelConfig, read_config
from specdec.calibration import calibrate, choose_threads
from specdec.checkpoint import load_weights
from specdec.draft_plan import SIBLING, DraftPlan, other_needs, plan_draft
from specdec.drafting.controller import Controller, Costs
from specdec.drafting.model import ModelDrafter
from specdec.drafting.ngram import NGramDrafter
from specdec.errors import CheckpointError, MemoryShortError
from specdec.events import Ready
from specdec.exactness import Exactness, choose_execution
from specdec.free_memory import free_memory
from specdec.hub import locate
from specdec.machine import pick_device
from specdec.memory import (
    DTYPE_BYTES,
    INT4,
    INT4_SHARED_HEAD,
    INT8,
    Memory,
    PairNeed,
    PairShape,
    Stored,
    Way,
    comfortable_context,
    judge,
    pair_need,
    place_text,
    require,
    resolve_dtype,
    size_text,
)
from specdec.model.decoder import Decoder, Weights
from specdec.model.int8 import int8
from specdec.model.linear import full_precision
from specdec.options import LoadOptions
from specdec.passes import CudaRecorder, recorder_for
from specdec.target import Target, padded_capacity, prefill_tile_of
from specdec.text import TextCodec

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
    plan = plan_draft(options.draft, directory, config, device, dtype)
    place = free_memory(str(device))
    limit = config.max_positions
    shape = _shape(plan, config, dtype_name, place, options.dtype == INT8)
    context = min(limit, options.context or comfortable_context(shape, place) or limit)
    if options.context is not None and options.context > limit:
        warnings.append(f"The model reads at most {limit} tokens, so the context is {limit} instead of {options.context}.")
    elif options.context is None and context < limit:
        warnings.append(f"Memory comfortably holds a context of {context} of the {limit} tokens that the model reads.")
    others = other_needs(options.draft, options.other_drafts)
    need = require(shape, Way(plan.source if plan.kind else None, shape.int8), others, context, place)
    if shape.int8:
        warnings.append("The target's weights are rounded to 8 bits, so its text is not that of full precision.")

    versions = [int8 if shape.int8 else full_precision, *plan.copies]
    weights = load_weights(directory, config, dtype, device, versions, lambda done, total: report("target", done, total))
    target = Target(Decoder(config, weights[0], padded_capacity(context, prefill_tile_of(device))), context, record=recorder_for(device))
    plan, drafter = _load_draft(plan, target, report, weights[1:])
    report("calibration", 0, 1)
    threads = options.threads or choose_threads(target, options.spare_cores)
    exactness = choose_execution(target, options.exact)
    target.execution = exactness.execution
    ready = Ready(
        target=options.target,
        dtype=INT8 if shape.int8 else dtype_name,
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

    def need(plan: DraftPlan) -> int:
        shape = _shape(plan, decoder.config, stored_name(decoder.dtype), place, ready.dtype == INT8)
        return pair_need(shape, target.context).total

    plan = plan_draft(draft, locate(ready.target), decoder.config, decoder.device, decoder.dtype)
    try:
        require_beside(f"The draft {draft}", need(plan) - need(replace(plan, kind=None)), place)
    except MemoryShortError as error:
        plan = plan.without(error)
    plan, drafter = _load_draft(plan, target, report)
    report("calibration", 0, 1)
    ready = plan.tell(ready.model_copy(update={"memory_bytes": need(plan)}))
    return _calibrated(target, drafter, pair.ngram, pair.codec, pair.exactness, ready, began)


def _shape(plan: DraftPlan, config: ModelConfig, dtype: Stored, place: Memory, int8: bool) -> PairShape:
    """What the memory estimate is told of a planned pair."""
    return PairShape(config, plan.need, dtype, place.device, int8, sibling_int4=plan.kind == SIBLING and plan.backend is not None)


def require_beside(what: str, size: int, place: Memory) -> None:
    """Raise MemoryShortError if so many bytes more do not fit beside what is loaded."""
    if judge(PairNeed(size, 0, 0, 0), place) == "does not fit":
        cause = f"{what} needs {size_text(size)} more and {place_text(place)} has {size_text(place.free)} free."
        raise MemoryShortError(cause, "Free some memory, or measure without it.")


def _load_draft(plan: DraftPlan, target: Target, report: Report, weights: Sequence[Weights] = ()) -> tuple[DraftPlan, ModelDrafter | None]:
    """The planned drafter, if any, made of `weights` or read from disk; files that cannot be read become the plan's problem."""
    if plan.kind is None:
        return plan, None
    config, decoder = plan.config, target.decoder
    try:
        (found,) = weights or load_weights(
            plan.directory, config, decoder.dtype, decoder.device, [plan.layer], lambda done, total: report("draft", done, total)
        )
    except CheckpointError as error:
        return plan.without(error), None
    if plan.kind == INT4:
        head = decoder.weights.head if plan.source == INT4_SHARED_HEAD else found.head
        copy = decoder.sharing(replace(found, embedding=decoder.weights.embedding, head=head))
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
