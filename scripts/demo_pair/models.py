"""The two models, with random weights."""

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair.vocabulary import CONTEXT, END, END_OF_TEXT, token_ids


@dataclass(frozen=True)
class Shape:
    """What tells the two models apart; heads have 64 dimensions and share one key-value head."""

    hidden: int
    layers: int
    heads: int
    intermediate: int


TARGET = Shape(hidden=320, layers=8, heads=5, intermediate=832)
SIBLING = Shape(hidden=256, layers=2, heads=4, intermediate=640)


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with random weights, on the GPU if there is one."""
    torch.manual_seed(seed)
    end, end_of_text = token_ids(tokenizer, END, END_OF_TEXT)
    on_gpu = torch.cuda.is_available()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end_of_text,
    )
    with torch.device("cuda" if on_gpu else "cpu"):
        model = LlamaForCausalLM(config)
    # Short windows with a mask take less time unfused on a CPU, both forward and backward.
    model.set_attn_implementation("sdpa" if on_gpu else "eager")
    return model
