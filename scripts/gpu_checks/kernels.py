"""Stage `kernels`: each Triton kernel and its torch counterpart, their errors against float64 and their times against their bytes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from gpu_checks.findings import Findings
from gpu_checks.floors import floor_ms, int4_matrix_bytes
from gpu_checks.forward import with_graph
from gpu_checks.int4 import exact_product, matrices
from gpu_checks.setup import Setup
from gpu_checks.shapes import LLAMA_8B, QWEN_8B
from gpu_checks.steps import columns
from gpu_checks.timing import Call, interleaved_ms, once_ms
from specdec.architecture import ModelConfig
from specdec.model.int4 import dequantise, int4pack, quantise
from specdec.model.int8 import Int8Linear, quantise_int8
from specdec.model.linear import Dense
from specdec.model.norm import Norm
from specdec.model.operations import PLAIN, Operations, triton_operations
from specdec.model.ops import attention, gathered_bias
from specdec.model.rope import rotary_tables

TRITON, TORCH = "triton", "torch"
NO_TRITON = "triton is not installed"
NO_GPU = "Triton needs a GPU, or TRITON_INTERPRET=1"
KERNEL_ROWS = (1, 4, 16)
ROTARY_POSITIONS = 64
FEWEST_CALLS = 16
MOST_REPEATS = 5

Answer = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """An operation on operands in memory of their own.

    `ways` are its implementations, each first called on fresh operands; `exact` is the answer in float64, to be asked for before
    that; `size` the bytes that must be read and written.
    """

    ways: Mapping[str, Callable[[], Answer]]
    exact: Callable[[], Answer]
    size: int


Make = Callable[[int], Case]


def measure(setup: Setup, findings: Findings) -> None:
    """Every kernel at the shapes of two models."""
    if not find_spec("triton"):
        findings.skip("Triton kernels", NO_TRITON)
        return
    if not setup.on_gpu:
        if os.environ.get("TRITON_INTERPRET") != "1":
            findings.skip("Triton kernels", NO_GPU)
            return
        _mend_interpreter()
    for model in (LLAMA_8B, QWEN_8B):
        for (kernel, of), make in operations(setup, setup.shape(model)).items():
            findings.part(f"{kernel} {of}, {model}", partial(_operation, setup, findings, model, kernel, of, make))


def _mend_interpreter() -> None:
    """Let loops in Triton 3.6's interpreter end at a number that a kernel was given or has read, which numpy 2.4 no longer allows."""
    from triton.runtime import interpreter

    patch_tensor: Callable[..., None] = interpreter._patch_lang_tensor

    def patch_tensor_and_index(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_tensor_and_index


def operations(setup: Setup, config: ModelConfig) -> dict[tuple[str, str], Make]:
    """What makes a case of some rows, by kernel and by what it is measured on."""
    found: dict[tuple[str, str], Make] = {
        ("add_norm", "hidden state"): partial(_add_norm, setup, config),
        ("swiglu", "gate and up"): partial(_swiglu, setup, config),
        ("rotate_and_write", "qkv"): partial(_rotate_and_write, setup, config),
    }
    for context in setup.contexts:
        found["decode_attention", f"context {context}"] = partial(_attention, setup, config, context)
    for name, shape in matrices(config).items():
        found["skinny", name] = partial(_skinny, setup, *shape)
    for name, shape in matrices(config).items():
        found["skinny int8", name] = partial(_skinny_int8, setup, *shape)
    for name, shape in matrices(config).items():
        found["int4_product", name] = partial(_int4_product, setup, *shape)
    return found


def _operation(setup: Setup, findings: Findings, model: str, kernel: str, of: str, make: Make) -> None:
    for rows in KERNEL_ROWS:
        case = make(rows)
        exact = case.exact()
        errors = {way: relative_error(run(), exact) for way, run in case.ways.items()}
        copies = [case, *(make(rows) for _ in range(_copies(setup, case.size) - 1))]
        calls = 1 if setup.tiny else max(len(copies), FEWEST_CALLS)
        ways: dict[str, Call] = {}
        for way in case.ways:
            turns = list(islice(cycle([copy.ways[way] for copy in copies]), calls))
            ways |= with_graph(setup, findings, partial(_in_turn, turns), f"{kernel} {of} in {way}, {model}, rows {rows}", f"{way} ")
        times = _times(setup, ways)
        floor = floor_ms(case.size, setup.bandwidth)
        for way, error in errors.items():
            found = {name.removeprefix(f"{way} "): ms / calls for name, ms in times.items() if name.startswith(f"{way} ")}
            findings.add(
                "a kernel",
                model=model,
                kernel=kernel,
                of=of,
                rows=rows,
                implementation=way,
                error=error,
                floor_ms=floor,
                **columns(found, floor),
            )


def _times(setup: Setup, ways: Mapping[str, Call]) -> dict[str, float]:
    """The milliseconds of each way; in the interpreter, where they mean nothing and calls take seconds, of a single call."""
    if setup.on_gpu:
        return interleaved_ms(setup.device, ways, min(setup.repeats, MOST_REPEATS))
    return {name: once_ms(setup.device, call) for name, call in ways.items()}


def relative_error(found: Answer, exact: Answer) -> float:
    """The length of the difference as a share of the length of what is exact."""
    whole, answer = (torch.cat([part.double().flatten() for part in _parts(each)]) for each in (exact, found))
    return float((answer - whole).norm() / whole.norm())


def _parts(answer: Answer) -> tuple[Tensor, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _copies(setup: Setup, size: int) -> int:
    """How many cases of that many bytes make up twice the L2 cache, so that none finds its operands there when its turn comes again."""
    if setup.tiny:
        return 1
    return max(2, math.ceil(2 * torch.cuda.get_device_properties(setup.device).L2_cache_size / size))


@torch.inference_mode()
def _in_turn(turns: list[Callable[[], Answer]]) -> None:
    for run in turns:
        run()


def _random(setup: Setup, *shape: int) -> Tensor:
    return torch.randn(*shape, device=setup.device, dtype=setup.dtype)


def _norm(setup: Setup, config: ModelConfig, features: int) -> Norm:
    return Norm(torch.rand(features, device=setup.device, dtype=setup.dtype) + 0.5, config.rms_eps)


def _exact_norm(wide: Tensor, norm: Norm) -> Tensor:
    """A norm of float64 rows in float64."""
    return wide / torch.hypot(wide.norm(dim=-1, keepdim=True), norm.floor.double()) * norm.scale.double()


def _implementations() -> dict[str, Operations]:
    return {TRITON: triton_operations(), TORCH: PLAIN}


def _add_norm(setup: Setup, config: ModelConfig, rows: int) -> Case:
    x, delta = (_random(setup, rows, config.hidden_size) for _ in range(2))
    norm = _norm(setup, config, config.hidden_size)

    def exact() -> Answer:
        total = x.double() + delta.double()
        return total, _exact_norm(total, norm)

    ways = {name: partial(own.add_norm, x, delta, norm) for name, own in _implementations().items()}
    return Case(ways, exact, 4 * x.nbytes + norm.scale.nbytes)


def _swiglu(setup: Setup, config: ModelConfig, rows: int) -> Case:
    gate_up = _random(setup, rows, 2 * config.intermediate_size)
    ways = {name: partial(own.swiglu, gate_up) for name, own in _implementations().items()}
    return Case(ways, lambda: PLAIN.swiglu(gate_up.double()), gate_up.nbytes * 3 // 2)


def _rotate_and_write(setup: Setup, config: ModelConfig, rows: int) -> Case:
    heads, rotated, head_dim = config.heads, config.heads + config.kv_heads, config.head_dim
    original = _random(setup, rows, rotated + config.kv_heads, head_dim)
    cos, sin = rotary_tables(config, ROTARY_POSITIONS, setup.dtype, setup.device)
    start = torch.tensor([ROTARY_POSITIONS - rows], device=setup.device)
    empty = original.new_zeros(2 * config.kv_heads, ROTARY_POSITIONS, head_dim)
    q_norm, k_norm = (_norm(setup, config, head_dim), _norm(setup, config, head_dim)) if config.qk_norm else (None, None)

    def exact() -> Answer:
        wide, cache_rows = original.double(), empty.double()
        if q_norm is not None and k_norm is not None:
            wide[:, :heads] = _exact_norm(wide[:, :heads], q_norm)
            wide[:, heads:rotated] = _exact_norm(wide[:, heads:rotated], k_norm)
        PLAIN.rotate_and_write(wide, heads, cos.double(), sin.double(), start, cache_rows, None, None)
        return wide[:, :heads], cache_rows

    def way(own: Operations) -> Callable[[], Answer]:
        qkv, cache_rows = original.clone(), empty.clone()
        answer = qkv[:, :heads], cache_rows

        def run() -> Answer:
            own.rotate_and_write(qkv, heads, cos, sin, start, cache_rows, q_norm, k_norm)
            return answer

        return run

    size = 2 * original.nbytes + rows * (cos[0].nbytes + sin[0].nbytes)
    return Case({name: way(own) for name, own in _implementations().items()}, exact, size)


def _attention(setup: Setup, config: ModelConfig, context: int, rows: int) -> Case:
    from specdec.kernels.attention import decode_attention

    query = _random(setup, rows, config.heads, config.head_dim)
    cache_rows = _random(setup, 2 * config.kv_heads, context, config.head_dim)
    key, value = cache_rows[: config.kv_heads], cache_rows[config.kv_heads :]
    start = torch.tensor([context - rows], device=setup.device)
    bias = gathered_bias(start, rows, context, None, setup.dtype) if rows > 1 else None

    def exact() -> Answer:
        return attention("fused", query.double(), key.double(), value.double(), None if bias is None else bias.double())

    ways = {
        TRITON: partial(decode_attention, query, cache_rows, start),
        TORCH: partial(attention, "fused", query, key, value, bias),
    }
    return Case(ways, exact, cache_rows.nbytes + 2 * query.nbytes)


def _matrix(setup: Setup, out: int, width: int) -> Tensor:
    return _random(setup, out, width).mul_(width**-0.5)


def _skinny(setup: Setup, out: int, width: int, rows: int) -> Case:
    from specdec.kernels.matmul import skinny

    x, weight = _random(setup, rows, width), _matrix(setup, out, width)
    ways = {TRITON: partial(skinny, x, weight), TORCH: partial(Dense(weight), x)}
    return Case(ways, lambda: exact_product(x, weight), weight.nbytes + rows * (out + width) * x.itemsize)


def _skinny_int8(setup: Setup, out: int, width: int, rows: int) -> Case:
    """The kernel and torch's product with the same codes, which are what is exact here."""
    x, (codes, scale) = _random(setup, rows, width), quantise_int8(_matrix(setup, out, width))
    ways = {name: partial(Int8Linear(codes, scale, None, in_triton), x) for name, in_triton in ((TRITON, True), (TORCH, False))}
    size = codes.nbytes + scale.nbytes + rows * (out + width) * x.itemsize
    return Case(ways, lambda: exact_product(x, codes * scale[:, None]), size)


def _int4_product(setup: Setup, out: int, width: int, rows: int) -> Case:
    """Both implementations have the same codes, which are what is exact here; the kernel takes 16-bit activations only."""
    from specdec.kernels.int4_matmul import int4_product, pack

    x, weight = _random(setup, rows, width), _matrix(setup, out, width)
    if not setup.on_gpu:
        x, weight = x.half(), weight.half()
    ways = {TRITON: partial(int4_product, x, pack(*quantise(weight))), TORCH: partial(int4pack(Dense(weight)), x)}
    size = int4_matrix_bytes(out, width) + rows * (out + width) * x.itemsize
    return Case(ways, lambda: exact_product(x, dequantise(*quantise(weight))), size)
