"""Loading a pair: what cannot draft is left out with a warning, what cannot run is refused, and what runs says how."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine.answers import ask, request
from tests.engine.models import save_model, save_pair, save_tokenizer

import specdec.draft_plan
import specdec.exactness
import specdec.loading
import specdec.memory
from specdec.architecture import read_config
from specdec.errors import CheckpointError, HubError, MemoryShortError, UsageError
from specdec.loading import Pair, load_pair, with_draft
from specdec.memory import Memory, PairShape, pair_need
from specdec.model.int4 import Int4PackLinear
from specdec.model.int8 import Int8Linear
from specdec.options import DtypeChoice, LoadOptions
from specdec.session import ChatSession
from specdec.target import Execution

REMEMBERS_ALL_THREADS = """
import sys, torch
import specdec.calibration
from specdec.loading import load_pair
from specdec.options import LoadOptions

load = lambda threads, spare=0: load_pair(LoadOptions(target=sys.argv[1], exact="off", threads=threads, spare_cores=spare)).ready.threads
specdec.calibration.available_cores = lambda: 2
chosen = []
for best in (1, 2):
    specdec.calibration.timed_ms = lambda *step: 1.0 if torch.get_num_threads() == best else 9.0
    chosen.append((load(None), torch.get_num_threads()))
    load(1)
print(chosen, load(None, spare=1), load(None, spare=9), load(None))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_pair(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sibling(models: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the sibling, to be spoilt."""
    return Path(shutil.copytree(models[1], tmp_path / "spoilt"))


def load(models: tuple[Path, Path], draft: Path | str | None = None, **options: Any) -> Pair:
    return load_pair(LoadOptions(target=str(models[0]), draft=draft if draft is None else str(draft), **{"threads": 1} | options))


def answers_alone(pair: Pair, *words: str) -> None:
    """The pair runs without a draft model, its one warning holds these words, and the text is the target's."""
    (warning,) = pair.ready.warnings
    for word in ("without the draft", *words):
        assert word in warning
    assert pair.ready.draft_problem
    assert pair.ready.draft_problem in warning
    assert (pair.drafter, pair.ready.draft, pair.ready.draft_kind, pair.ready.draft_backend) == (None, None, None, None)
    auto, off = (ask(ChatSession(pair), request("the cat", draft=draft)) for draft in ("auto", "off"))
    assert auto.tokens == off.tokens
    with pytest.raises(UsageError):
        ask(ChatSession(pair), request("the cat", draft="model"))


def test_a_draft_with_another_tokenizer_is_left_out_and_the_tokens_are_named(models: tuple[Path, Path], sibling: Path) -> None:
    tokenizer = sibling / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<|user|>", "<|human|>"))
    pair = load(models, sibling, exact="on")
    answers_alone(pair, "spoilt", "<|user|>", "<|human|>")
    assert pair.ready.draft_problem.startswith("The draft spoilt does not fit its target: The tokenizers differ")


def test_a_draft_that_is_not_on_disk_is_left_out(models: tuple[Path, Path]) -> None:
    answers_alone(load(models, "nobody/nothing", exact="on"), "nobody/nothing", "pull")


def test_a_draft_with_a_missing_file_is_left_out(models: tuple[Path, Path], sibling: Path) -> None:
    (sibling / "model.safetensors").unlink()
    answers_alone(load(models, sibling, exact="on"), "model.safetensors")


def test_a_draft_with_cut_weights_is_left_out(models: tuple[Path, Path], sibling: Path) -> None:
    weights = sibling / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    answers_alone(load(models, sibling, exact="on"), "model.safetensors", "damaged")


def test_a_draft_of_an_unknown_family_is_left_out(models: tuple[Path, Path], sibling: Path) -> None:
    config = sibling / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "GPT2LMHeadModel"))
    answers_alone(load(models, sibling, exact="on"), "GPT2LMHeadModel")


def test_a_draft_that_knows_fewer_positions_drafts_as_far_as_it_does(models: tuple[Path, Path], tmp_path: Path) -> None:
    save_model(tmp_path / "short", "llama", seed=1, num_hidden_layers=1, max_position_embeddings=40)
    save_tokenizer(tmp_path / "short")
    pair = load(models, tmp_path / "short", exact="on")
    assert pair.ready.draft == str(tmp_path / "short")
    assert "40 positions" in pair.ready.warnings[0]
    drafted = ask(ChatSession(pair), request("the cat", draft="model", max_tokens=60))
    assert drafted.tokens == ask(ChatSession(pair), request("the cat", draft="off", max_tokens=60)).tokens
    assert {round_.drafter for round_ in drafted.rounds} == {"sibling", "off"}
    beyond, plain = (ask(ChatSession(pair), request("%" * 100, draft=draft)) for draft in ("model", "off"))
    assert beyond.tokens == plain.tokens


