"""What a pair needs in memory at a context length, against what is free, and what would fit instead; arithmetic without torch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeGuard

from specdec.architecture import ModelConfig
from specdec.errors import MemoryShortError

if TYPE_CHECKING:
    from specdec.options import DtypeChoice

Device = Literal["gpu", "cpu"]
Fit = Literal["fits", "tight", "does not fit"]
Copy = Literal["int4", "int4-shared-head"]
Draft = ModelConfig | Copy | None
Stored = Literal["float16", "bfloat16", "float32"]

INT4: Copy = "int4"
INT4_SHARED_HEAD: Copy = "int4-shared-head"
COPIES: tuple[Copy, ...] = (INT4, INT4_SHARED_HEAD)
INT8: Literal["int8"] = "int8"
DTYPE_BYTES: dict[Stored, int] = {"float16": 2, "bfloat16": 2, "float32": 4}
CONTEXT_STEP = 256
TIGHT_SHARE = 0.10
PREFILL_ROWS = 512
LOGIT_ROWS = 16
LOGIT_COPIES = 4
LAYERS_IN_HAND = 2
HEAD_SHARE = 0.07
RUNTIME_BYTES: dict[Device, int] = {"gpu": 700 * 2**20, "cpu": 300 * 2**20}


@dataclass(frozen=True)
class PairShape:
    """What would be loaded: a target with its draft, and in which precision on which device.

    The draft is a sibling, a copy of the target in 4 bits with or without an output head of its own, or None. With `int8` the
    target's matrices have 8 bits a weight; with `sibling_int4` the sibling's have 4.
    """

    target: ModelConfig
    draft: Draft
    dtype: Stored
    device: Device
    int8: bool = False
    sibling_int4: bool = False


@dataclass(frozen=True)
class PairNeed:
    """Bytes a loaded pair takes: the target's weights, the draft's, the key-value caches of both, and working space."""

    target: int
    draft: int
    kv: int
    workspace: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.target + self.draft + self.kv + self.workspace


@dataclass(frozen=True)
class Memory:
    """Where a pair would be loaded, and the bytes free and present there."""

    device: Device
    free: int
    total: int


def is_copy(draft: str | None) -> TypeGuard[Copy]:
    """Whether a draft's source is one of the target's own copies."""
    return draft in COPIES


def size_text(count: int) -> str:
    """A byte count for people, in decimal units: `16.4 GB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if abs(count) >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def resolve_dtype(choice: DtypeChoice, device: Device) -> Stored:
    """What activations and the cache are held in: float16 on a GPU, float32 on a CPU, which computes many times slower in float16.

    That is what `auto` stands for, and what goes with `int8` weights.
    """
    if choice == "auto" or choice == INT8:
        return "float16" if device == "gpu" else "float32"
    return choice


def model_bytes(config: ModelConfig, dtype: Stored, device: Device) -> int:
    """Bytes of a model's weights; on a CPU a tied head is packed apart from the embedding it is tied to."""
    apart = config.head_parameters if config.tied and device == "cpu" else 0
    return (config.parameters + apart) * DTYPE_BYTES[dtype]


def int8_model_bytes(config: ModelConfig, dtype: Stored) -> int:
    """Bytes of a model with 8 bits a weight: all matrices, a tied head apart; the scales, one an output, are left out (under 0.1%)."""
    return config.linear_parameters + config.head_parameters * DTYPE_BYTES[dtype]


def int4_bytes(config: ModelConfig, group: int = 32, head: bool = True) -> int:
    """Bytes of the quantised copy: 4 bits a weight, and a 16-bit scale and zero a group of weights.

    Embeddings, norms and biases are the target's own and cost nothing; without `head` so is the output head.
    """
    weights = config.linear_parameters - (0 if head else config.head_parameters)
    return weights // 2 + weights // group * 4


def kv_bytes(config: ModelConfig, context: int, dtype: Stored) -> int:
    """Bytes of a key-value cache for `context` tokens, which is kept in steps of 256."""
    steps = -(-context // CONTEXT_STEP)
    return steps * CONTEXT_STEP * config.layers * 2 * config.kv_size * DTYPE_BYTES[dtype]


def workspace_bytes(pair: PairShape, kv: int) -> int:
    """An estimate of everything that is neither weights nor cache, for caches of `kv` bytes.

    The runtime itself (CUDA context, kernels and captured graphs, or torch on the CPU), and beside it either the activations of one
    layer for a 512-token piece of prompt and four float32 copies of 16 rows of logits (raw, warped, noise, probabilities), or, where
    that is more, the layers or the head in hand while the target is loaded, as far as they do not lie where the caches will. Only a
    GPU keeps layers as they are read, unless they are to have 8 bits; such a matrix is widened to multiply with a piece of prompt.
    """
    config, width = pair.target, DTYPE_BYTES[pair.dtype]
    widths = 4 * config.hidden_size + 2 * config.query_size + 2 * config.kv_size + 3 * config.intermediate_size
    working = PREFILL_ROWS * widths * width + LOGIT_ROWS * LOGIT_COPIES * config.vocab_size * 4
    if pair.int8 and pair.device == "gpu":
        working += 2 * config.intermediate_size * config.hidden_size * width
    layer = (config.linear_parameters - config.head_parameters) // config.layers * width
    head = 0 if config.tied else config.head_parameters * width
    reading = 0 if pair.device == "gpu" and not pair.int8 else max(LAYERS_IN_HAND * layer, head)
    return RUNTIME_BYTES[pair.device] + max(working, reading - kv)


def pair_need(pair: PairShape, context: int) -> PairNeed:
    """What a pair needs at `context` tokens; an INT4 copy drafts in the target's cache, a sibling has one of its own."""
    config, draft, dtype, device = pair.target, pair.draft, pair.dtype, pair.device
    target = int8_model_bytes(config, dtype) if pair.int8 else model_bytes(config, dtype, device)
    kv = kv_bytes(config, context, dtype)
    drafting = 0
    if isinstance(draft, ModelConfig):
        kv += kv_bytes(draft, context, dtype)
        embedding = draft.head_parameters * DTYPE_BYTES[dtype]
        drafting = int4_bytes(draft) + embedding if pair.sibling_int4 else model_bytes(draft, dtype, device)
    elif draft is not None:
        drafting = int4_bytes(config, head=draft == INT4)
    return PairNeed(target, drafting, kv, workspace_bytes(pair, kv))


def estimate_need(
    target_download: int, draft_download: int | Copy, context: int, dtype: Stored, device: Device, int8: bool = False
) -> PairNeed:
    """What a pair needs, guessed from download sizes (16 bits a weight) while no config is on disk.

    A token is taken to cost 128 KiB in each cache, and the output head to be 7% of the weights, as in an 8B model with
    grouped-query attention.
    """
    widening = DTYPE_BYTES[dtype] // 2
    head = int(HEAD_SHARE * target_download)
    target = (target_download - head) // 2 + head * widening if int8 else target_download * widening
    kv = -(-context // CONTEXT_STEP) * CONTEXT_STEP * 128 * 2**10 * widening
    workspace = RUNTIME_BYTES[device] + 128 * 2**20
    if isinstance(draft_download, str):
        copied = target_download if draft_download == INT4 else target_download - head
        return PairNeed(target, copied * 5 // 16, kv, workspace)
    caches = 2 if draft_download else 1
    return PairNeed(target, draft_download * widening, caches * kv, workspace)


def judge(need: PairNeed, memory: Memory) -> Fit:
    """Whether a pair fits; `tight` when it would leave less than a tenth of the free memory."""
    spare = memory.free - need.total
    if spare < 0:
        return "does not fit"
    return "tight" if spare < TIGHT_SHARE * memory.free else "fits"


def largest_context(pair: PairShape, memory: Memory) -> int:
    """The longest context, in tokens, that fits: a multiple of 256 up to the target's limit, or 0 if none does."""
    steps = range(pair.target.max_positions // CONTEXT_STEP + 1)
    fitting = bisect_right(steps, memory.free, key=lambda step: pair_need(pair, step * CONTEXT_STEP).total)
    return max(0, fitting - 1) * CONTEXT_STEP


def comfortable_context(pair: PairShape, memory: Memory) -> int:
    """The target's own limit, or the longest context that fits without being tight; 0 if none does."""
    if judge(pair_need(pair, pair.target.max_positions), memory) == "fits":
        return pair.target.max_positions
    return largest_context(pair, Memory(memory.device, int(memory.free * (1 - TIGHT_SHARE)), memory.total))


@dataclass(frozen=True)
class Way:
    """How a target could be run: with which draft, by its name or source, and with 8 bits a weight or in full precision."""

    draft: str | None
    int8: bool = False


def offers(asked: Way, others: Sequence[str], context: int, longest: Callable[[Way], int]) -> Iterator[tuple[Way, int]]:
    """The ways that fit where the one that was asked for does not at `context` tokens, each with the context that it fits at.

    In this order: the same with a shorter context, the `others`, which are drafts in the order of preference, and no model draft, each
    only if it fits at a longer context than all before it; at last, as the text is then another one, 8 bits a weight, with the
    first draft of the longest context.
    """
    drafts = list(dict.fromkeys((asked.draft, *others, None)))
    lengths = {way: min(context, longest(way)) for int8 in (asked.int8, True) for way in (Way(draft, int8) for draft in drafts)}
    best = 0
    for way in (Way(draft, asked.int8) for draft in drafts):
        if lengths[way] > best:
            best = lengths[way]
            yield way, best
    rounded = max((Way(draft, True) for draft in drafts), key=lengths.__getitem__)
    if not asked.int8 and lengths[rounded] > lengths[asked]:
        yield rounded, lengths[rounded]


def offer_text(asked: Way, way: Way, context: int, fitting: int) -> str:
    """An offer in words."""
    at = "" if fitting == context else f"a context of {fitting} tokens"
    if way == asked:
        return at
    draft = "" if way.draft == asked.draft else "no model draft" if way.draft is None else f"the draft {way.draft}"
    rounded = "8 bits a weight (dtype int8, whose text is not that of full precision)" if way.int8 != asked.int8 else ""
    return " with ".join(part for part in (rounded, draft, at) if part)


def require(pair: PairShape, asked: Way, others: Mapping[str, Draft], context: int, memory: Memory) -> PairNeed:
    """What a pair needs at `context` tokens; raises MemoryShortError if it does not fit, with what is free and what would fit.

    `asked` names the pair's draft, and `others` are drafts by their sources that could serve instead, the best first.
    """
    need = pair_need(pair, context)
    if judge(need, memory) != "does not fit":
        return need

    def longest(way: Way) -> int:
        draft = pair.draft if way.draft == asked.draft else None if way.draft is None else others[way.draft]
        shape = replace(pair, draft=draft, int8=way.int8)
        return largest_context(shape, memory) if judge(pair_need(shape, context), memory) == "does not fit" else context

    cause = f"The pair needs {size_text(need.total)} and {place_text(memory)} has {size_text(memory.free)} free."
    found = [offer_text(asked, way, context, fitting) for way, fitting in offers(asked, list(others), context, longest)]
    if found:
        raise MemoryShortError(cause, f"What would fit: {'; '.join(found)}.")
    raise MemoryShortError(cause, "Free some memory or pick a smaller pair: `specchat pairs` lists them.")


def place_text(memory: Memory) -> str:
    """Where a pair would be loaded, for people."""
    return "the GPU" if memory.device == "gpu" else "memory"
