"""config.json + safetensors -> model weights, memory-mapped and fused; each matrix becomes every version asked for in one pass."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from specdec.architecture import ModelConfig
from specdec.errors import CheckpointError
from specdec.memory import LAYERS_IN_HAND
from specdec.model.decoder import LayerWeights, Weights
from specdec.model.linear import Dense, Linear, full_precision
from specdec.model.norm import Norm
from specdec.weight_files import refuse_pickles, weight_names

AGAIN = "Download the model again."
READERS_OF_KEPT = 4

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

    Threads read layers ahead while the ones before are made into versions: several where a GPU keeps what they read, else one, for
    what is read and not kept needs room of its own. Raises CheckpointError for damaged files and for tensors that are missing or
    contradict the config.
    """
    with ExitStack() as stack:
        reader = _Reader(directory, dtype, device, stack)
        readers = READERS_OF_KEPT if device.type == "cuda" and full_precision in versions else LAYERS_IN_HAND - 1
        pool = stack.enter_context(ThreadPoolExecutor(readers))
        ends = config.vocab_size, config.hidden_size
        embedding = reader.tensor("model.embed_tokens.weight", *ends)
        stacks: list[list[LayerWeights[Linear]]] = [[] for _ in versions]
        for layer in _ahead(pool, readers, partial(_read_layer, reader, config), range(config.layers)):
            for layers, make in zip(stacks, versions, strict=True):
                layers.append(layer.remade(make))
            del layer
            report(reader.bytes_read, reader.bytes_total)
        head = Dense(embedding if config.tied else reader.tensor("lm_head.weight", *ends))
        final_norm = reader.norm("model.norm", config.hidden_size, config)
        made = [Weights(embedding, layers, final_norm, make(head)) for layers, make in zip(stacks, versions, strict=True)]
        _return_freed_memory()
        report(reader.bytes_total, reader.bytes_total)
        return made


def _return_freed_memory() -> None:
    """Give back to the system what was freed while weights were read, which glibc would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _ahead(pool: Executor, count: int, read: Callable[[int], LayerWeights[Dense]], indices: Iterable[int]) -> Iterator[LayerWeights[Dense]]:
    """What is read of each index, in order, while up to `count` of those to come are read."""
    reading: deque[Future[LayerWeights[Dense]]] = deque()
    for index in indices:
        reading.append(pool.submit(read, index))
        if len(reading) > count:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


def _read_layer(reader: _Reader, config: ModelConfig, index: int) -> LayerWeights[Dense]:
    hidden, wide = config.hidden_size, config.intermediate_size
    block = f"model.layers.{index}."
    attention, mlp = f"{block}self_attn.", f"{block}mlp."
    query, key_value = (f"{attention}q_proj", config.query_size), [(f"{attention}{name}_proj", config.kv_size) for name in "kv"]
    return LayerWeights(
        attention_norm=reader.norm(f"{block}input_layernorm", hidden, config),
        qkv=reader.fused([query, *key_value], hidden, config.qkv_bias),
        q_norm=reader.norm(f"{attention}q_norm", config.head_dim, config) if config.qk_norm else None,
        k_norm=reader.norm(f"{attention}k_norm", config.head_dim, config) if config.qk_norm else None,
        output=reader.fused([(f"{attention}o_proj", hidden)], config.query_size, config.output_bias),
        mlp_norm=reader.norm(f"{block}post_attention_layernorm", hidden, config),
        gate_up=reader.fused([(f"{mlp}gate_proj", wide), (f"{mlp}up_proj", wide)], hidden, config.mlp_bias),
        down=reader.fused([(f"{mlp}down_proj", hidden)], wide, config.mlp_bias),
    )


class _Reader:
    """Tensors by name over all shards, checked against the shape the config implies; several threads may read."""

    def __init__(self, directory: Path, dtype: torch.dtype, device: torch.device, stack: ExitStack) -> None:
        self.directory = directory
        self.dtype = dtype
        self.device = device
        self.shard_of: dict[str, Any] = {}
        self.bytes_read = self.bytes_total = 0
        self._counting = Lock()
        for path in weight_files(directory):
            try:
                shard = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path} is damaged or cut short ({error}).", AGAIN) from error
            self.shard_of |= dict.fromkeys(shard.keys(), shard)
            self.bytes_total += path.stat().st_size

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A tensor in the engine's dtype on its device, which converts it if need be."""
        if name not in self.shard_of:
            raise CheckpointError(f"{self.directory} lacks the tensor {name} that its config.json calls for.", AGAIN)
        found: Tensor = self.shard_of[name].get_tensor(name)
        if not found.dtype.is_floating_point or found.element_size() < 2:
            raise CheckpointError(f"{self.directory}: {name} is stored as {found.dtype}.", "Use a float16, bfloat16 or float32 checkpoint.")
        if tuple(found.shape) != shape:
            raise CheckpointError(f"{self.directory}: {name} is {list(found.shape)}, but config.json implies {list(shape)}.", AGAIN)
        tensor = found.to(self.device).to(self.dtype)
        with self._counting:
            self.bytes_read += found.nbytes
        return tensor

    def norm(self, name: str, width: int, config: ModelConfig) -> Norm:
        """A normalisation with the config's eps."""
        return Norm(self.tensor(f"{name}.weight", width), config.rms_eps)

    def fused(self, parts: Sequence[tuple[str, int]], width: int, bias: bool) -> Dense:
        """Projections of one input stacked into one matrix, which is filled part by part."""
        if len(parts) == 1:
            name, rows = parts[0]
            weight = self.tensor(f"{name}.weight", rows, width)
        else:
            weight = torch.empty(sum(rows for _, rows in parts), width, dtype=self.dtype, device=self.device)
            for (name, rows), place in zip(parts, torch.split(weight, [rows for _, rows in parts]), strict=True):
                place.copy_(self.tensor(f"{name}.weight", rows, width))
        return Dense(weight, torch.cat([self.tensor(f"{name}.bias", rows) for name, rows in parts]) if bias else None)
