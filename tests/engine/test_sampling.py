"""Warping equals transformers' own, and the noise depends on what it should and on nothing else."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from specdec import noise
from specdec.options import Sampling
from specdec.sampling import NUCLEUS_HEAD, Sampler, plan

VOCAB = 700
CPU = torch.device("cpu")
NOTHING = torch.empty(0, dtype=torch.int64)


def sampler(context: list[int] | None = None, **options: float) -> Sampler:
    return Sampler(plan(Sampling(**options), {}), VOCAB, context or [], CPU)  # type: ignore[arg-type]


def logits(rows: int, seed: int = 0, spread: float = 3.0) -> Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * spread


SETTINGS: list[dict[str, float]] = [
    {"temperature": 0.7},
    {"temperature": 1.3, "top_k": 20},
    {"temperature": 0.9, "top_p": 0.85},
    {"temperature": 0.8, "top_k": 50, "top_p": 0.9},
    {"temperature": 1.0, "min_p": 0.05},
    {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.3},
    {"temperature": 1.0, "top_p": 0.001},
]


@pytest.mark.parametrize("spread", [0.01, 3.0])
@pytest.mark.parametrize("options", SETTINGS)
def test_warping_equals_transformers(options: dict[str, float], spread: float) -> None:
    assert VOCAB > NUCLEUS_HEAD
    context = [5, 9, 11, 5]
    rows = logits(3, spread=spread)
    warpers = LogitsProcessorList()
    if "repetition_penalty" in options:
        warpers.append(RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    warpers.append(TemperatureLogitsWarper(options["temperature"]))
    if "top_k" in options:
        warpers.append(TopKLogitsWarper(int(options["top_k"])))
    if "top_p" in options:
        warpers.append(TopPLogitsWarper(options["top_p"]))
    if "min_p" in options:
        warpers.append(MinPLogitsWarper(options["min_p"]))
    ours = sampler(context, **options)
    for row in rows:
        expected = warpers(torch.LongTensor([context]), row[None].clone())
        torch.testing.assert_close(ours.warp(row[None], NOTHING), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spread", [0.01, 3.0, 30.0])
@pytest.mark.parametrize("options", SETTINGS)
def test_a_drawn_token_is_the_luckiest_of_those_that_warping_leaves(options: dict[str, float], spread: float) -> None:
    ours, drafted = sampler([5, 9], seed=3, **options), torch.arange(4)
    for seed in range(40):
        rows = logits(5, seed, spread)
        rows[0] = rows[0].round()
        expected = (ours.warp(rows, drafted) + ours.gumbel(50, 5)).argmax(-1)
        assert torch.equal(ours.draw(rows, 50, drafted), expected)
        assert ours.draw(rows[4:], 54, drafted).item() == expected[4]


def test_repetition_penalty_sees_each_rows_own_history() -> None:
    ours = sampler([5], temperature=0.0, repetition_penalty=1.5)
    drafted = torch.tensor([7, 8])
    rows = logits(3, seed=2)
    together = ours._penalise(rows, drafted)
    for row, history in enumerate(([5], [5, 7], [5, 7, 8])):
        expected = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([history]), rows[row : row + 1].clone())
        torch.testing.assert_close(together[row : row + 1], expected)
    ours.extend([7, 8])
    torch.testing.assert_close(ours._penalise(rows[2:], NOTHING), together[2:])


def test_a_position_has_the_same_luck_alone_in_a_round_and_in_a_smaller_vocabulary() -> None:
    one, other = sampler(temperature=1.0, seed=42), sampler(temperature=1.0, seed=42)
    rows = logits(8)
    together = one.draw(rows, 30, torch.zeros(7, dtype=torch.int64))
    for offset in (7, 0, 3, 5):
        assert other.draw(rows[offset : offset + 1], 30 + offset, NOTHING).item() == together[offset]
    assert torch.equal(one.gumbel(33, 4), other.gumbel(30, 8)[3:7])
    narrow = torch.arange(100)
    assert torch.equal(noise.gumbel(42, noise.TARGET, 33, 4, narrow), one.gumbel(33, 4)[:, :100])


def test_seeds_positions_streams_and_tokens_differ() -> None:
    base = noise.gumbel(1, noise.TARGET, 5, 2, torch.arange(2000))
    others = [
        noise.gumbel(2, noise.TARGET, 5, 2, torch.arange(2000)),
        noise.gumbel(1, noise.DRAFT, 5, 2, torch.arange(2000)),
        noise.gumbel(1, noise.TARGET, 7, 2, torch.arange(2000)),
        base.flip(0),
    ]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack((base.flatten(), other.flatten())))[0, 1])) < 0.06
        assert not (base == other).any()


def test_the_noise_is_gumbel_and_the_uniforms_uniform() -> None:
    values = noise.gumbel(9, noise.TARGET, 0, 40, torch.arange(1000)).flatten().numpy()
    assert kstest(values, "gumbel_r").pvalue > 1e-3
    across_seeds = [float(noise.gumbel(seed, noise.TARGET, 3, 1, torch.tensor([17]))) for seed in range(3000)]
    assert kstest(across_seeds, "gumbel_r").pvalue > 1e-3
    assert kstest([noise.uniform(4, noise.ACCEPT, position) for position in range(5000)], "uniform").pvalue > 1e-3


def test_greedy_is_the_argmax_and_probabilities_say_so() -> None:
    ours = sampler(temperature=0.0)
    rows = logits(4)
    assert torch.equal(ours.draw(rows, 0, torch.zeros(3, dtype=torch.int64)), rows.argmax(-1))
    assert torch.equal(ours.probabilities(rows, NOTHING).argmax(-1), rows.argmax(-1))
    assert ours.probabilities(rows, NOTHING).sum() == 4


def test_the_plan_follows_request_then_card_then_neutral() -> None:
    card = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
    assert plan(Sampling(top_k=5, seed=3), card).options == Sampling(
        temperature=0.6, top_k=5, top_p=0.95, min_p=0.0, repetition_penalty=1.0, seed=3
    )
    assert plan(Sampling(seed=3), {"temperature": 0.6}).temperature == 0
    assert plan(Sampling(temperature=0.4), {"do_sample": False}).temperature == 0.4
    assert plan(Sampling(), {}).seed != plan(Sampling(), {}).seed
