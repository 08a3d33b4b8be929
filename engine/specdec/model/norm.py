"""Root-mean-square normalisation, arranged so that it takes the fewest operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Norm:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 throughout (Zhang and Sennrich 2019).

    With n features this is x / hypot(|x|, sqrt(n eps)) * (sqrt(n) weight), whose last factor is made once.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        features = weight.shape[0]
        self._scale = weight.float() * math.sqrt(features)
        self._floor = torch.tensor(math.sqrt(features * eps), device=weight.device)

    def __call__(self, x: Tensor) -> Tensor:
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return (wide / torch.hypot(length, self._floor) * self._scale).to(x.dtype)
