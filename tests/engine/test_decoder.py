"""The native decoder computes what transformers computes, for every supported family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.engine.models import CONFIGS, VOCAB, save_model

from specdec.architecture import read_config
from specdec.checkpoint import load_weights
from specdec.kv_cache import KVCache
from specdec.model import ops
from specdec.model.decoder import Decoder
from specdec.model.linear import full_precision
from specdec.model.ops import AttentionKind
from specdec.model.rows import View

CPU = torch.device("cpu")


def load(directory: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    config = read_config(directory)
    return Decoder(config, load_weights(directory, config, dtype, CPU, [full_precision])[0], config.max_positions)


@pytest.fixture(params=CONFIGS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_logits_equal_transformers_through_prefill_steps_and_rollback(family: str, tmp_path: Path) -> None:
    reference = save_model(tmp_path, family)
    decoder = load(tmp_path)
    tokens = torch.randint(0, VOCAB, (90,), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference(tokens[None]).logits[0]
    cache = KVCache(decoder.config, 128, torch.float32, CPU)

    def check(start: int, stop: int) -> None:
        logits = decoder.forward(tokens[start:stop], start, cache, View(stop))
        torch.testing.assert_close(logits, expected[start:stop], rtol=2e-4, atol=2e-4)

    check(0, 40)
    for start, stop in ((40, 41), (41, 46), (46, 47), (47, 55)):
        check(start, stop)
    wrong = torch.randint(0, VOCAB, (8,))
    decoder.forward(wrong, 50, cache, View(58))
    check(50, 51)
    check(51, 90)


@pytest.mark.parametrize("kind", ["fused", "matmul", "by_row"])
def test_attention_kinds_agree_over_a_longer_extent(kind: AttentionKind, tmp_path: Path) -> None:
    save_model(tmp_path, "mistral-window")
    decoder = load(tmp_path)
    tokens = torch.randint(0, VOCAB, (40,))
    caches = [KVCache(decoder.config, 128, torch.float32, CPU) for _ in range(2)]
    caches[1].rows.uniform_(-9, 9)
    plain = decoder.forward(tokens, 0, caches[0], View(40))
    wide = decoder.forward(tokens, 0, caches[1], View(128, kind))
    torch.testing.assert_close(wide, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_close(dtype: torch.dtype, tmp_path: Path) -> None:
    reference = save_model(tmp_path, "llama", initializer_range=0.02)
    decoder = load(tmp_path, dtype)
    tokens = torch.arange(30)
    with torch.inference_mode():
        expected = reference(tokens[None]).logits[0]
    logits = decoder.forward(tokens, 0, KVCache(decoder.config, 64, dtype, CPU), View(30)).float()
    assert float((logits - expected).abs().max()) < 0.1 * float(expected.abs().max())


def test_sharded_checkpoint_loads_like_a_single_file(tmp_path: Path) -> None:
    save_model(tmp_path / "one", "qwen3")
    save_model(tmp_path / "many", "qwen3", shard="100KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    tokens = torch.arange(12)
    one, many = (load(tmp_path / name) for name in ("one", "many"))
    logits = [model.forward(tokens, 0, KVCache(model.config, 16, torch.float32, CPU), View(12)) for model in (one, many)]
    assert torch.equal(*logits)


def test_only_the_asked_logits_are_computed(tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    decoder = load(tmp_path)
    cache = KVCache(decoder.config, 32, torch.float32, CPU)
    full = decoder.forward(torch.arange(10), 0, cache, View(10))
    last = decoder.forward(torch.arange(10), 0, cache, View(10), logits_from=9)
    assert torch.equal(last, full[9:])
    assert decoder.forward(torch.arange(10), 0, cache, View(10), logits_from=256).shape == (0, VOCAB)


def test_gathering_a_tree_path_moves_its_rows_together(tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    config = read_config(tmp_path)
    cache = KVCache(config, 16, torch.float32, CPU)
    cache.rows.copy_(torch.arange(16.0)[None, None, :, None].expand_as(cache.rows))
    cache.gather(5, torch.tensor([0, 2, 5]))
    assert cache.rows[1, 2, :9, 3].tolist() == [0, 1, 2, 3, 4, 5, 7, 10, 8]


@pytest.mark.parametrize("group", [1, 3, 5, 8])
@pytest.mark.parametrize("biased", [False, True])
def test_attention_by_key_head_is_attention(group: int, biased: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, kv_heads, extent = 6, 2, 40
    qkv = torch.randn(rows, (group + 2) * kv_heads, 16, generator=generator, dtype=torch.float64)
    key, value = torch.randn(2, kv_heads, extent, 16, generator=generator, dtype=torch.float64)
    bias = ops.gathered_bias(torch.tensor([extent - rows]), rows, extent, None, torch.float64) if biased else None
    query = qkv[:, : group * kv_heads]
    expected = ops.attention("matmul", query, key, value, bias)
    torch.testing.assert_close(ops.fused_by_key_head(query, key, value, bias), expected)
