"""Exact mode: finding an execution of the target in which a row's bits do not depend on how many rows run with it.

Which kernels have that property differs between machines, so it is measured on the loaded model, over row counts and cache
extents. Where a kernel has it, rounds run just the rows they need; otherwise every round is padded to one row count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specdec.model.decoder import Decoder
from specdec.model.linear import MAX_ROWS
from specdec.model.ops import attention, attention_on_one_thread, causal_bias
from specdec.options import ExactChoice
from specdec.target import FASTEST, TILE, Execution, Products, Target

TOLERATED_COST = 0.10
SLOW_STEP_MS = 60.0
PADDED_ROWS = 8
REPEATS = range(5, 31)
REPEATING_SECONDS = 1.0
TYPICAL_ROWS = 5
PROBED_TILES = 8
ATTENTION_DRAWS = 12
LINEAR_DRAWS = 4
SHORT_PREFILL_ROWS = 33
# The first that is exact is taken: with few rows over few keys all take the same time, with more of both the last takes half as long again.
KERNELS = (Execution("matmul", tiled=True), Execution("fused", tiled=True), Execution("by_row", tiled=True))
PADDED = Execution("fused", tiled=True, padded_rows=PADDED_ROWS, padded_prefill=True)
SPLIT = Execution("split")


@dataclass(frozen=True)
class Exactness:
    """The chosen execution, whether it is exact, whether prefilled rows equal decoded ones bit for bit, and why it was chosen."""

    execution: Execution
    exact: bool
    prefill_matches: bool
    reason: str


def choose_execution(target: Target, choice: ExactChoice) -> Exactness:
    """Pick how the target runs; leaves the cache's contents undefined.

    `auto` takes an exact execution if it adds at most 10% to a plain step and a round of five rows together.
    """
    splits = _splits(target)
    inexact = [replace(kernel, products=products) for products in target.products for kernel in (FASTEST, *splits)]
    if choice == "off":
        times = _interleaved_ms(target, inexact) if len(inexact) > 1 else {FASTEST: 0.0}
        return Exactness(min(inexact, key=times.__getitem__), False, False, "switched off")
    slow = min(_step_ms(target, FASTEST), _step_ms(target, FASTEST)) > SLOW_STEP_MS
    with target.unrecorded():
        products = [] if slow else [name for name in target.products if _linears_independent(target.passes_with(name).decoder)]
        kernels = [kernel for kernel in considered(target) if kernel.products in products]
        split, others = ([kernel for kernel in kernels if (kernel.attention == "split") == wanted] for wanted in (True, False))
        candidates = _exact(target, split) or _exact(target, others)
    if not candidates:
        candidates = [PADDED, *(replace(PADDED, attention=split.attention) for split in splits)]
    times = _interleaved_ms(target, [*inexact, *candidates], range(1, 2) if slow else REPEATS)
    execution, fastest = min(candidates, key=times.__getitem__), min(inexact, key=times.__getitem__)
    cost = times[execution] / times[fastest] - 1
    rows = f"{execution.padded_rows} rows a round" if execution.padded_rows else "any number of rows"
    multiplied = "" if execution.products == "library" else f"{execution.products} products, "
    how = f"{execution.attention} attention{' on one thread' if execution.serial_attention else ''}, {multiplied}{rows}"
    if choice == "auto" and cost > TOLERATED_COST:
        return Exactness(fastest, False, False, f"it would cost {cost:.0%} ({how})")
    return Exactness(execution, True, not execution.padded_prefill, f"{how}, costs {max(cost, 0):.0%}")


def _exact(target: Target, kernels: Sequence[Execution]) -> list[Execution]:
    """The first exact one of the kernels for each kind of products."""
    found: dict[Products, Execution] = {}
    for kernel in kernels:
        if kernel.products not in found and (exact := _independent(target, kernel)):
            found[kernel.products] = exact
    return list(found.values())


def considered(target: Target) -> tuple[Execution, ...]:
    """The executions without padding to try: on a CPU with several threads also with attention kept to one of them.

    The best come first, but where there is split attention the others are tried only if it is not exact.
    """
    kernels = (*_splits(target), *KERNELS)
    if target.decoder.device.type == "cpu" and torch.get_num_threads() > 1:
        kernels += tuple(replace(kernel, serial_attention=True) for kernel in KERNELS)
    return tuple(replace(kernel, products=products) for products in target.products for kernel in kernels)


def _splits(target: Target) -> tuple[Execution, ...]:
    """The execution with split attention, where there is that."""
    return (SPLIT,) if target.decoder.operations.in_triton else ()


def _independent(target: Target, kernel: Execution) -> Execution | None:
    """The kernel, if a row has the same bits alone and among up to 16, in attention alone and in the whole model.

    Its prefill is padded unless prefill chunks of several lengths also give the rows that single steps give.
    """
    if not _attention_independent(target, kernel):
        return None
    target.execution = kernel
    matches = True
    tiles = range(0, target.context, target.prefill_tile)
    for tile in {tiles[0], tiles[-1]}:
        tokens = probe_tokens(target, min(target.prefill_tile, target.context - tile))
        count = min(MAX_ROWS, len(tokens))
        kept = target.cache.rows[:, :, tile : tile + count]
        alone = torch.cat([target.step(tokens[i : i + 1], tile + i) for i in range(count)])
        decoded = kept.clone()
        for rows in (2, TYPICAL_ROWS, count):
            if not torch.equal(target.step(tokens[:rows], tile), alone[:rows]) or not torch.equal(kept, decoded):
                return None
        for rows in (target.prefill_tile, SHORT_PREFILL_ROWS):
            list(target.prefill(tokens[:rows], tile))
            matches = matches and torch.equal(kept, decoded)
    return kernel if matches else replace(kernel, padded_prefill=True)


def _linears_independent(decoder: Decoder) -> bool:
    """Whether each kind of linear layer alone gives a row the same bits in company, for random rows."""
    config, layer = decoder.config, decoder.weights.layers[0]
    linears = (
        (layer.qkv, config.hidden_size),
        (layer.output, config.query_size),
        (layer.gate_up, config.hidden_size),
        (layer.down, config.intermediate_size),
        (decoder.weights.head, config.hidden_size),
    )
    generator = torch.Generator().manual_seed(0)
    for linear, width in linears:
        for _ in range(LINEAR_DRAWS):
            x = torch.randn(MAX_ROWS, width, generator=generator).to(decoder.device, decoder.dtype)
            alone = torch.cat([linear(x[i : i + 1]) for i in range(MAX_ROWS)])
            if any(not torch.equal(linear(x[:rows]), alone[:rows]) for rows in range(2, MAX_ROWS + 1)):
                return False
    return True


def _attention_independent(target: Target, kernel: Execution) -> bool:
    """Whether attention alone gives a row the same bits in company, at extents over the whole context.

    Many draws, for 16-bit results hide most differences.
    """
    config, dtype, device = target.decoder.config, target.decoder.dtype, target.decoder.device
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device).to(dtype)

    ends = sorted({target.extent(tile) for tile in range(0, target.context, TILE)})
    for end in ends[:: max(1, len(ends) // PROBED_TILES)]:
        start = end - MAX_ROWS
        for _ in range(ATTENTION_DRAWS):
            query, cache_rows = draw(MAX_ROWS, config.heads, config.head_dim), draw(2 * config.kv_heads, end, config.head_dim)
            alone = torch.cat([_attended(target, kernel, query[i : i + 1], cache_rows, start + i) for i in range(MAX_ROWS)])
            for rows in (2, 3, TYPICAL_ROWS, MAX_ROWS // 2, MAX_ROWS):
                if not torch.equal(_attended(target, kernel, query[:rows], cache_rows, start), alone[:rows]):
                    return False
    return True


def _attended(target: Target, kernel: Execution, query: Tensor, cache_rows: Tensor, start: int) -> Tensor:
    """Attention of rows at positions start.. to all of a layer's cache [2 * kv_heads, extent, head_dim]."""
    split = target.decoder.operations.split_attention
    if kernel.attention == "split" and split is not None:
        return split(query, cache_rows, torch.full((1,), start, device=query.device), None)
    attend = attention_on_one_thread if kernel.serial_attention else attention
    bias = causal_bias(target.decoder.tables.causal, start, len(query), cache_rows.shape[1])
    key, value = cache_rows.chunk(2)
    return attend(kernel.attention, query, key, value, bias)


