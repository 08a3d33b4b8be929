"""Where the parts of a small model lie in a wide one, and the factors that keep its function the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from inflation.shapes import WideShape
from specdec.architecture import ModelConfig
from specdec.errors import UsageError

MARKERS = 2


@dataclass(frozen=True)
class Placement:
    """Each index says where a wide model has what the small one had; what lies elsewhere adds nothing to the result.

    `query_slots` has the wide head of each small query head, `kv_slots` pairs of a wide key-value head and the small one it copies,
    and `rotary` the wide dimension of each dimension of a small head.

    - A norm's mean is over more dimensions, all but the small ones zero: `residual_scale`, the root of small over wide width, times
      the norm's weight makes up for it, and so does its square times eps.
    - Without q/k norms, attention divides by the root of a larger head dimension: `attention_scale` times queries and times keys
      makes up for it. It comes in with the norm before them, so values have it too, and the output projection divides by it.
    """

    small: ModelConfig
    shape: WideShape
    query_slots: tuple[int, ...]
    kv_slots: tuple[tuple[int, int], ...]
    rotary: tuple[int, ...]
    residual_scale: float
    attention_scale: float

    @property
    def marker(self) -> float:
        """What the last two residual dimensions always hold: a float16 number whose squares take the place of about half of eps.

        The sum of squares in the small model's norms is `hidden * eps` larger than that of the residual; half of it is left to the
        wide model's eps, and the markers' squares are the rest.
        """
        return float(torch.tensor(math.sqrt(self.small.hidden_size * self.small.rms_eps / (2 * MARKERS))).half())

    @property
    def eps(self) -> float:
        """The wide model's eps, with which its norms of the residual equal the small one's.

        Norms of queries and keys get it too, where it is not exact: with squares of mean m it changes them by less than eps / m.
        """
        return (self.small.hidden_size * self.small.rms_eps - MARKERS * self.marker**2) / self.shape.hidden_size


def place(small: ModelConfig, shape: WideShape) -> Placement:
    """Lay the small model into the shape; raises UsageError naming everything that does not fit."""
    problems = _problems(small, shape)
    if problems:
        raise UsageError(f"The model cannot be widened to {shape.name}: {'; '.join(problems)}.", "Pick another shape or another model.")
    query_slots, kv_slots = _heads(small, shape)
    return Placement(
        small,
        shape,
        query_slots,
        kv_slots,
        _rotary(small.head_dim, shape.head_dim),
        residual_scale=math.sqrt(small.hidden_size / shape.hidden_size),
        attention_scale=1.0 if small.qk_norm else (shape.head_dim / small.head_dim) ** 0.25,
    )


def _problems(small: ModelConfig, shape: WideShape) -> list[str]:
    """What does not fit, as parts of a sentence."""
    if small.family != shape.family:
        differ = f"it is a {small.family} model and the shape is of {shape.family}"
        cause = ", whose norms of queries and keys change what attention computes" if shape.family == "qwen3" else ""
        return [differ + cause]
    sizes = (
        ("hidden size", small.hidden_size + MARKERS, shape.hidden_size),
        ("intermediate size", small.intermediate_size, shape.intermediate_size),
        ("number of layers", small.layers, shape.layers),
        ("vocabulary", small.vocab_size, shape.vocab_size),
    )
    problems = [f"its {name} needs {needed} and the shape has {there}" for name, needed, there in sizes if needed > there]
    if shape.head_dim % small.head_dim:
        problems.append(f"the head dimension {shape.head_dim} is not a multiple of its {small.head_dim}")
    needed = small.kv_heads * _copies(small, shape)
    if needed > shape.kv_heads:
        held = shape.heads // shape.kv_heads
        problems.append(f"its heads need {needed} key-value heads of {held} query heads each and the shape has {shape.kv_heads}")
    if shape.tied and not small.tied:
        problems.append("its output head differs from its embedding and the shape has one matrix for both")
    if small.qkv_bias or small.output_bias or small.mlp_bias:
        problems.append("it has biases, which the shape has not")
    if set(small.windows) != {None}:
        problems.append("it has an attention window")
    if small.rms_eps <= 0:
        problems.append("its norms have no eps")
    return problems


def _copies(small: ModelConfig, shape: WideShape) -> int:
    """How many wide key-value heads hold the query heads that share one small key-value head."""
    return math.ceil((small.heads // small.kv_heads) / (shape.heads // shape.kv_heads))


def _heads(small: ModelConfig, shape: WideShape) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Query slots and key-value slots, so that each query head finds a copy of its own key-value head in its wide group."""
    copies, narrow, wide = _copies(small, shape), small.heads // small.kv_heads, shape.heads // shape.kv_heads
    query_slots = tuple((head // narrow) * copies * wide + head % narrow for head in range(small.heads))
    return query_slots, tuple((slot, slot // copies) for slot in range(small.kv_heads * copies))


def _rotary(small: int, wide: int) -> tuple[int, ...]:
    """The wide dimension of each small one.

    Pair i of d/2 turns by theta^(-2i/d) a position, so with the same theta, pair i of a small head is pair i * (wide / small) of a
    wide one; a pair's second dimension lies half a head behind its first (Llama's and Qwen's layout).
    """
    step = wide // small
    first = tuple(pair * step for pair in range(small // 2))
    return first + tuple(wide // 2 + dimension for dimension in first)
