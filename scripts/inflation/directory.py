"""A wide model as an ordinary Hugging Face directory, a file for each layer, so that no more than one is in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from inflation import widening
from inflation.placement import Placement, place
from inflation.shapes import WideShape
from specdec.architecture import SUPPORTED, read_config, read_json
from specdec.checkpoint import weight_files
from specdec.hub import WANTED, WEIGHTS
from specdec.weight_files import INDEX

MAX_POSITIONS = 32768
CARD = """# {name}, filled with a small model

This is {source} widened to the shape of {name} by `scripts/inflate_pair.py` (seed {seed}). It gives the answers of the small model
at the cost of the large one: {layers} layers, hidden size {hidden}, {parameters:,} parameters, all in float16 but the norms. It
knows what the small model knows, up to {positions} positions, and the licence is the small model's. Figures measured with it tell
the time of the full size with real text, not the quality or the acceptance of the model the shape is taken from.
"""


def write_model(source: Path, shape: WideShape, folder: Path, seed: int, report: Callable[[int, int], None]) -> None:
    """Widen the model in `source` into `folder`; `report` gets files written and files in all.

    Raises UsageError for a model that does not fit into the shape, CheckpointError for one that cannot be read.
    """
    placement = place(read_config(source), shape)
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if WANTED.fullmatch(path.name) and not WEIGHTS.fullmatch(path.name) and path.name not in ("config.json", INDEX):
            shutil.copyfile(path, folder / path.name)
    config = wide_config(read_json(source / "config.json"), placement)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_weights(source, placement, folder, seed, report)
    found = read_config(folder)
    card = CARD.format(
        name=shape.name,
        source=source.resolve().name if source.resolve().parent.name != "demo" else f"specchat's demo {source.name}",
        seed=seed,
        layers=shape.layers,
        hidden=shape.hidden_size,
        parameters=found.parameters,
        positions=placement.small.max_positions,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def wide_config(small: dict[str, Any], placement: Placement) -> dict[str, Any]:
    """config.json of the wide model: the small one's, rotary frequencies included, with the sizes of the shape."""
    shape = placement.shape
    kept = {name: value for name, value in small.items() if name not in ("layer_types", "max_window_layers", "torch_dtype")}
    return kept | {
        "architectures": [next(name for name, family in SUPPORTED.items() if family == shape.family)],
        "dtype": "float16",
        "head_dim": shape.head_dim,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": MAX_POSITIONS,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": placement.eps,
        "tie_word_embeddings": shape.tied,
        "vocab_size": shape.vocab_size,
    }


def _shards(placement: Placement, small: widening.Tensors, seed: int) -> Iterator[dict[str, Tensor]]:
    """The tensors of each file in turn."""
    fill = widening.RandomFill(seed)
    yield {"model.embed_tokens.weight": widening.embedding(placement, small, fill)}
    for index in range(placement.shape.layers):
        yield widening.layer(placement, small, index, fill)
    last = {"model.norm.weight": widening.final_norm(placement, small)}
    yield last if placement.shape.tied else last | {"lm_head.weight": widening.output_head(placement, small, fill)}


def _write_weights(source: Path, placement: Placement, folder: Path, seed: int, report: Callable[[int, int], None]) -> None:
    small = {name: tensor for path in weight_files(source) for name, tensor in load_file(path).items()}
    files = placement.shape.layers + 2
    size = 0
    file_of: dict[str, str] = {}
    for number, tensors in enumerate(_shards(placement, small, seed), 1):
        name = f"model-{number:05d}-of-{files:05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)
        size += sum(tensor.nbytes for tensor in tensors.values())
        file_of |= dict.fromkeys(tensors, name)
        report(number, files)
    index = {"metadata": {"total_size": size}, "weight_map": file_of}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
