"""Root-mean-square normalisation, arranged so that it takes the fewest operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Norm:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 throughout (Zhang and Sennrich 2019).

    With n features this is x / hypot(|x|, floor) * scale, where floor = sqrt(n eps) [] and scale = sqrt(n) weight [n] are made once.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        features = weight.shape[0]
        self.scale = weight.float() * math.sqrt(features)
        self.floor = torch.tensor(math.sqrt(features * eps), device=weight.device)

    def __call__(self, x: Tensor) -> Tensor:
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return (wide / torch.hypot(length, self.floor) * self.scale).to(x.dtype)