def probe_tokens(target: Target, count: int) -> list[int]:
    """Some tokens to measure with, the same every time."""
    return [(index * 97 + 11) % target.decoder.config.vocab_size for index in range(count)]


def _interleaved_ms(target: Target, executions: list[Execution], repeats: range = REPEATS) -> dict[Execution, float]:
    """The best time of each execution over as many repeats in turns as a second has room for, within `repeats`.

    The more there are, the likelier the same execution is chosen, and with it the same rounding, each time a pair is loaded.
    """
    best = dict.fromkeys(executions, float("inf"))
    began = time.perf_counter()
    for repeat in range(repeats.stop - 1):
        for execution in executions:
            best[execution] = min(best[execution], _step_ms(target, execution))
        if repeat + 1 >= repeats.start and time.perf_counter() - began > REPEATING_SECONDS:
            break
    return best


def _step_ms(target: Target, execution: Execution) -> float:
    """Milliseconds of one plain step and one round of five rows together."""
    target.execution = execution
    start = min(TILE // 2, max(0, target.context - MAX_ROWS))
    tokens = probe_tokens(target, TYPICAL_ROWS)
    return timed_ms(target, tokens[:1], start) + timed_ms(target, tokens, start)


def timed_ms(target: Target, tokens: list[int], start: int) -> float:
    """Milliseconds of one step, finished on the device."""
    began = time.perf_counter()
    target.step(tokens, start)[-1].max().item()
    return (time.perf_counter() - began) * 1000
