"""config.json + safetensors -> model weights, memory-mapped and fused; each matrix becomes every version asked for in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from specdec.architecture import ModelConfig
from specdec.errors import CheckpointError
from specdec.model.decoder import LayerWeights, Weights
from specdec.model.linear import Dense, Linear
from specdec.model.norm import Norm
from specdec.weight_files import refuse_pickles, weight_names

AGAIN = "Download the model again."

Version = Callable[[Dense], Linear]


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a model directory; raises CheckpointError for missing files and for pickles."""
    refuse_pickles(directory)
    names = weight_names(directory)
    missing = [name for name in names if not (directory / name).exists()]
    if missing:
        raise CheckpointError(f"{directory} lacks {', '.join(missing)}.", AGAIN)
    return [directory / name for name in names]


def load_weights(
    directory: Path,
    config: ModelConfig,
    dtype: torch.dtype,
    device: torch.device,
    versions: Sequence[Version],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Weights]:
    """One `Weights` for each of `versions`, sharing embedding and norms; `report` gets bytes read and bytes in all.

    Raises CheckpointError for damaged files and for tensors that are missing or contradict the config.
    """
    with ExitStack() as stack:
        reader = _Reader(directory, dtype, device, stack)
        hidden, vocab = config.hidden_size, config.vocab_size
        embedding = reader.tensor("model.embed_tokens.weight", vocab, hidden)
        final_norm = reader.norm("model.norm", hidden, config)
        stacks: list[list[LayerWeights]] = [[] for _ in versions]
        for index in range(config.layers):
            for layers, layer in zip(stacks, _layer(reader, config, f"model.layers.{index}.", versions), strict=True):
                layers.append(layer)
            report(reader.bytes_read, reader.bytes_total)
        head = Dense(embedding if config.tied else reader.tensor("lm_head.weight", vocab, hidden))
        made = [Weights(embedding, layers, final_norm, make(head)) for layers, make in zip(stacks, versions, strict=True)]
        report(reader.bytes_total, reader.bytes_total)
        return made


def _layer(reader: _Reader, config: ModelConfig, prefix: str, versions: Sequence[Version]) -> list[LayerWeights]:
    hidden, wide = config.hidden_size, config.intermediate_size
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    qkv = reader.fused(
        [(f"{attention}q_proj", config.query_size), (f"{attention}k_proj", config.kv_size), (f"{attention}v_proj", config.kv_size)],
        hidden,
        config.qkv_bias,
    )
    output = reader.fused([(f"{attention}o_proj", hidden)], config.query_size, config.output_bias)
    gate_up = reader.fused([(f"{mlp}gate_proj", wide), (f"{mlp}up_proj", wide)], hidden, config.mlp_bias)
    down = reader.fused([(f"{mlp}down_proj", hidden)], wide, config.mlp_bias)
    attention_norm = reader.norm(f"{prefix}input_layernorm", hidden, config)
    mlp_norm = reader.norm(f"{prefix}post_attention_layernorm", hidden, config)
    q_norm = reader.norm(f"{attention}q_norm", config.head_dim, config) if config.qk_norm else None
    k_norm = reader.norm(f"{attention}k_norm", config.head_dim, config) if config.qk_norm else None
    return [LayerWeights(attention_norm, make(qkv), q_norm, k_norm, make(output), mlp_norm, make(gate_up), make(down)) for make in versions]


class _Reader:
    """Tensors by name over all shards, checked against the shape the config implies."""

    def __init__(self, directory: Path, dtype: torch.dtype, device: torch.device, stack: ExitStack) -> None:
        self.directory = directory
        self.dtype = dtype
        self.device = device
        self.shard_of: dict[str, Any] = {}
        self.bytes_read = self.bytes_total = 0
        for path in weight_files(directory):
            try:
                shard = stack.enter_context(safe_open(path, framework="pt", device=str(device)))
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path} is damaged or cut short ({error}).", AGAIN) from error
            self.shard_of |= dict.fromkeys(shard.keys(), shard)
            self.bytes_total += path.stat().st_size

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A tensor in the engine's dtype on its device."""
        if name not in self.shard_of:
            raise CheckpointError(f"{self.directory} lacks the tensor {name} that its config.json calls for.", AGAIN)
        found: Tensor = self.shard_of[name].get_tensor(name)
        if not found.dtype.is_floating_point or found.element_size() < 2:
            raise CheckpointError(f"{self.directory}: {name} is stored as {found.dtype}.", "Use a float16, bfloat16 or float32 checkpoint.")
        if tuple(found.shape) != shape:
            raise CheckpointError(f"{self.directory}: {name} is {list(found.shape)}, but config.json implies {list(shape)}.", AGAIN)
        self.bytes_read += found.nbytes
        return found.to(self.device, self.dtype)

    def norm(self, name: str, width: int, config: ModelConfig) -> Norm:
        """A normalisation with the config's eps."""
        return Norm(self.tensor(f"{name}.weight", width), config.rms_eps)

    def fused(self, parts: Sequence[tuple[str, int]], width: int, bias: bool) -> Dense:
        """Projections of one input stacked into one matrix."""
        weight = torch.cat([self.tensor(f"{name}.weight", rows, width) for name, rows in parts])
        return Dense(weight, torch.cat([self.tensor(f"{name}.bias", rows) for name, rows in parts]) if bias else None)