def test_a_target_that_is_not_on_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="nobody/nothing"):
        load_pair(LoadOptions(target="nobody/nothing"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_pair(LoadOptions(target=str(tmp_path)))


@pytest.mark.parametrize("draft", [None, "int4", "sibling"])
def test_a_pair_that_does_not_fit_into_memory_is_refused_before_it_is_read(
    draft: str | None, models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(specdec.loading, "free_memory", lambda device: Memory("cpu", 10**6, 10**9))
    monkeypatch.setattr(specdec.loading, "load_weights", lambda *args: pytest.fail("the weights were read"))
    with pytest.raises(MemoryShortError, match=r"needs .* MB .* 1\.0 MB free") as caught:
        load(models, models[1] if draft == "sibling" else draft)
    assert caught.value.next_step


@pytest.mark.parametrize("kernel", specdec.exactness.KERNELS, ids=lambda kernel: kernel.attention)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_exact_whichever_kernel_is_at_hand(
    models: tuple[Path, Path], dtype: str, kernel: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding to 16 bits hides most of what a kernel does differently for more rows, but not all."""
    monkeypatch.setattr(specdec.exactness, "KERNELS", (kernel,))
    pair = load(models, models[1], dtype=dtype, exact="on")
    assert (pair.ready.dtype, pair.ready.exact, str(pair.target.cache.rows.dtype)) == (dtype, True, f"torch.{dtype}")
    pair.codec.eos = frozenset()
    for content in ("the quick", "the cat"):
        chat = request(content, draft="model", draft_tokens=4, max_tokens=50)
        drafted, plain = (ask(ChatSession(pair), each) for each in (chat, request(content, draft="off", max_tokens=50)))
        assert drafted.done.statistics.drafters["sibling"].drafted > 100
        assert drafted.tokens == plain.tokens


def test_the_int4_copy_drafts_in_bfloat16(models: tuple[Path, Path]) -> None:
    pair = load(models, "int4", dtype="bfloat16", exact="off")
    assert (pair.ready.draft, pair.ready.draft_kind, pair.ready.dtype) == ("int4", "int4", "bfloat16")
    answer = ask(ChatSession(pair), request("the quick", draft="model"))
    assert answer.done.statistics.drafters["int4"].accepted > 0


def test_a_copy_without_a_head_of_its_own_has_the_targets_and_needs_less(models: tuple[Path, Path]) -> None:
    whole, pair = (load(models, draft, exact="on") for draft in ("int4", "int4-shared-head"))
    assert (pair.ready.draft, pair.ready.draft_kind, pair.ready.draft_backend) == ("int4-shared-head", "int4", "int4pack")
    assert whole.drafter is not None
    assert pair.drafter is not None
    assert pair.drafter.decoder.weights.head is pair.target.decoder.weights.head
    assert whole.drafter.decoder.weights.head is not whole.target.decoder.weights.head
    assert isinstance(pair.drafter.decoder.weights.layers[0].gate_up, Int4PackLinear)
    assert pair.ready.memory_bytes < whole.ready.memory_bytes
    drafted, plain = (ask(ChatSession(pair), request("the quick", draft=draft)) for draft in ("model", "off"))
    assert drafted.tokens == plain.tokens
    assert drafted.done.statistics.drafters["int4"].accepted > 0
    later = with_draft(load(models, exact="on"), "int4-shared-head")
    assert later.drafter is not None
    assert later.drafter.decoder.weights.head is later.target.decoder.weights.head
    assert later.ready.memory_bytes == pair.ready.memory_bytes


def test_a_target_in_eight_bits_says_that_its_text_is_another_and_is_exact_to_itself(models: tuple[Path, Path]) -> None:
    full, rounded = (load(models, "int4", dtype=dtype, exact="on") for dtype in ("auto", "int8"))
    assert (rounded.ready.dtype, rounded.target.cache.rows.dtype) == ("int8", torch.float32)
    assert "8 bits" in rounded.ready.warnings[0]
    assert rounded.ready.memory_bytes < full.ready.memory_bytes
    for layer in rounded.target.decoder.weights.layers:
        assert all(isinstance(linear, Int8Linear) for linear in (layer.qkv, layer.output, layer.gate_up, layer.down))
    tokens = [1, 5, 9, 11]
    exact, near = (pair.target.step(tokens, 0).double() for pair in (full, rounded))
    assert 0 < float((near - exact).norm() / exact.norm()) < 0.05
    drafted, plain = (ask(ChatSession(rounded), request("the quick", draft=draft)) for draft in ("model", "off"))
    assert drafted.tokens == plain.tokens


def test_a_refusal_offers_the_other_drafts_that_are_on_disk(models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for all but a model draft at the whole context; then a copy that is heavier than the sibling."""
    others = ("nobody/nothing", str(models[1]))
    free = pair_need(PairShape(read_config(models[0]), None, "float32", "cpu"), 640).total
    monkeypatch.setattr(specdec.loading, "free_memory", lambda device: Memory("cpu", free, 2 * free))
    with pytest.raises(MemoryShortError) as caught:
        load(models, "int4", context=640, other_drafts=others)
    assert caught.value.next_step.startswith("What would fit: a context of 512 tokens; no model draft; 8 bits a weight (dtype int8")
    monkeypatch.setattr(specdec.loading, "free_memory", lambda device: Memory("cpu", 2 * free, 2 * free))
    monkeypatch.setattr(specdec.memory, "int4_bytes", lambda config, group=32, head=True: 2 * free)
    monkeypatch.setattr(specdec.draft_plan, "WORTHWHILE_TIME", 0.0)
    with pytest.raises(MemoryShortError) as caught:
        load(models, "int4", context=640, other_drafts=others)
    assert caught.value.next_step.startswith(f"What would fit: the draft {models[1]}; 8 bits a weight")


@pytest.mark.parametrize(("worthwhile", "backend"), [(0.0, None), (float("inf"), "int4pack")])
def test_a_sibling_is_held_in_int4_where_that_is_faster(
    models: tuple[Path, Path], worthwhile: float, backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(specdec.draft_plan, "WORTHWHILE_TIME", worthwhile)
    pair = load(models, models[1], exact="on")
    assert pair.ready.draft_backend == backend
    drafted, plain = (ask(ChatSession(pair), request("the quick", draft=draft)) for draft in ("model", "off"))
    assert drafted.tokens == plain.tokens


@pytest.mark.parametrize(("asked", "dtype"), [("auto", "float32"), ("float32", "float32"), ("float16", "float16")])
def test_ready_says_how_the_pair_runs(models: tuple[Path, Path], asked: DtypeChoice, dtype: str) -> None:
    stages: list[tuple[str, int, int]] = []
    options = LoadOptions(target=str(models[0]), draft=str(models[1]), dtype=asked, context=300, exact="off", device="cpu", threads=1)
    ready = load_pair(options, lambda *step: stages.append(step)).ready
    assert (ready.target, ready.draft, ready.draft_kind) == (str(models[0]), str(models[1]), "sibling")
    assert (ready.dtype, ready.device, ready.context, ready.exact, ready.threads) == (dtype, "cpu", 300, False, 1)
    assert (ready.warnings, ready.draft_problem, ready.thinking) == ((), "", False)
    assert [stage for stage, _, _ in stages] == ["target"] * 4 + ["draft"] * 2 + ["calibration"]
    for stage, model in zip(("target", "draft"), models, strict=True):
        size = (model / "model.safetensors").stat().st_size
        steps = [(done, total) for name, done, total in stages if name == stage]
        assert all(total == size for _, total in steps)
        assert 0 < steps[0][0] < steps[-1][0] == size
        assert sorted(steps) == steps


def test_a_context_beyond_the_model_is_cut_and_said(models: tuple[Path, Path]) -> None:
    ready = load(models, context=4096, exact="off").ready
    assert ready.context == 640
    assert "640" in ready.warnings[0]
    assert "4096" in ready.warnings[0]


def test_without_a_wish_the_context_is_what_memory_comfortably_holds(models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config(models[0])
    need = pair_need(PairShape(config, None, "float32", "cpu"), 640)
    monkeypatch.setattr(specdec.loading, "free_memory", lambda device: Memory("cpu", need.total, 2 * need.total))
    monkeypatch.setattr(specdec.memory, "TIGHT_SHARE", need.kv / 2 / need.total)
    ready = load(models, exact="off").ready
    assert 0 < ready.context < 640
    assert ready.context % 256 == 0
    assert str(ready.context) in ready.warnings[0]
    assert load(models, context=640, exact="off").ready.context == 640


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:1"])
def test_a_device_that_is_not_there_is_a_usage_error(models: tuple[Path, Path], device: str) -> None:
    with pytest.raises(UsageError, match=device):
        load(models, device=device)


def test_the_asked_threads_are_used(models: tuple[Path, Path]) -> None:
    assert load(models, threads=2, exact="off").ready.threads == 2 == torch.get_num_threads()
    assert load(models, threads=1, exact="off").ready.threads == 1 == torch.get_num_threads()


def test_each_load_measures_all_threads_but_spare_cores_whatever_the_last_one_chose(
    models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, because how many threads there are is settled when torch starts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    ran = subprocess.run([sys.executable, "-c", REMEMBERS_ALL_THREADS, str(models[0])], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[(1, 1), (2, 2)] 1 1 2"
