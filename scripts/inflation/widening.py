"""The tensors of a wide model, each made when it is asked for.

Whatever the small model's weights leave free is random, so that every byte of a full-size model is there to be read, except where
zeros are needed: matrices that write the residual are zero beside the small ones, and so are the norm weights of the dimensions
that no matrix may see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from inflation.placement import Placement

RANDOM_SCALE = 0.02
POOL_SIZE = 4_194_301  # a prime, so that no row of a matrix repeats another
MARKER_ROW = 1024.0
FORBIDDING = 24576.0
Tensors = Mapping[str, Tensor]


class RandomFill:
    """Random float16 matrices, cut from one pool at random offsets, which takes a hundredth of the time of drawing every weight."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._pool = (torch.randn(POOL_SIZE, generator=self._generator) * RANDOM_SCALE).half()

    def matrix(self, rows: int, columns: int) -> Tensor:
        """The next matrix of the sequence that the seed decides."""
        flat = torch.empty(rows * columns, dtype=torch.float16)
        offset = int(torch.randint(POOL_SIZE, (1,), generator=self._generator))
        head = self._pool[offset:][: len(flat)]
        flat[: len(head)] = head
        for start in range(len(head), len(flat), POOL_SIZE):
            part = flat[start : start + POOL_SIZE]
            part.copy_(self._pool[: len(part)])
        return flat.view(rows, columns)


def embedding(place: Placement, small: Tensors, fill: RandomFill) -> Tensor:
    """The embedding, whose known tokens put the markers into the residual; a tied one is the output head as well."""
    known, width = small["model.embed_tokens.weight"].shape
    wide = fill.matrix(place.shape.vocab_size, place.shape.hidden_size)
    wide[:known, :width] = small["model.embed_tokens.weight"].half()
    wide[:known, width:] = 0
    wide[:known, -2:] = place.marker
    if place.shape.tied:
        _forbid(wide, known)
    return wide


def output_head(place: Placement, small: Tensors, fill: RandomFill) -> Tensor:
    """The output head of a shape that has one of its own."""
    head = small["model.embed_tokens.weight" if place.small.tied else "lm_head.weight"]
    known, width = head.shape
    wide = fill.matrix(place.shape.vocab_size, place.shape.hidden_size)
    wide[:known, :width] = head.half()
    wide[:known, -2:] = 0
    _forbid(wide, known)
    return wide


def final_norm(place: Placement, small: Tensors) -> Tensor:
    """The last norm, which shows the head the markers with opposite signs, y and -y.

    For a known token they cancel: its head row has zeros there, or, tied, the marker twice. For all others they add up to a logit of
    -FORBIDDING / rms, where rms is the small residual's root mean square: from 0.4 to 100 that stays in float16's range and is so
    far below the logits of known tokens that its exponential is zero.
    """
    wide = _norm(place, small["model.norm.weight"], 1.0)
    y = FORBIDDING * place.residual_scale / (2 * MARKER_ROW * place.marker)
    wide[-2], wide[-1] = y, -y
    return wide


def layer(place: Placement, small: Tensors, index: int, fill: RandomFill) -> dict[str, Tensor]:
    """The tensors of a layer by name; those beyond the small model's own layers add nothing to the residual."""
    shape, width, wide = place.shape, place.small.hidden_size, place.shape.hidden_size
    prefix = f"model.layers.{index}."
    query, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    ones = torch.ones(width)
    tensors = {
        "self_attn.q_proj": fill.matrix(query, wide),
        "self_attn.k_proj": fill.matrix(kv, wide),
        "self_attn.v_proj": fill.matrix(kv, wide),
        "self_attn.o_proj": torch.zeros(wide, query, dtype=torch.float16),
        "mlp.gate_proj": fill.matrix(shape.intermediate_size, wide),
        "mlp.up_proj": fill.matrix(shape.intermediate_size, wide),
        "mlp.down_proj": torch.zeros(wide, shape.intermediate_size, dtype=torch.float16),
        "input_layernorm": _norm(place, ones, 1.0),
        "post_attention_layernorm": _norm(place, ones, 1.0),
    }
    if place.small.qk_norm:
        tensors |= {"self_attn.q_norm": torch.ones(shape.head_dim), "self_attn.k_norm": torch.ones(shape.head_dim)}
    if index < place.small.layers:
        own = {name: small[f"{prefix}{name}.weight"].float() for name in tensors}
        tensors["input_layernorm"] = _norm(place, own["input_layernorm"], place.attention_scale)
        tensors["post_attention_layernorm"] = _norm(place, own["post_attention_layernorm"], 1.0)
        _put_attention(place, own, tensors)
        _put_mlp(place, own, tensors)
    return {f"{prefix}{name}.weight": tensor for name, tensor in tensors.items()}


