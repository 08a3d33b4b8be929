"""Measure where a round's time goes: a plain step beside its own matrix products and attention run alone, and the whole loop.

    python scripts/profile_round.py [PAIR] [--threads N] [--json FILE]

The parts are measured interleaved in one run; every figure is a median, and what is reported of them are ratios. `kernels` are the
step's matrix products and attention on the same inputs, one after the other with nothing between them; `step` is the target's
forward pass; `round` is a whole round of plain decoding as an answer has it, from the loop to its event.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pair_quality import records
from pair_quality.models import from_registry, load
from results import table
from specdec import Chat, ChatSession, Done, Drafting, Message, Sampling
from specdec.errors import SpecError
from specdec.exactness import probe_tokens
from specdec.loading import Pair
from specdec.model.ops import attention
from specdec.target import Target, tile_end

PROMPT = (Message(role="user", content="Tell me a story about a dog."),)
POSITION = 100
ANSWER_TOKENS = 48
REPEATS = 60
STEPS_A_REPEAT = 8


def kernels_alone(target: Target) -> Callable[[], None]:
    """A step's matrix products and attention, as a function that runs them."""
    decoder = target.decoder
    config, weights = decoder.config, decoder.weights
    device = decoder.device

    def row(width: int) -> torch.Tensor:
        return torch.randn(1, width, dtype=decoder.dtype, device=device)

    hidden, mixed, wide = row(config.hidden_size), row(config.query_size), row(config.intermediate_size)
    query = row(config.query_size).view(1, config.heads, config.head_dim)
    extent = tile_end(POSITION) if target.execution.tiled else POSITION + 1
    bias = torch.zeros(1, extent, dtype=decoder.dtype, device=device) if target.execution.tiled else None

    @torch.inference_mode()
    def run() -> None:
        for index, layer in enumerate(weights.layers):
            layer.qkv(hidden)
            key, value = target.cache.read(index, extent)
            attention(target.execution.attention, query, key, value, bias)
            layer.output(mixed)
            layer.gate_up(hidden)
            layer.down(wide)
        weights.head(hidden)

    return run


def plain_round_ms(pair: Pair) -> float:
    """Milliseconds of decoding by round, over one answer."""
    chat = Chat(messages=PROMPT, sampling=Sampling(temperature=0), drafting=Drafting(draft="off"), max_tokens=ANSWER_TOKENS)
    done = next(event for event in ChatSession(pair).chat(chat) if isinstance(event, Done))
    return done.statistics.decode_ms / done.statistics.rounds


def milliseconds(step: Callable[[], object]) -> float:
    """The time of one call, the mean of a few."""
    began = time.perf_counter()
    for _ in range(STEPS_A_REPEAT):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1000 / STEPS_A_REPEAT


def measure(pair: Pair) -> dict[str, list[float]]:
    """Milliseconds of each part in each repeat, the first left out."""
    target = pair.target
    tokens = probe_tokens(target, POSITION + 1)
    list(target.prefill(tokens[:POSITION], 0))
    alone = kernels_alone(target)
    found: dict[str, list[float]] = {"kernels": [], "step": [], "round": []}
    for _ in range(REPEATS + 1):
        found["kernels"].append(milliseconds(alone))
        found["step"].append(milliseconds(lambda: target.step(tokens[POSITION:], POSITION)))
        found["round"].append(plain_round_ms(pair))
        list(target.prefill(tokens[:POSITION], 0))
    return {name: times[1:] for name, times in found.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", metavar="PAIR", nargs="?", default="demo", help="a pair of models.toml (default: demo)")
    parser.add_argument("--threads", type=int, help="default: as the engine chooses")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every time to this file")
    options = parser.parse_args()
    try:
        pair = load(from_registry(options.pair), None, options.threads)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    times = measure(pair)
    rows = []
    for name, own in times.items():
        ratios = [each / alone for each, alone in zip(own, times["kernels"], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        rows.append([name, f"{statistics.median(own):.3f}", f"{statistics.median(ratios):.2f}", f"{low:.2f} to {high:.2f}"])
    ready = pair.ready
    print(f"{options.pair}, {ready.device}, {ready.threads} threads, {ready.dtype}, exact mode {'on' if ready.exact else 'off'}\n")
    print(table(["part", "ms", "of the kernels alone", "quartiles"], rows))
    if options.json:
        records.write(options.json, {"ready": ready.model_dump(), **records.versions(), "ms": times})
    return 0


if __name__ == "__main__":
    sys.exit(main())
