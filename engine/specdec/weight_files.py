"""Which weight files a model directory consists of, by name; read without torch."""

from __future__ import annotations

import re
from pathlib import Path

from specdec.architecture import read_json
from specdec.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
NAME = re.compile(r"\w[\w.-]*\.safetensors", re.ASCII)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def weight_names(directory: Path) -> list[str]:
    """The files the directory's index names, or the single one; raises CheckpointError for an index that names anything else."""
    if not (directory / INDEX).is_file():
        return [SINGLE]
    shards = read_json(directory / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) and NAME.fullmatch(name) for name in shards.values()):
        raise CheckpointError(f"{directory / INDEX} names no weight files, or files outside its folder.", "Download the model again.")
    return sorted(set(shards.values()))


def refuse_pickles(directory: Path) -> None:
    """Raise CheckpointError for a directory whose only weights are pickles."""
    names = [path.name for path in directory.iterdir() if path.is_file()]
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        raise CheckpointError(
            f"{directory} holds only pickled weights ({min(pickles)}), which are never loaded because they can run code.",
            "Convert them to safetensors or pick a repository that has them.",
        )
