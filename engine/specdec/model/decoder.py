"""One readable forward pass for Llama, Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.architecture import ModelConfig
from specdec.kv_cache import KVCache
from specdec.model.linear import Linear
from specdec.model.norm import Norm
from specdec.model.ops import AttentionKind, attention, attention_on_one_thread, causal_bias, causal_table, rotate_, swiglu, window_bias
from specdec.model.rope import rotary_tables


@dataclass
class LayerWeights:
    """One block; q_norm and k_norm exist in Qwen3 only."""

    attention_norm: Norm
    qkv: Linear
    q_norm: Norm | None
    k_norm: Norm | None
    output: Linear
    mlp_norm: Norm
    gate_up: Linear
    down: Linear


@dataclass
class Weights:
    """A whole model; `embedding` is [vocab, hidden] and `head` maps the last hidden state to logits."""

    embedding: Tensor
    layers: list[LayerWeights]
    final_norm: Norm
    head: Linear


class Decoder:
    """Weights with their shape and rotary tables; holds no sequence state, so models may share a cache."""

    def __init__(self, config: ModelConfig, weights: Weights, positions: int) -> None:
        self.config = config
        self.weights = weights
        self.dtype = weights.embedding.dtype
        self.device = weights.embedding.device
        self.windows = set(config.windows)
        self.cos, self.sin = rotary_tables(config, positions, self.dtype, self.device)
        self.causal = causal_table(positions, self.dtype, self.device)

    def sharing(self, weights: Weights) -> Decoder:
        """The same model with other linear layers, as its INT4 copy is."""
        twin = copy.copy(self)
        twin.weights = weights
        return twin

    @torch.inference_mode()
    def forward(
        self,
        tokens: Tensor,
        start: int,
        cache: KVCache,
        *,
        extent: int,
        kind: AttentionKind = "fused",
        serial_attention: bool = False,
        always_biased: bool = False,
        logits_from: int = 0,
    ) -> Tensor:
        """Run `tokens` [rows] int64 at positions start.. over the cache, writing their rows.

        Attention looks at cache rows below `extent` (at least start + rows), on one CPU thread if `serial_attention`. With
        `always_biased` it adds a bias even where nothing is hidden, so that a row is computed alone as it is in company.
        Returns logits [rows - logits_from, vocab] of the rows from `logits_from` on, in the weights' dtype.
        """
        config, weights = self.config, self.weights
        rows = tokens.shape[0]
        stop = start + rows
        cos, sin = self.cos[start:stop], self.sin[start:stop]
        biases = self._biases(start, rows, extent, always_biased)
        heads, rotated = config.heads, config.heads + config.kv_heads
        attend = attention_on_one_thread if serial_attention else attention
        x = F.embedding(tokens, weights.embedding)
        for index, layer in enumerate(weights.layers):
            qkv = layer.qkv(layer.attention_norm(x)).view(rows, rotated + config.kv_heads, config.head_dim)
            if layer.q_norm is not None and layer.k_norm is not None:
                qkv[:, :heads] = layer.q_norm(qkv[:, :heads])
                qkv[:, heads:rotated] = layer.k_norm(qkv[:, heads:rotated])
            rotate_(qkv[:, :rotated], cos, sin)
            cache.write(index, start, qkv[:, heads:])
            key, value = cache.read(index, extent)
            mixed = attend(kind, qkv[:, :heads], key, value, biases[config.windows[index]])
            x = x + layer.output(mixed)
            x = x + layer.down(swiglu(layer.gate_up(layer.mlp_norm(x))))
        if logits_from >= rows:
            return x.new_empty(0, config.vocab_size)
        return weights.head(weights.final_norm(x[logits_from:]))

    def _biases(self, start: int, rows: int, extent: int, always: bool) -> dict[int | None, Tensor | None]:
        """The attention bias for each window size in use; None, unless `always`, where a row may look at everything below the extent."""
        if not always and rows == 1 and extent == start + 1 and self.windows == {None}:
            return {None: None}
        bias = causal_bias(self.causal, start, rows, extent)
        return {window: bias if window is None else window_bias(bias, start, window) for window in self.windows}
