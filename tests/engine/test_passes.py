"""Recorded passes: the same logits and cache rows as the host's own at every position, from one recording a shape."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.engine.models import VOCAB, save_model

from specdec.architecture import read_config
from specdec.checkpoint import load_weights
from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.model.linear import full_precision
from specdec.model.rows import View
from specdec.passes import FIRST_TIER, Body, CudaRecorder, Passes, recorder_for, unrecorded

CPU = torch.device("cpu")
CAPACITY = 1100


def decoder_of(family: str, directory: Path) -> Decoder:
    save_model(directory, family)
    config = read_config(directory)
    (weights,) = load_weights(directory, config, torch.float32, CPU, [full_precision])
    return Decoder(config, weights, CAPACITY)


def garbage(decoder: Decoder) -> KVCache:
    cache = KVCache(decoder.config, CAPACITY, torch.float32, CPU)
    cache.rows.copy_(torch.randn(cache.rows.shape, generator=torch.Generator().manual_seed(0)))
    return cache


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral-window", "qwen2-window", "llama-tied-biased", "gqa-5"])
def test_a_recorded_pass_is_the_hosts_pass_at_every_position(family: str, tmp_path: Path) -> None:
    decoder = decoder_of(family, tmp_path)
    ours, theirs = garbage(decoder), garbage(decoder)
    recordings: list[Body] = []

    def record(body: Body) -> Body:
        recordings.append(body)
        return body

    recorded, host = Passes(decoder, ours, record), Passes(decoder, theirs, None)
    shapes = [(1, 0), (5, 0), (16, 0), (3, 2)]
    for start in (0, 7, 130, 490, 30):
        for rows, logits_from in shapes:
            tokens = torch.arange(start, start + rows) * 31 % VOCAB
            found = recorded.run(tokens, start, View(FIRST_TIER), logits_from)
            expected = host.run(tokens, start, View(start + rows), logits_from)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(ours.rows, theirs.rows, rtol=1e-4, atol=1e-4)
    assert len(recordings) == len(shapes)


def test_logits_stay_what_they_are_when_the_pass_runs_again(tmp_path: Path) -> None:
    decoder = decoder_of("llama", tmp_path)
    kept = torch.zeros(1, VOCAB)

    def into_one_buffer(body: Body) -> Body:
        def replay() -> torch.Tensor:
            kept.copy_(body())
            return kept

        return replay

    passes = Passes(decoder, garbage(decoder), into_one_buffer)
    first = passes.run(torch.tensor([5]), 3, View(FIRST_TIER), 0)
    as_it_was = first.clone()
    second = passes.run(torch.tensor([6]), 4, View(FIRST_TIER), 0)
    assert torch.equal(first, as_it_was)
    assert not torch.equal(first, second)


def test_many_rows_are_not_recorded(tmp_path: Path) -> None:
    decoder = decoder_of("llama", tmp_path)

    def record(body: Body) -> Body:
        raise AssertionError("recorded")

    Passes(decoder, garbage(decoder), record).run(torch.arange(17), 0, View(17), 0)


def test_tiers_double_and_end_with_the_cache(tmp_path: Path) -> None:
    decoder = decoder_of("llama", tmp_path)
    passes = Passes(decoder, garbage(decoder), unrecorded)
    assert [passes.tier_end(position) for position in (0, 511, 512, 1023, 1024, 1099)] == [512, 512, 1024, 1024, 1100, 1100]
    assert passes.loose_view(510, 3) == View(1024)
    assert passes.loose_view(500, 17) == View(517)
    assert Passes(decoder, garbage(decoder), None).loose_view(510, 3) == View(513)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine where recording fails")
def test_where_nothing_can_be_recorded_passes_run_as_they_are_and_the_reason_is_kept() -> None:
    record = CudaRecorder()
    body = record(lambda: torch.ones(2))
    assert torch.equal(body(), torch.ones(2))
    assert record.problem
    assert recorder_for(CPU) is None
