"""What the two models are trained to do."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM

# (model, [rows, length + 1] tokens, [rows, 1, length, length] attention mask, [rows, length] label weights) -> scalar
Loss = Callable[[LlamaForCausalLM, Tensor, Tensor, Tensor], Tensor]
HARD_LABEL_SHARE = 0.1


def logits_of(model: LlamaForCausalLM, tokens: Tensor, mask: Tensor) -> Tensor:
    """[rows * length, vocab] float32 logits for the tokens that follow each of the inputs."""
    with torch.autocast(model.device.type, torch.bfloat16):
        logits: Tensor = model(input_ids=tokens[:, :-1], attention_mask=mask, use_cache=False).logits
    return logits.float().flatten(0, 1)


def next_token_loss(model: LlamaForCausalLM, tokens: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy in nats."""
    nats = F.cross_entropy(logits_of(model, tokens, mask), tokens[:, 1:].flatten(), reduction="none")
    return _mean(nats, weights)


def distillation_loss(teacher: LlamaForCausalLM) -> Loss:
    """A loss that pulls a model's distribution towards the teacher's, since a draft is accepted as often as the two agree.

    Source of soft labels: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015).
    """

    def loss(model: LlamaForCausalLM, tokens: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = logits_of(teacher, tokens, mask).log_softmax(-1)
        found = logits_of(model, tokens, mask).log_softmax(-1)
        divergence = F.kl_div(found, wanted, reduction="none", log_target=True).sum(-1)
        nats = F.nll_loss(found, tokens[:, 1:].flatten(), reduction="none")
        return _mean((1 - HARD_LABEL_SHARE) * divergence + HARD_LABEL_SHARE * nats, weights)

    return loss


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    flat = weights.flatten()
    return (values * flat).sum() / flat.sum().clamp_min(1.0)