def _norm(place: Placement, weight: Tensor, scale: float) -> Tensor:
    """A norm of the residual in float32, as its factor is seldom a float16 number; it hides the free dimensions."""
    wide = torch.zeros(place.shape.hidden_size)
    wide[: place.small.hidden_size] = weight.double() * (place.residual_scale * scale)
    return wide


def _put_attention(place: Placement, own: Tensors, wide: dict[str, Tensor]) -> None:
    """Lay the small heads into their slots; free dimensions of their queries and keys are zero, so that no q/k norm sees them."""
    width, narrow, broad = place.small.hidden_size, place.small.head_dim, place.shape.head_dim
    rotary = torch.tensor(place.rotary)

    def put(name: str, small_head: int, slot: int, dimensions: Tensor, *, clear: bool) -> None:
        rows = wide[name][slot * broad : (slot + 1) * broad]
        if clear:
            rows[:, :width] = 0
        rows[dimensions, :width] = own[name][small_head * narrow : (small_head + 1) * narrow].half()

    for head, slot in enumerate(place.query_slots):
        put("self_attn.q_proj", head, slot, rotary, clear=True)
        _put_output(place, own["self_attn.o_proj"][:, head * narrow : (head + 1) * narrow], slot, wide["self_attn.o_proj"])
    for slot, small_head in place.kv_slots:
        put("self_attn.k_proj", small_head, slot, rotary, clear=True)
        for copy in range(min(2, broad // narrow)):
            put("self_attn.v_proj", small_head, slot, torch.arange(narrow) + copy * narrow, clear=False)
    if place.small.qk_norm:
        # The norms' mean is over more dimensions, and the scores are divided by a larger root: for queries, the two cancel.
        wide["self_attn.q_norm"][rotary] = own["self_attn.q_norm"]
        wide["self_attn.k_norm"][rotary] = own["self_attn.k_norm"] * math.sqrt(narrow / broad)


def _put_output(place: Placement, columns: Tensor, slot: int, wide: Tensor) -> None:
    """Lay a head's part of the output projection, divided by the scale of the values, into its slot.

    The quotient is seldom a float16 number, so where the scale is not 1 the remainder goes to the values' second copy.
    """
    start, narrow = slot * place.shape.head_dim, place.small.head_dim
    exact = columns / place.attention_scale
    nearest = exact.half()
    block = wide[: place.small.hidden_size]
    block[:, start : start + narrow] = nearest
    if place.attention_scale != 1:
        block[:, start + narrow : start + 2 * narrow] = (exact - nearest.float()).half()


def _put_mlp(place: Placement, own: Tensors, wide: dict[str, Tensor]) -> None:
    """Lay the small MLP into the first columns; the others' results meet zeros in the down projection."""
    width, rows = place.small.hidden_size, place.small.intermediate_size
    for name in ("mlp.gate_proj", "mlp.up_proj"):
        wide[name][:rows, :width] = own[name].half()
    wide["mlp.down_proj"][:width, :rows] = own["mlp.down_proj"].half()


def _forbid(head: Tensor, known: int) -> None:
    """Make the head's rows of unknown tokens read both markers as negative."""
    head[known:, -2], head[known:, -1] = -MARKER_ROW, MARKER_ROW
