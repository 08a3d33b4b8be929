"""From logits to a token: repetition penalty, temperature, top-k, top-p, min-p, and position-keyed noise.

Coupled sampling (arXiv 2408.07978): the token at position t is argmax(warped logits + Gumbel noise keyed by t), so it is a
function of context and seed alone, and a draft that draws with the same noise agrees often.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec import noise
from specdec.options import Sampling

NOISE_BLOCK = 16
NUCLEUS_HEAD = 256


@dataclass(frozen=True)
class SamplingPlan:
    """Sampling with every choice made; temperature 0 is greedy, top_k 0, top_p 1 and min_p 0 keep everything."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int

    @property
    def options(self) -> Sampling:
        """The same as options, so that an answer can be asked for again."""
        return Sampling(**vars(self))


def plan(asked: Sampling, generation_config: Mapping[str, object]) -> SamplingPlan:
    """Fill what was not asked for from the model's generation config, then from the neutral values.

    As in transformers, a config without `do_sample` means greedy. Without a seed one is drawn.
    """

    def pick(name: str, neutral: float) -> float:
        value = getattr(asked, name)
        if value is None:
            value = generation_config.get(name)
        return float(value) if isinstance(value, int | float) else neutral

    samples = bool(generation_config.get("do_sample", False)) or asked.temperature is not None
    return SamplingPlan(
        temperature=pick("temperature", 1.0) if samples else 0.0,
        top_k=int(pick("top_k", 0)),
        top_p=pick("top_p", 1.0),
        min_p=pick("min_p", 0.0),
        repetition_penalty=pick("repetition_penalty", 1.0),
        seed=secrets.randbits(32) if asked.seed is None else asked.seed,
    )


