"""The two models and the loop that trains them for a given time."""

import itertools
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair.vocabulary import CONTEXT, END, END_OF_TEXT, token_ids

ROWS = 2
WARM_UP = 0.04
FINAL_RATE = 0.02
HARD_LABEL_SHARE = 0.1
SECONDS_BETWEEN_REPORTS = 15.0
SECONDS_BETWEEN_CHECKPOINTS = 120.0

Loss = Callable[[LlamaForCausalLM, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """What tells the two models apart; heads have 64 dimensions and share one key-value head."""

    hidden: int
    layers: int
    heads: int
    intermediate: int


TARGET = Shape(hidden=320, layers=8, heads=5, intermediate=832)
SIBLING = Shape(hidden=192, layers=2, heads=3, intermediate=512)


@dataclass(frozen=True)
class Rates:
    """The highest learning rates, of the layers' matrices and of the embedding and norms."""

    layers: float
    embedding: float


@dataclass
class Progress:
    """How far a model has been trained."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """One model's training: how long, how fast, on what, and where its checkpoint lies."""

    name: str
    seconds: float
    peaks: Rates
    documents: list[Tensor]
    seed: int
    checkpoint: Path


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with random weights, on the GPU if there is one."""
    torch.manual_seed(seed)
    end, end_of_text = token_ids(tokenizer, END, END_OF_TEXT)
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
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return LlamaForCausalLM(config)


def pack(documents: list[Tensor]) -> Tensor:
    """[windows, CONTEXT + 1] token ids: the documents end to end, cut at equal lengths; too short a text is repeated."""
    stream = torch.cat(documents)
    stream = stream.repeat(math.ceil((CONTEXT + 1) / len(stream)))
    return stream.unfold(0, CONTEXT + 1, CONTEXT)


def logits_of(model: LlamaForCausalLM, rows: Tensor) -> Tensor:
    """[tokens, vocab] float32 logits for the tokens that follow each of the inputs."""
    with torch.autocast(model.device.type, torch.bfloat16):
        logits: Tensor = model(input_ids=rows[:, :-1], use_cache=False).logits
    return logits.float().flatten(0, 1)


def next_token_loss(model: LlamaForCausalLM, rows: Tensor) -> Tensor:
    """Cross-entropy on every token, in nats."""
    return F.cross_entropy(logits_of(model, rows), rows[:, 1:].flatten())


def distillation_loss(teacher: LlamaForCausalLM) -> Loss:
    """A loss that pulls a model's distribution towards the teacher's, since a draft is accepted as often as the two agree."""

    def loss(model: LlamaForCausalLM, rows: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = logits_of(teacher, rows).log_softmax(-1)
        found = logits_of(model, rows).log_softmax(-1)
        divergence = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return (1 - HARD_LABEL_SHARE) * divergence + HARD_LABEL_SHARE * F.nll_loss(found, rows[:, 1:].flatten())

    return loss


def train(model: LlamaForCausalLM, loss_of: Loss, run: Run, resume: bool) -> Progress:
    """Train for the run's time, from its checkpoint if asked to; the time used drives the learning rate."""
    optimizers = _optimizers(model, run.peaks)
    progress = _restore(run.checkpoint, model, optimizers) if resume and run.checkpoint.exists() else Progress()
    first, reported, saved = progress.seconds, progress.seconds, progress.seconds
    began = time.monotonic()
    model.train()
    for rows in _batches(run.documents, run.seed, progress.step):
        share = progress.seconds / run.seconds
        if share >= 1 and progress.step:
            break
        for group in itertools.chain.from_iterable(optimizer.param_groups for optimizer in optimizers):
            group["lr"] = group["peak"] * _rate(min(share, 1.0))
        loss = loss_of(model, rows.to(model.device, torch.int64))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        progress.step += 1
        progress.tokens += rows.shape[0] * CONTEXT
        progress.seconds = first + time.monotonic() - began
        if progress.seconds - reported >= SECONDS_BETWEEN_REPORTS:
            reported = progress.seconds
            _report(run, progress, loss.item())
        if progress.seconds - saved >= SECONDS_BETWEEN_CHECKPOINTS:
            saved = progress.seconds
            _save(run.checkpoint, model, optimizers, progress)
    _save(run.checkpoint, model, optimizers, progress)
    return progress


def _batches(documents: list[Tensor], seed: int, skip: int) -> Iterator[Tensor]:
    """Batches of windows without end, packed anew every epoch, from the given batch on."""
    for epoch in itertools.count():
        order = random.Random(f"{seed} {epoch}")
        windows = pack(order.sample(documents, len(documents)))
        windows = windows[torch.tensor(order.sample(range(len(windows)), len(windows)))]
        batches = torch.split(windows, ROWS)
        yield from batches[skip:]
        skip = max(0, skip - len(batches))


def _rate(share: float) -> float:
    """The learning rate as a part of its peak: a short linear rise, then a cosine."""
    if share < WARM_UP:
        return max(share / WARM_UP, 0.02)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def _optimizers(model: LlamaForCausalLM, peaks: Rates) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (which learns from fewer tokens), AdamW for the embedding and the norms."""
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


def _report(run: Run, progress: Progress, loss: float) -> None:
    """One line on stderr."""
    share = min(progress.seconds / run.seconds, 1.0)
    left = max(run.seconds - progress.seconds, 0.0)
    rate = progress.tokens / progress.seconds
    print(f"{run.name} {share:4.0%}  step {progress.step}  loss {loss:.3f}  {rate:.0f} tokens/s  {left / 60:.1f} min left", file=sys.stderr)


def _save(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], progress: Progress) -> None:
    """Weights, optimiser state and progress in one file, so that they can never be of different steps."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"weight {name}"] = parameter.detach()
        for optimizer in optimizers:
            tensors |= {f"{key} {name}": value for key, value in optimizer.state.get(parameter, {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"progress": json.dumps(asdict(progress))})
    partial.replace(path)


def _restore(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> Progress:
    """Put a checkpoint back into the model and its optimisers."""
    parameters = dict(model.named_parameters())
    owners = {parameter: optimizer for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]}
    with safe_open(path, framework="pt", device=str(model.device)) as checkpoint, torch.no_grad():
        for entry in checkpoint.keys():  # noqa: SIM118
            kind, name = entry.split()
            parameter, value = parameters[name], checkpoint.get_tensor(entry)
            if kind == "weight":
                parameter.copy_(value)
            else:
                owners[parameter].state[parameter][kind] = value
        return Progress(**json.loads(checkpoint.metadata()["progress"]))
