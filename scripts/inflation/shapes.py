"""The shapes of well-known models."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gpu_checks import shapes
from specdec.architecture import ModelConfig


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


def wide(name: str, config: ModelConfig) -> WideShape:
    """The shape of a model."""
    sizes = {field.name: getattr(config, field.name) for field in fields(WideShape) if field.name != "name"}
    return WideShape(name, **sizes)


SHAPES = {name.lower(): wide(name.lower(), config) for name, config in shapes.SHAPES.items()}