class Sampler:
    """Draws tokens for one answer; remembers which tokens the context holds for the repetition penalty."""

    def __init__(self, plan: SamplingPlan, vocab_size: int, context: Sequence[int], device: torch.device) -> None:
        self.plan = plan
        self.greedy = plan.temperature == 0
        self._penalised = plan.repetition_penalty != 1.0
        self._ids = torch.arange(vocab_size, device=device)
        self._seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self._blocks: dict[int, tuple[int, Tensor]] = {}
        self.extend(context)

    def extend(self, tokens: Sequence[int]) -> None:
        """Tokens that became part of the context."""
        if self._penalised and len(tokens):
            self._seen[torch.tensor(tokens, device=self._seen.device)] = True

    def gumbel(self, position: int, rows: int, stream: int = noise.TARGET) -> Tensor:
        """Gumbel noise [rows, vocab] for positions position.., made a block at a time."""
        first, block = self._blocks.get(stream, (0, self._ids.new_empty(0, 0)))
        if not first <= position <= position + rows <= first + block.shape[0]:
            first = position
            block = noise.gumbel(self.plan.seed, stream, position, max(rows, NOISE_BLOCK), self._ids)
            self._blocks[stream] = first, block
        return block[position - first : position - first + rows]

    def draw(self, logits: Tensor, position: int, drafted: Tensor, stream: int = noise.TARGET) -> Tensor:
        """Tokens [rows] int64 for positions position.. from logits [rows, vocab].

        `drafted` [n] int64 are the tokens that follow the context; the last row sees all of them, each row before it one
        fewer. A narrower vocabulary than the target's draws with the same noise over its own ids.
        """
        if self.greedy:
            return self._penalise(logits, drafted).argmax(-1)
        gumbel = self.gumbel(position, logits.shape[0], stream)[:, : logits.shape[1]]
        tempered = self._temper(logits, drafted)
        if logits.is_cuda:
            return (self._truncate(tempered) + gumbel).argmax(-1)
        drawn = (tempered + gumbel).argmax(-1)
        outside = self._truncated(tempered, drawn)
        if outside is not None and bool(outside.any()):
            drawn[outside] = (self._truncate(tempered[outside]) + gumbel[outside]).argmax(-1)
        return drawn

    def probabilities(self, logits: Tensor, drafted: Tensor) -> Tensor:
        """The distribution each row is drawn from, [rows, vocab] float32; one-hot when greedy."""
        if self.greedy:
            best = self._penalise(logits, drafted).argmax(-1)
            return torch.zeros_like(logits, dtype=torch.float32).scatter_(1, best[:, None], 1.0)
        return self.warp(logits, drafted).softmax(-1)

    def warp(self, logits: Tensor, drafted: Tensor) -> Tensor:
        """Penalised, tempered logits in float32, -inf where top-k, top-p or min-p leave a token out (in that order)."""
        return self._truncate(self._temper(logits, drafted))

    def _temper(self, logits: Tensor, drafted: Tensor) -> Tensor:
        """Penalised, tempered logits in float32, -inf where top-k leaves a token out."""
        plan = self.plan
        tempered = self._penalise(logits, drafted).float() / plan.temperature
        if 0 < plan.top_k < tempered.shape[-1]:
            smallest = tempered.topk(plan.top_k, dim=-1).values[:, -1:]
            tempered = tempered.masked_fill(tempered < smallest, float("-inf"))
        return tempered

    def _truncate(self, tempered: Tensor) -> Tensor:
        """The same, -inf where top-p or min-p leave a token out too."""
        plan = self.plan
        if plan.top_p < 1:
            tempered = tempered.masked_fill(tempered < _nucleus_floor(tempered, plan.top_p), float("-inf"))
        if plan.min_p > 0:
            tempered = tempered.masked_fill(tempered < self._least(tempered), float("-inf"))
        return tempered

    def _truncated(self, tempered: Tensor, drawn: Tensor) -> Tensor | None:
        """Whether top-p or min-p leave out the token drawn from each row, None if neither does anything.

        Looking at one token takes far less than ranking all, and what was drawn among all tokens and is not left out is also what
        would have been drawn among those that stay.
        """
        plan, logit = self.plan, tempered.gather(-1, drawn[:, None])
        outside = None
        if plan.top_p < 1:
            outside = (tempered.softmax(-1) * (tempered > logit)).sum(-1, dtype=torch.float64) >= plan.top_p
        if plan.min_p > 0:
            unlikely = (logit < self._least(tempered))[:, 0]
            outside = unlikely if outside is None else outside | unlikely
        return outside

    def _least(self, tempered: Tensor) -> Tensor:
        """The smallest logit [rows, 1] that min-p keeps."""
        return tempered.amax(-1, keepdim=True) + math.log(self.plan.min_p)

    def _penalise(self, logits: Tensor, drafted: Tensor) -> Tensor:
        if not self._penalised:
            return logits
        rows, vocab = logits.shape
        seen = self._seen[:vocab].repeat(rows, 1)
        for row in range(rows):
            seen[row, drafted[: len(drafted) - rows + 1 + row]] = True
        logits = logits.float()
        penalty = self.plan.repetition_penalty
        return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _nucleus_floor(logits: Tensor, top_p: float) -> Tensor:
    """The smallest logit [rows, 1] inside the nucleus: the fewest most probable tokens whose probabilities reach `top_p`.

    The head of the ranking nearly always holds the nucleus, so on a CPU a full sort is the exception; a GPU sorts sooner than the host
    could look at the head. Sums are float64, so that it does not matter in which order they are taken, which may depend on how many
    rows there are.
    """
    total = logits.double().logsumexp(-1, keepdim=True)
    head = logits.shape[-1] if logits.is_cuda else min(NUCLEUS_HEAD, logits.shape[-1])
    ranked, cumulative = _ranked(logits, total, head)
    if head < logits.shape[-1] and bool((cumulative[:, -1] < top_p).any()):
        ranked, cumulative = _ranked(logits, total, logits.shape[-1])
    last = (cumulative < top_p).sum(-1, keepdim=True).clamp_max(ranked.shape[-1] - 1)
    return ranked.gather(-1, last)


def _ranked(logits: Tensor, total: Tensor, head: int) -> tuple[Tensor, Tensor]:
    """The `head` largest logits of each row in descending order, and the probability they reach one after the other."""
    every = head == logits.shape[-1]
    ranked = logits.sort(dim=-1, descending=True).values if every else logits.topk(head, dim=-1).values
    return ranked, (ranked - total).exp().cumsum(-1)
