"""One readable forward pass for Llama, Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.architecture import ModelConfig
from specdec.kv_cache import KVCache
from specdec.model.linear import Linear
from specdec.model.norm import Norm
from specdec.model.operations import operations_for
from specdec.model.rows import DeviceRows, HostRows, Tables, View

Matrix = TypeVar("Matrix")
Made = TypeVar("Made")


@dataclass
class LayerWeights(Generic[Matrix]):
    """One block, its matrices as they were read or as what multiplies; q_norm and k_norm exist in Qwen3 only."""

    attention_norm: Norm
    qkv: Matrix
    q_norm: Norm | None
    k_norm: Norm | None
    output: Matrix
    mlp_norm: Norm
    gate_up: Matrix
    down: Matrix

    def remade(self, make: Callable[[Matrix], Made]) -> LayerWeights[Made]:
        """The same block with each matrix made into something else."""
        qkv, output, gate_up, down = make(self.qkv), make(self.output), make(self.gate_up), make(self.down)
        return LayerWeights(self.attention_norm, qkv, self.q_norm, self.k_norm, output, self.mlp_norm, gate_up, down)


@dataclass
class Weights:
    """A whole model; `embedding` is [vocab, hidden] and `head` maps the last hidden state to logits."""

    embedding: Tensor
    layers: list[LayerWeights[Linear]]
    final_norm: Norm
    head: Linear


class Decoder:
    """Weights with their shape and tables; holds no sequence state, so models may share a cache."""

    def __init__(self, config: ModelConfig, weights: Weights, positions: int) -> None:
        self.config = config
        self.weights = weights
        self.dtype = weights.embedding.dtype
        self.device = weights.embedding.device
        self.tables = Tables(config, positions, self.dtype, self.device)
        self.operations = operations_for(self.device)

    def sharing(self, weights: Weights) -> Decoder:
        """The same model with other linear layers, as its INT4 copy is."""
        twin = copy.copy(self)
        twin.weights = weights
        return twin

    @torch.inference_mode()
    def forward(self, tokens: Tensor, start: int | Tensor, cache: KVCache, view: View, *, logits_from: int = 0) -> Tensor:
        """Run `tokens` [rows] int64 at positions start.. over the cache, writing their rows.

        A `start` that is a tensor, [1] int64 on the device, is read there when the pass runs, so a recording of it is good for any
        position. The view's extent is at least start + rows. Returns logits [rows - logits_from, vocab] of the rows from
        `logits_from` on, in the weights' dtype.
        """
        config, weights, add_norm = self.config, self.weights, self.operations.add_norm
        count = tokens.shape[0]
        rows: HostRows | DeviceRows
        if isinstance(start, int):
            rows = HostRows(config, self.tables, cache, start, count, view)
        else:
            rows = DeviceRows(config, self.tables, self.operations, cache, start, count, view)
        x = F.embedding(tokens, weights.embedding)
        delta: Tensor | None = None
        for index, layer in enumerate(weights.layers):
            x, normed = add_norm(x, delta, layer.attention_norm)
            mixed = rows.mix(index, layer.qkv(normed), layer.q_norm, layer.k_norm)
            x, normed = add_norm(x, layer.output(mixed), layer.mlp_norm)
            delta = layer.down(self.operations.swiglu(layer.gate_up(normed)))
        if logits_from >= count:
            return x.new_empty(0, config.vocab_size)
        _, normed = add_norm(x[logits_from:], None if delta is None else delta[logits_from:], weights.final_norm)
        return weights.head(normed)
