"""Tiny random models of every supported family, as Hugging Face directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

transformers.logging.disable_progress_bar()

VOCAB = 320
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 96,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 640,
    "initializer_range": 0.15,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, SHAPE | {"tie_word_embeddings": False}),
    "llama-tied-biased": (LlamaConfig, SHAPE | {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    "llama-3.1-rope": (LlamaConfig, SHAPE | {"rope_parameters": LLAMA3_ROPE}),
    "llama-linear-rope": (LlamaConfig, SHAPE | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}),
    "smollm": (
        LlamaConfig,
        SHAPE | {"hidden_size": 144, "num_attention_heads": 9, "num_key_value_heads": 3} | {"tie_word_embeddings": True},
    ),
    "gqa-5": (LlamaConfig, SHAPE | {"hidden_size": 160, "num_attention_heads": 5, "num_key_value_heads": 1}),
    "gqa-1": (LlamaConfig, SHAPE | {"num_attention_heads": 4, "num_key_value_heads": 4}),
    "mistral": (MistralConfig, SHAPE | {"sliding_window": None}),
    "mistral-window": (MistralConfig, SHAPE | {"sliding_window": 24}),
    "qwen2": (Qwen2Config, SHAPE | {"tie_word_embeddings": True}),
    "qwen2-window": (Qwen2Config, SHAPE | {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1}),
    "qwen3": (Qwen3Config, SHAPE),
}
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def save_model(directory: Path, name: str = "llama", seed: int = 0, shard: str = "5GB", **overrides: Any) -> Any:
    """Save a random model of a configuration, weights in float32, and return transformers' own instance of it."""
    torch.manual_seed(seed)
    make, shape = CONFIGS[name]
    config = make(**shape | overrides)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif key.endswith("bias"):
                parameter.copy_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(directory, max_shard_size=shard)
    return model


def save_tokenizer(directory: Path, template: str | None = TEMPLATE, vocab: int = VOCAB) -> None:
    """A byte-level BPE tokenizer of `vocab` entries with the roles as special tokens; <|end|> ends an answer."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    corpus = ["the quick brown fox jumps over the lazy dog and the cat sat on the mat while it rained"] * 4
    trainer = BpeTrainer(
        vocab_size=vocab, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|endoftext|>")
    fast.chat_template = template
    fast.save_pretrained(directory)


def save_pair(root: Path, name: str = "llama", seed: int = 0) -> tuple[Path, Path]:
    """A target and a smaller sibling that share a tokenizer."""
    target, sibling = root / "target", root / "sibling"
    save_model(target, name, seed)
    save_model(sibling, name, seed + 1, num_hidden_layers=1)
    save_tokenizer(target)
    save_tokenizer(sibling)
    return target, sibling
