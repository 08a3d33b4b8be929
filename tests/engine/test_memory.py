"""Memory promises: the arithmetic is that of known models, limits of the machine are respected, and a refusal says what would fit."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.model_files import model_files, write_files

from specdec.architecture import ModelConfig, read_config
from specdec.errors import MemoryShortError
from specdec.memory import (
    Draft,
    Memory,
    PairNeed,
    comfortable_context,
    estimate_need,
    free_memory,
    host_memory,
    int4_bytes,
    judge,
    kv_bytes,
    largest_context,
    model_bytes,
    pair_need,
    require,
    resolve_dtype,
    size_text,
    workspace_bytes,
)
from specdec.registry import load_registry

GPU: tuple[Literal["float16"], Literal["gpu"]] = ("float16", "gpu")
GB = 10**9
QWEN3_8B: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}
QWEN3_SMALL = QWEN3_8B | {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "tie_word_embeddings": True,
}


@pytest.fixture
def target(tmp_path: Path) -> ModelConfig:
    return read_config(write_files(tmp_path / "target", model_files(QWEN3_8B)))


@pytest.fixture
def sibling(tmp_path: Path) -> ModelConfig:
    return read_config(write_files(tmp_path / "sibling", model_files(QWEN3_SMALL)))


def test_weights_of_known_models_come_out_at_their_published_size(target: ModelConfig, sibling: ModelConfig) -> None:
    assert model_bytes(target, *GPU) == pytest.approx(16.38 * GB, rel=0.001)
    assert model_bytes(target, "float32", "gpu") == 2 * model_bytes(target, "bfloat16", "gpu")
    assert model_bytes(sibling, *GPU) == pytest.approx(2 * 0.596 * GB, rel=0.001)


def test_auto_is_float16_on_a_gpu_and_float32_on_a_cpu(target: ModelConfig) -> None:
    assert resolve_dtype("auto", "gpu") == "float16"
    assert resolve_dtype("auto", "cpu") == "float32"
    assert resolve_dtype("bfloat16", "cpu") == "bfloat16"


def test_a_tied_head_is_held_apart_on_a_cpu(target: ModelConfig) -> None:
    tied = dataclasses.replace(target, tied=True)
    head = 2 * tied.vocab_size * tied.hidden_size
    assert model_bytes(tied, "float16", "cpu") == model_bytes(tied, "float16", "gpu") + head == model_bytes(target, "float16", "cpu")


def test_the_download_size_of_a_listed_pair_is_that_of_its_weights(target: ModelConfig) -> None:
    assert load_registry()["qwen3-8b"].download_bytes == pytest.approx(model_bytes(target, *GPU), rel=0.01)


def test_the_int4_copy_takes_five_bits_a_weight_and_leaves_the_embeddings_out(target: ModelConfig) -> None:
    linear = target.parameters - target.vocab_size * target.hidden_size
    assert int4_bytes(target) == linear * 5 // 8
    assert int4_bytes(target, group=128) == linear // 2 + linear // 32
    assert int4_bytes(dataclasses.replace(target, tied=True)) == int4_bytes(target)


def test_the_cache_takes_two_vectors_a_layer_and_token_in_whole_steps(target: ModelConfig) -> None:
    assert kv_bytes(target, 1024, "float16") == 1024 * 36 * 2 * 8 * 128 * 2
    assert kv_bytes(target, 1025, "float16") == kv_bytes(target, 1280, "float16")
    assert kv_bytes(target, 0, "float16") == 0


def test_a_sibling_has_a_cache_of_its_own_and_the_int4_copy_has_none(target: ModelConfig, sibling: ModelConfig) -> None:
    alone, copy, pair = pair_need(target, None, 4096, *GPU), pair_need(target, "int4", 4096, *GPU), pair_need(target, sibling, 4096, *GPU)
    assert alone.draft == 0
    assert (copy.draft, copy.kv) == (int4_bytes(target), alone.kv)
    assert (pair.draft, pair.kv) == (model_bytes(sibling, *GPU), alone.kv + kv_bytes(sibling, 4096, "float16"))
    assert pair.total == pair.target + pair.draft + pair.kv + pair.workspace


def test_the_workspace_holds_the_logits_and_the_runtime(target: ModelConfig) -> None:
    assert workspace_bytes(target, *GPU) > 700 * 2**20 + 16 * target.vocab_size * 4
    assert workspace_bytes(target, "float16", "cpu") < workspace_bytes(target, *GPU)


def test_an_estimate_is_near_the_truth(target: ModelConfig, sibling: ModelConfig) -> None:
    cases: list[tuple[int | Literal["int4"], Draft]] = [("int4", "int4"), (1_520_000_000, sibling), (0, None)]
    for guess, known in cases:
        truth = pair_need(target, known, 8192, *GPU).total
        assert estimate_need(16_400_000_000, guess, 8192, *GPU).total == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(("free", "fit"), [(99, "does not fit"), (100, "tight"), (111, "tight"), (112, "fits")])
def test_tight_means_less_than_a_tenth_of_the_free_memory_left(free: int, fit: str) -> None:
    assert judge(PairNeed(50, 20, 20, 10), Memory("gpu", free, 1000)) == fit


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(free=st.integers(0, 60 * GB), kind=st.sampled_from(["none", "int4", "sibling"]))
def test_the_largest_context_fits_and_the_next_does_not(target: ModelConfig, sibling: ModelConfig, free: int, kind: str) -> None:
    drafts: dict[str, Draft] = {"none": None, "int4": "int4", "sibling": sibling}
    room = Memory("gpu", free, 80 * GB)
    context = largest_context(target, drafts[kind], room, "float16")
    assert context % 256 == 0
    assert context == 0 or judge(pair_need(target, drafts[kind], context, *GPU), room) != "does not fit"
    assert context == target.max_positions or judge(pair_need(target, drafts[kind], context + 256, *GPU), room) == "does not fit"


def test_a_context_never_exceeds_the_models_own_limit(target: ModelConfig) -> None:
    assert largest_context(target, None, Memory("gpu", 1000 * GB, 1000 * GB), "float16") == 40960


@pytest.mark.parametrize("spare", [0.0, 0.09, 0.11, 1.0])
def test_a_comfortable_context_is_the_whole_limit_or_leaves_a_tenth_free(target: ModelConfig, spare: float) -> None:
    odd = dataclasses.replace(target, max_positions=40_970)
    whole = pair_need(odd, "int4", odd.max_positions, *GPU).total
    room = Memory("gpu", int(whole / (1 - spare)) if spare < 1 else 17 * GB, 80 * GB)
    context = comfortable_context(odd, "int4", room, "float16")
    if spare == 0.11:
        assert context == 40_970
    elif spare == 1.0:
        assert context == 0
    else:
        assert 0 < context < 40_970
        assert judge(pair_need(odd, "int4", context, *GPU), room) == "fits"
        assert judge(pair_need(odd, "int4", context + 256, *GPU), room) == "tight"


def test_a_pair_that_fits_passes(target: ModelConfig) -> None:
    require(pair_need(target, "int4", 4096, *GPU), Memory("gpu", 24 * GB, 24 * GB), target, "int4", "float16")


def test_a_refusal_names_needed_free_and_the_context_that_fits(target: ModelConfig) -> None:
    room = Memory("gpu", 24 * GB, 25 * GB)
    need = pair_need(target, "int4", 40960, *GPU)
    with pytest.raises(MemoryShortError) as raised:
        require(need, room, target, "int4", "float16")
    assert f"needs {size_text(need.total)}" in raised.value.cause
    assert "the GPU has 24.0 GB free" in raised.value.cause
    assert f"context of {largest_context(target, 'int4', room, 'float16')} tokens" in raised.value.next_step


def test_a_refusal_offers_the_lighter_drafts_in_turn(target: ModelConfig, sibling: ModelConfig) -> None:
    heavy = dataclasses.replace(sibling, layers=400)
    for free, words in ((23 * GB, "int4 draft"), (18 * GB, "Without a model draft"), (10 * GB, "a smaller pair")):
        with pytest.raises(MemoryShortError) as raised:
            require(pair_need(target, heavy, 8192, *GPU), Memory("cpu", free, free), target, heavy, "float16")
        assert words in raised.value.next_step
        assert "memory has" in raised.value.cause


def test_sizes_are_written_for_people() -> None:
    assert [size_text(count) for count in (0, 999, 1500, 2_500_000, 16_400_000_000)] == ["0 B", "999 B", "1.5 kB", "2.5 MB", "16.4 GB"]


def machine(root: Path, files: dict[str, str]) -> Path:
    meminfo = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:       0\n"
    for name, text in ({"proc/meminfo": meminfo} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_host_memory_is_what_can_be_taken_without_swapping(tmp_path: Path) -> None:
    assert host_memory(machine(tmp_path, {})) == Memory("cpu", 8_192_000_000, 16_384_000_000)


def test_the_tightest_control_group_limits_host_memory(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user/job\n",
        "sys/fs/cgroup/user/job/memory.max": "max\n",
        "sys/fs/cgroup/user/job/memory.current": "0\n",
        "sys/fs/cgroup/user/job/memory.stat": "anon 0\n",
        "sys/fs/cgroup/user/memory.max": "4000000000\n",
        "sys/fs/cgroup/user/memory.current": "3000000000\n",
        "sys/fs/cgroup/user/memory.stat": "anon 5\ninactive_file 500000000\n",
    }
    assert host_memory(machine(tmp_path, files)) == Memory("cpu", 1_500_000_000, 4_000_000_000)


def test_an_old_control_group_limits_host_memory(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/job\n3:cpuset:/job\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000000000\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "2500000000\n",
        "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 100\n",
    }
    assert host_memory(machine(tmp_path, files)) == Memory("cpu", 0, 2_000_000_000)


def test_this_machine_has_some_memory() -> None:
    found = host_memory()
    assert 0 < found.free <= found.total


def fake_gpu(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def test_a_gpu_is_asked_for_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_gpu(tmp_path, 'while [ "$1" != "-i" ]; do shift; done; echo "$((1000 * ($2 + 1))), 24564"', monkeypatch)
    assert free_memory() == Memory("gpu", 1000 * 2**20, 24564 * 2**20)
    assert free_memory("cuda:1").free == 2000 * 2**20
    assert free_memory("cpu").device == "cpu"


@pytest.mark.parametrize(("visible", "device", "index"), [("3,1", "auto", 3), ("3,1", "cuda:1", 1), (" 2 ", "cuda", 2)])
def test_only_visible_gpus_count(visible: str, device: str, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    fake_gpu(tmp_path, 'while [ "$1" != "-i" ]; do shift; done; echo "$2, 24564"', monkeypatch)
    assert free_memory(device).free == index * 2**20


@pytest.mark.parametrize("visible", ["", "-1", "0 --help", "NoDevFiles"])
def test_no_visible_gpu_means_main_memory(visible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    fake_gpu(tmp_path, 'echo "1000, 24564"', monkeypatch)
    assert free_memory().device == "cpu"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo '[N/A], [N/A]'"])
def test_a_driver_that_fails_means_main_memory(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_gpu(tmp_path, script, monkeypatch)
    assert free_memory().device == "cpu"


def test_no_driver_means_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert free_memory().device == "cpu"
