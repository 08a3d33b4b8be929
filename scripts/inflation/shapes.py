"""The shapes of well-known models, as their published config.json files have them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WideShape:
    """What decides the sizes of a model's tensors; `family` is the engine's name of its architecture."""

    name: str
    family: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied: bool


SHAPES = {
    shape.name: shape
    for shape in (
        WideShape("llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, tied=False),
        WideShape("llama-3.2-1b", "llama", 2048, 16, 32, 8, 64, 8192, 128256, tied=True),
        WideShape("qwen3-8b", "qwen3", 4096, 36, 32, 8, 128, 12288, 151936, tied=False),
        WideShape("qwen3-4b", "qwen3", 2560, 36, 32, 8, 128, 9728, 151936, tied=True),
        WideShape("qwen3-0.6b", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, tied=True),
    )
}
