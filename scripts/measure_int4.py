"""Measure what each way of rounding weights to 4 bits costs in acceptance, so that the engine's own way is a choice by measurement.

    python scripts/measure_int4.py PAIR [--per-category N] [--json FILE]

Each variant drafts for the pair's target with weights that were rounded and multiplied out again, in the target's own precision,
so that only the rounding counts and not a kernel. Greedy, four tokens a draft, on the project's own held-out prompts. Prints a
Markdown table on stdout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pair_quality import OVERALL, records, report
from pair_quality.acceptance import measure
from pair_quality.answering import Way, answer_all
from pair_quality.models import from_registry, load
from pair_quality.prompts import Prompt, held_out_prompts, select
from results import table
from specdec.checkpoint import load_weights
from specdec.drafting.model import ModelDrafter
from specdec.errors import SpecError
from specdec.hub import locate
from specdec.loading import Pair
from specdec.memory import INT4
from specdec.model.int4 import dequantise, quantise
from specdec.model.linear import Dense, Linear, full_precision
from specdec.options import Drafting

MAX_TOKENS = 200
DRAFT_TOKENS = 4
Rounding = Callable[[Tensor], Tensor]


def asymmetric(group: int) -> Rounding:
    """16 levels between the least and the greatest weight of a group, as the engine does."""
    return lambda weight: dequantise(*quantise(weight, group))


def symmetric(group: int) -> Rounding:
    """15 levels around zero, scaled by the greatest magnitude of a group."""

    def rounded(weight: Tensor) -> Tensor:
        grouped = weight.float().view(weight.shape[0], -1, group)
        scale = (grouped.abs().amax(-1, keepdim=True) / 7).clamp_min(1e-8)
        return ((grouped / scale).round().clamp_(-7, 7) * scale).flatten(1)

    return rounded


def clipped(group: int) -> Rounding:
    """Asymmetric, each group's range narrowed as far as lessens its squared error."""

    def rounded(weight: Tensor) -> Tensor:
        grouped = weight.float().view(weight.shape[0], -1, group)
        low, high = grouped.amin(-1, keepdim=True), grouped.amax(-1, keepdim=True)
        best, least = torch.empty_like(grouped), torch.full_like(low, torch.inf)
        for share in (1.0, 0.95, 0.9, 0.85, 0.8):
            scale = ((high - low) * share / 15).clamp_min(1e-8)
            start = low + (high - low) * (1 - share) / 2
            tried = ((grouped - start) / scale).round().clamp_(0, 15) * scale + start
            error = (tried - grouped).square().sum(-1, keepdim=True)
            best, least = torch.where(error < least, tried, best), torch.minimum(error, least)
        return best.flatten(1)

    return rounded


def variants(vocabulary: int) -> dict[str, Callable[[Dense], Linear]]:
    """What is compared, by name."""

    def all_layers(rounding: Rounding) -> Callable[[Dense], Linear]:
        return lambda dense: full_precision(Dense(rounding(dense.weight).to(dense.weight.dtype), dense.bias))

    def but_head(rounding: Rounding) -> Callable[[Dense], Linear]:
        rounded = all_layers(rounding)
        return lambda dense: full_precision(dense) if dense.weight.shape[0] == vocabulary else rounded(dense)

    named = {f"asymmetric, groups of {group}": all_layers(asymmetric(group)) for group in (16, 32, 64)}
    named |= {f"symmetric, groups of {group}": all_layers(symmetric(group)) for group in (32, 64)}
    named["clipped, groups of 32"] = all_layers(clipped(32))
    named["clipped, groups of 64"] = all_layers(clipped(64))
    named["asymmetric, groups of 32, head in full"] = but_head(asymmetric(32))
    return named


def drafting_with(pair: Pair, directory: Path, version: Callable[[Dense], Linear]) -> Pair:
    """The pair with another copy of its target as the draft."""
    decoder, context = pair.target.decoder, pair.target.context
    (weights,) = load_weights(directory, decoder.config, decoder.dtype, decoder.device, [version])
    pair.drafter = ModelDrafter(INT4, decoder.sharing(weights), decoder.config.vocab_size, context, pair.target.cache)
    return pair


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", metavar="PAIR", help="a pair of models.toml")
    parser.add_argument("--per-category", metavar="N", type=int, default=12, help="prompts in each category (default: 12)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    try:
        models = from_registry(options.pair)
        pair = load(models, INT4, options.threads)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    room = pair.target.context - MAX_TOKENS

    def fits(prompt: Prompt) -> bool:
        return len(pair.codec.render(prompt.messages, thinking=False)) <= room

    categories = held_out_prompts({}, [], options.seed).values()
    prompts = [prompt for own in categories for prompt in select(own, options.per_category, options.seed, fits).prompts]
    way = Way(Drafting(draft="model", draft_tokens=DRAFT_TOKENS), 0.0, MAX_TOKENS, options.seed)
    named = variants(pair.target.decoder.config.vocab_size)
    found = {f"the engine's own ({pair.ready.draft_backend})": measure(answer_all(pair, prompts, way, "own"))[OVERALL]}
    for name, version in named.items():
        found[name] = measure(answer_all(drafting_with(pair, locate(models.target), version), prompts, way, name))[OVERALL]
    rows = [[name, report.rate(own), f"{own.mean_accepted_length:.3f}", f"{sum(own.tested):,}"] for name, own in found.items()]
    print(table(["4-bit weights", "accepted/tested", "mean accepted length", "tested"], rows))
    if options.json:
        figures = {"pair": options.pair, **records.versions(), "prompts": len(prompts), "variants": records.acceptances(found)}
        records.write(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
