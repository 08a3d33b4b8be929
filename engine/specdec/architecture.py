"""config.json -> ModelConfig: the shape of a supported model, read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specdec.errors import CheckpointError, UnsupportedArchitectureError

SUPPORTED = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
SUPPORTED_ROPE = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Rope:
    """Rotary embedding: base and, for `linear` and `llama3`, the frequency scaling (lengths in tokens)."""

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder-only model; `windows` has one entry a layer, the attention window in tokens or None for all."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    rms_eps: float
    rope: Rope
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def head_parameters(self) -> int:
        """Weights of the output head, and of the embedding."""
        return self.vocab_size * self.hidden_size

    @property
    def linear_parameters(self) -> int:
        """Weights of the matrix products of one token, the output head included."""
        attention = self.hidden_size * (2 * self.query_size + 2 * self.kv_size)
        return self.layers * (attention + 3 * self.hidden_size * self.intermediate_size) + self.head_parameters

    @property
    def parameters(self) -> int:
        """All weights as stored: a tied head counts once; norms and biases are left out (under 0.1%)."""
        return self.linear_parameters + (0 if self.tied else self.head_parameters)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from disk; raises CheckpointError naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing.", "Point at a complete Hugging Face model directory.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", "Download the model again.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} does not hold a JSON object.", "Download the model again.")
    return value


def read_config(directory: Path) -> ModelConfig:
    """The config of a model directory.

    Raises UnsupportedArchitectureError for a family without a decoder here, CheckpointError for a config that is missing,
    damaged or incomplete.
    """
    path = directory / "config.json"
    raw = read_json(path)
    try:
        return _config(path, raw, _family(path, raw))
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} lacks or garbles {error}.", "Download the model again.") from error


def _family(path: Path, raw: dict[str, Any]) -> str:
    named = raw.get("architectures") or [raw.get("model_type", "nothing")]
    for name in named:
        if name in SUPPORTED:
            return SUPPORTED[name]
    raise UnsupportedArchitectureError(
        f"{path.parent.name} is a {named[0]}, which specchat has no decoder for.",
        f"Supported: {', '.join(SUPPORTED)} (SmolLM and SmolLM2 are Llama models).",
    )


def _config(path: Path, raw: dict[str, Any], family: str) -> ModelConfig:
    heads = int(raw["num_attention_heads"])
    hidden = int(raw["hidden_size"])
    layers = int(raw["num_hidden_layers"])
    kv_heads = int(raw.get("num_key_value_heads") or heads)
    attention_bias = bool(raw.get("attention_bias", False))
    if raw.get("hidden_act", "silu") != "silu":
        raise UnsupportedArchitectureError(f"{path.parent.name} uses the activation {raw['hidden_act']}.", "Supported: silu.")
    if heads % kv_heads:
        raise ValueError(f"num_key_value_heads ({kv_heads} does not divide {heads} heads)")
    return ModelConfig(
        family=family,
        vocab_size=int(raw["vocab_size"]),
        hidden_size=hidden,
        intermediate_size=int(raw["intermediate_size"]),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=int(raw.get("head_dim") or hidden // heads),
        max_positions=int(raw["max_position_embeddings"]),
        rms_eps=float(raw.get("rms_norm_eps", 1e-6)),
        rope=_rope(path, raw),
        tied=bool(raw.get("tie_word_embeddings", False)),
        qkv_bias=attention_bias or family == "qwen2",
        output_bias=attention_bias and family in ("llama", "qwen3"),
        mlp_bias=bool(raw.get("mlp_bias", False)),
        qk_norm=family == "qwen3",
        windows=_windows(raw, family, layers),
    )


def _rope(path: Path, raw: dict[str, Any]) -> Rope:
    """Reads both spellings: `rope_parameters` of transformers 5, and `rope_theta` with `rope_scaling` before it."""
    scaling = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = float(scaling.get("rope_theta") or raw.get("rope_theta") or 10000.0)
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in SUPPORTED_ROPE:
        raise UnsupportedArchitectureError(
            f"{path.parent.name} scales its positions by {kind}.", f"Supported: {', '.join(SUPPORTED_ROPE)}; or remove rope_scaling."
        )
    if kind == "default":
        return Rope(theta)
    if kind == "linear":
        return Rope(theta, kind, float(scaling["factor"]))
    return Rope(
        theta,
        kind,
        float(scaling["factor"]),
        float(scaling["low_freq_factor"]),
        float(scaling["high_freq_factor"]),
        int(scaling["original_max_position_embeddings"]),
    )


def _windows(raw: dict[str, Any], family: str, layers: int) -> tuple[int | None, ...]:
    window = raw.get("sliding_window")
    if window is None or family == "llama" or (family.startswith("qwen") and not raw.get("use_sliding_window", False)):
        return (None,) * layers
    kinds = raw.get("layer_types")
    if kinds is None:
        first = int(raw.get("max_window_layers", 0)) if family.startswith("qwen") else 0
        kinds = ["full_attention"] * first + ["sliding_attention"] * (layers - first)
    if len(kinds) != layers:
        raise ValueError("layer_types")
    return tuple(int(window) if kind == "sliding_attention" else None for kind in kinds)
