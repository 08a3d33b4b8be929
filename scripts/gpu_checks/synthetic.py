"""Models of any shape with random weights, made on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from specdec.architecture import ModelConfig
from specdec.checkpoint import Version
from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder, LayerWeights, Weights
from specdec.model.linear import Dense, Linear, full_precision
from specdec.model.norm import Norm
from specdec.target import padded_capacity, prefill_tile_of


def random_weights(config: ModelConfig, dtype: torch.dtype, device: torch.device, versions: Sequence[Version]) -> list[Weights]:
    """One `Weights` for each of `versions`, of the same random matrices, without biases.

    Rows are normal with variance 1 / width, so that activations keep their size.
    """
    hidden, wide = config.hidden_size, config.intermediate_size

    def matrix(rows: int, width: int) -> Dense:
        return Dense(torch.randn(rows, width, dtype=dtype, device=device).mul_(width**-0.5))

    def norm(width: int) -> Norm:
        return Norm(torch.ones(width, dtype=dtype, device=device), config.rms_eps)

    embedding = torch.randn(config.vocab_size, hidden, dtype=dtype, device=device)
    if config.tied:
        embedding.mul_(hidden**-0.5)
    stacks: list[list[LayerWeights[Linear]]] = [[] for _ in versions]
    for _ in range(config.layers):
        qkv, output = matrix(config.query_size + 2 * config.kv_size, hidden), matrix(hidden, config.query_size)
        gate_up, down = matrix(2 * wide, hidden), matrix(hidden, wide)
        attention_norm, mlp_norm = norm(hidden), norm(hidden)
        q_norm, k_norm = (norm(config.head_dim), norm(config.head_dim)) if config.qk_norm else (None, None)
        layer = LayerWeights(attention_norm, qkv, q_norm, k_norm, output, mlp_norm, gate_up, down)
        for layers, make in zip(stacks, versions, strict=True):
            layers.append(layer.remade(make))
    head = Dense(embedding) if config.tied else matrix(config.vocab_size, hidden)
    final_norm = norm(hidden)
    return [Weights(embedding, layers, final_norm, make(head)) for layers, make in zip(stacks, versions, strict=True)]


def random_decoder(config: ModelConfig, dtype: torch.dtype, device: torch.device, context: int) -> Decoder:
    """A full-precision model for `context` tokens."""
    (weights,) = random_weights(config, dtype, device, [full_precision])
    return Decoder(config, weights, padded_capacity(context, prefill_tile_of(device)))


def random_cache(decoder: Decoder, context: int) -> KVCache:
    """A cache for `context` tokens with random keys and values in it."""
    cache = KVCache(decoder.config, padded_capacity(context, prefill_tile_of(decoder.device)), decoder.dtype, decoder.device)
    cache.rows.normal_()
    return cache
