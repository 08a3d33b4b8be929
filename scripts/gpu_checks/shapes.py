"""The shapes of models whose step times are measured, as their published config.json gives them."""

from __future__ import annotations

from dataclasses import replace

from specdec.architecture import ModelConfig, Rope

LLAMA_8B, LLAMA_1B = "Llama-3.1-8B", "Llama-3.2-1B"
QWEN_8B, QWEN_4B, QWEN_06B = "Qwen3-8B", "Qwen3-4B", "Qwen3-0.6B"


def _llama(hidden: int, intermediate: int, layers: int, head_dim: int, rope_factor: float, tied: bool) -> ModelConfig:
    return ModelConfig(
        family="llama",
        vocab_size=128256,
        hidden_size=hidden,
        intermediate_size=intermediate,
        layers=layers,
        heads=32,
        kv_heads=8,
        head_dim=head_dim,
        max_positions=131072,
        rms_eps=1e-5,
        rope=Rope(500000.0, "llama3", rope_factor),
        tied=tied,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        qk_norm=False,
        windows=(None,) * layers,
    )


def _qwen(hidden: int, intermediate: int, layers: int, heads: int, tied: bool) -> ModelConfig:
    return ModelConfig(
        family="qwen3",
        vocab_size=151936,
        hidden_size=hidden,
        intermediate_size=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        max_positions=40960,
        rms_eps=1e-6,
        rope=Rope(1000000.0),
        tied=tied,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        qk_norm=True,
        windows=(None,) * layers,
    )


SHAPES = {
    LLAMA_8B: _llama(4096, 14336, 32, 128, 8.0, tied=False),
    LLAMA_1B: _llama(2048, 8192, 16, 64, 32.0, tied=True),
    QWEN_8B: _qwen(4096, 12288, 36, 32, tied=False),
    QWEN_4B: _qwen(2560, 9728, 36, 32, tied=True),
    QWEN_06B: _qwen(1024, 3072, 28, 16, tied=True),
}


def tiny(config: ModelConfig) -> ModelConfig:
    """A model of the same kind and the same number of query heads a key head, small enough for a test."""
    group = config.heads // config.kv_heads
    return replace(
        config,
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        layers=2,
        heads=2 * group,
        kv_heads=2,
        head_dim=32,
        max_positions=1024,
        windows=(None,) * 2,
    )
