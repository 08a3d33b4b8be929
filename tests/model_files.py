"""Small model directories for tests that read configs, tokenizers and file names but never load weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
WORDS = ["a", "b", "c", "ab", "abc", " the"]


def tokenizer(words: list[str] | None = None, specials: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """A tokenizer.json of byte-pair words numbered from 0, and added tokens; `changes` replace fields of the model or the top."""
    listed = WORDS if words is None else words
    model = {"type": "BPE", "vocab": {word: index for index, word in enumerate(listed)}, "merges": ["a b", "ab c"]}
    added = [{"id": index, "content": content, "special": True} for content, index in (specials or {"<end>": 100}).items()]
    whole = {"normalizer": None, "pre_tokenizer": {"type": "ByteLevel"}, "decoder": None, "added_tokens": added, "model": model}
    for name, value in changes.items():
        (whole if name in whole else model)[name] = value
    return whole


def model_files(
    config: dict[str, Any] | None = None, tokens: dict[str, Any] | None = None, weights: bytes = b"weights"
) -> dict[str, bytes]:
    """The files of a model by name; `config` entries replace or join the usual ones."""
    return {
        "config.json": json.dumps(CONFIG | (config or {})).encode(),
        "tokenizer.json": json.dumps(tokens or tokenizer()).encode(),
        "model.safetensors": weights,
    }


def write_files(directory: Path, files: dict[str, bytes]) -> Path:
    """The directory, made and filled."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def cache_repository(cache: Path, repository: str, files: dict[str, bytes]) -> Path:
    """Put a repository into a Hugging Face cache the way a finished download does; returns its snapshot."""
    commit = "89abcdef0123456789abcdef0123456789abcdef"
    folder = cache / f"models--{repository.replace('/', '--')}"
    write_files(folder / "refs", {"main": commit.encode()})
    return write_files(folder / "snapshots" / commit, files)
