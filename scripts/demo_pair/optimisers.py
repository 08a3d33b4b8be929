"""What updates the weights: Muon for the layers' matrices (which learns from fewer tokens), AdamW for the embedding and the norms.

Sources: Jordan et al., "Muon" (2024); Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2017).
"""

import math
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

WARM_UP = 0.04
FINAL_RATE = 0.02


@dataclass(frozen=True)
class Rates:
    """The highest learning rates, of the layers' matrices and of the embedding and norms."""

    layers: float
    embedding: float


def optimisers_of(model: LlamaForCausalLM, peaks: Rates) -> list[torch.optim.Optimizer]:
    """The optimisers of a model; every group remembers its peak."""
    layers = [parameter for parameter in model.model.layers.parameters() if parameter.ndim > 1]
    embedding = [model.model.embed_tokens.weight]
    norms = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    matrices = [{"params": layers, "peak": peaks.layers, "weight_decay": 0.1}]
    others = [
        {"params": embedding, "peak": peaks.embedding, "weight_decay": 0.1},
        {"params": norms, "peak": peaks.embedding, "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(matrices, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=(0.9, 0.95), fused=True),
    ]


def set_rates(optimisers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every group's learning rate for the given share of the training, from 0 to 1: a short linear rise, then a cosine."""
    if share < WARM_UP:
        rate = max(share / WARM_UP, 0.02)
    else:
        rate = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate
