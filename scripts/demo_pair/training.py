"""The loop that trains a model for a given time, with checkpoints to resume from."""

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaForCausalLM

from demo_pair.losses import Loss
from demo_pair.optimisers import Rates, optimisers_of, set_rates
from demo_pair.packing import Document, Windows, attention_mask, label_weights, pack
from demo_pair.vocabulary import CONTEXT

# Most text is short and long windows are dear, so they come last: (from this share of the time on, length).
WINDOWS = ((0.0, 256), (0.75, CONTEXT))
TOKENS_A_STEP = {"cpu": 4096, "cuda": 16384}
SECONDS_BETWEEN_CHECKPOINTS = 120.0
LINE_SECONDS = 20.0


@dataclass
class Progress:
    """How far a model has been trained; `batch` counts within the present length of window."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    window: int = WINDOWS[0][1]
    batch: int = 0


@dataclass(frozen=True)
class Run:
    """One model's training: how long, how fast, on what, how much other text counts than the assistant's, and its checkpoint."""

    name: str
    seconds: float
    peaks: Rates
    documents: Sequence[Document]
    unspoken: float
    seed: int
    checkpoint: Path


def train(model: LlamaForCausalLM, loss_of: Loss, run: Run, resume: bool) -> Progress:
    """Train for the run's time, from its checkpoint if asked to; the time used drives the learning rate and the window's length."""
    optimisers = optimisers_of(model, run.peaks)
    progress = _restore(run.checkpoint, model, optimisers) if resume and run.checkpoint.exists() else Progress()
    first, saved = progress.seconds, progress.seconds
    began = time.monotonic()
    model.train()
    bar = _bar(run, first)
    batches = _batches(run, progress, model.device)
    while progress.seconds < run.seconds or not progress.step:
        share = min(progress.seconds / run.seconds, 1.0)
        window = _window(share)
        if window != progress.window:
            progress.window, progress.batch = window, 0
            batches = _batches(run, progress, model.device)
        windows = next(batches)
        set_rates(optimisers, share)
        mask = attention_mask(windows, torch.bfloat16)
        loss = loss_of(model, windows.tokens, mask, label_weights(windows, run.unspoken))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        progress.step += 1
        progress.batch += 1
        progress.tokens += mask.shape[0] * window
        progress.seconds = first + time.monotonic() - began
        _report(bar, progress, loss)
        if progress.seconds - saved >= SECONDS_BETWEEN_CHECKPOINTS:
            saved = progress.seconds
            _save(run.checkpoint, model, optimisers, progress)
    bar.close()
    _save(run.checkpoint, model, optimisers, progress)
    return progress


def _window(share: float) -> int:
    """The length of window at a share of the training."""
    return [length for start, length in WINDOWS if share >= start][-1]


def _batches(run: Run, progress: Progress, device: torch.device) -> Iterator[Windows]:
    """Batches of windows of the present length without end, packed anew every epoch, from the progress's batch on."""
    skip, length = progress.batch, progress.window
    rows = max(1, TOKENS_A_STEP[device.type] // length)
    for epoch in itertools.count():
        order = random.Random(f"{run.seed} {length} {epoch}")
        windows = pack(order.sample(run.documents, len(run.documents)), length)
        batches = torch.split(torch.tensor(order.sample(range(len(windows)), len(windows))), rows)
        full = [batch for batch in batches if len(batch) == rows] or batches
        yield from (windows.take(batch, device) for batch in full[skip:])
        skip = max(0, skip - len(full))


def _bar(run: Run, done: float) -> "tqdm[None]":
    """A progress bar in seconds; where stderr is no terminal, a line now and then."""
    shape = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s{postfix}"
    quiet = 0.5 if sys.stderr.isatty() else LINE_SECONDS
    end = "" if sys.stderr.isatty() else "\n"
    return tqdm(
        total=run.seconds,
        initial=min(done, run.seconds),
        desc=run.name,
        bar_format=shape + end,
        mininterval=quiet,
        ncols=100 if end else None,
    )


def _report(bar: "tqdm[None]", progress: Progress, loss: Tensor) -> None:
    """Move the bar to where the training is; the loss is fetched only when it will be shown."""
    rate = progress.tokens / max(progress.seconds, 1e-9)
    if time.time() - bar.last_print_t >= bar.mininterval:
        left = max(bar.total - progress.seconds, 0.0) / 60
        bar.set_postfix_str(f"step {progress.step}, loss {loss.item():.3f}, {rate:,.0f} tokens/s, {left:.1f} min left", refresh=False)
    bar.update(max(0.0, min(progress.seconds, bar.total) - bar.n))


def _save(path: Path, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer], progress: Progress) -> None:
    """Weights, optimiser state and progress in one file, so that they can never be of different steps."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"weight {name}"] = parameter.detach()
        for optimiser in optimisers:
            tensors |= {f"{key} {name}": value for key, value in optimiser.state.get(parameter, {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"progress": json.dumps(asdict(progress))})
    partial.replace(path)


def _restore(path: Path, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer]) -> Progress:
    """Put a checkpoint back into the model and its optimisers."""
    parameters = dict(model.named_parameters())
    owners = {parameter: optimiser for optimiser in optimisers for group in optimiser.param_groups for parameter in group["params"]}
    with safe_open(path, framework="pt", device=str(model.device)) as checkpoint, torch.no_grad():
        for entry in checkpoint.keys():  # noqa: SIM118
            kind, name = entry.split()
            parameter, value = parameters[name], checkpoint.get_tensor(entry)
            if kind == "weight":
                parameter.copy_(value)
            else:
                owners[parameter].state[parameter][kind] = value
        return Progress(**json.loads(checkpoint.metadata()["progress"]))
