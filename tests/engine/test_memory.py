"""Memory promises: the arithmetic is that of known models, limits of the machine are respected, and a refusal says what would fit."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.model_files import model_files, write_files

from specdec.architecture import ModelConfig, read_config
from specdec.errors import MemoryShortError
from specdec.memory import (
    Copy,
    Draft,
    Memory,
    PairNeed,
    PairShape,
    Way,
    comfortable_context,
    estimate_need,
    int4_bytes,
    int8_model_bytes,
    judge,
    kv_bytes,
    largest_context,
    model_bytes,
    offer_text,
    offers,
    pair_need,
    require,
    resolve_dtype,
    size_text,
    workspace_bytes,
)
from specdec.registry import load_registry

GPU: tuple[Literal["float16"], Literal["gpu"]] = ("float16", "gpu")
INT4: Copy = "int4"
SHARED_HEAD: Copy = "int4-shared-head"
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
    assert (resolve_dtype("int8", "gpu"), resolve_dtype("int8", "cpu")) == ("float16", "float32")


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
    alone, copy, pair = (pair_need(PairShape(target, draft, *GPU), 4096) for draft in (None, INT4, sibling))
    assert alone.draft == 0
    assert (copy.draft, copy.kv) == (int4_bytes(target), alone.kv)
    assert (pair.draft, pair.kv) == (model_bytes(sibling, *GPU), alone.kv + kv_bytes(sibling, 4096, "float16"))
    assert pair.total == pair.target + pair.draft + pair.kv + pair.workspace


def test_a_copy_without_a_head_of_its_own_saves_the_head(target: ModelConfig) -> None:
    whole, lighter = (pair_need(PairShape(target, draft, *GPU), 4096) for draft in (INT4, SHARED_HEAD))
    assert whole.draft - lighter.draft == 151936 * 4096 * 5 // 8
    assert dataclasses.replace(lighter, draft=whole.draft) == whole


def test_eight_bits_a_weight_halve_the_matrices_and_leave_the_embedding(target: ModelConfig, sibling: ModelConfig) -> None:
    embedding = 2 * target.vocab_size * target.hidden_size
    assert int8_model_bytes(target, "float16") == (model_bytes(target, *GPU) - embedding) // 2 + embedding
    assert int8_model_bytes(sibling, "float16") == model_bytes(sibling, *GPU) // 2 + 2 * sibling.vocab_size * sibling.hidden_size
    full, rounded = (pair_need(PairShape(target, INT4, *GPU, int8=int8), 4096) for int8 in (False, True))
    assert (rounded.target, rounded.draft, rounded.kv) == (int8_model_bytes(target, "float16"), full.draft, full.kv)


def test_a_sibling_in_four_bits_takes_a_copy_and_its_own_embedding(target: ModelConfig, sibling: ModelConfig) -> None:
    need = pair_need(PairShape(target, sibling, *GPU, sibling_int4=True), 4096)
    assert need.draft == int4_bytes(sibling) + 2 * sibling.vocab_size * sibling.hidden_size


def test_the_workspace_holds_the_logits_and_the_runtime(target: ModelConfig) -> None:
    assert workspace_bytes(PairShape(target, None, *GPU), 0) > 700 * 2**20 + 16 * target.vocab_size * 4
    assert pair_need(PairShape(target, None, *GPU), 0).workspace == pair_need(PairShape(target, None, *GPU), 40_960).workspace


def test_layers_that_are_read_to_be_made_into_something_else_need_room_until_the_caches_do(target: ModelConfig) -> None:
    layer, head = 2 * (4096 * 128 * (2 * 32 + 2 * 8) + 3 * 4096 * 12288), 2 * 151936 * 4096
    rounded, kept = (PairShape(target, None, *GPU, int8=int8) for int8 in (True, False))
    reading = head + 700 * 2**20
    assert head > 2 * layer
    assert workspace_bytes(rounded, 0) == reading > workspace_bytes(kept, 0)
    assert workspace_bytes(rounded, 10**8) == reading - 10**8
    assert workspace_bytes(rounded, head) == workspace_bytes(kept, 0) + 2 * 2 * 12288 * 4096
    tied = dataclasses.replace(target, tied=True)
    assert workspace_bytes(PairShape(tied, None, "float32", "cpu"), 0) == 2 * 2 * layer + 300 * 2**20
    assert workspace_bytes(PairShape(target, None, "float32", "cpu"), 0) == 2 * head + 300 * 2**20


@pytest.mark.parametrize("int8", [False, True])
def test_an_estimate_is_near_the_truth(target: ModelConfig, sibling: ModelConfig, int8: bool) -> None:
    cases: list[tuple[int | Copy, Draft]] = [(INT4, INT4), (SHARED_HEAD, SHARED_HEAD), (1_520_000_000, sibling), (0, None)]
    for guess, known in cases:
        truth = pair_need(PairShape(target, known, *GPU, int8=int8), 8192).total
        assert estimate_need(16_400_000_000, guess, 8192, *GPU, int8=int8).total == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(("free", "fit"), [(99, "does not fit"), (100, "tight"), (111, "tight"), (112, "fits")])
def test_tight_means_less_than_a_tenth_of_the_free_memory_left(free: int, fit: str) -> None:
    assert judge(PairNeed(50, 20, 20, 10), Memory("gpu", free, 1000)) == fit


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(free=st.integers(0, 60 * GB), kind=st.sampled_from(["none", INT4, SHARED_HEAD, "sibling"]), int8=st.booleans())
def test_the_largest_context_fits_and_the_next_does_not(
    target: ModelConfig, sibling: ModelConfig, free: int, kind: str, int8: bool
) -> None:
    drafts: dict[str, Draft] = {"none": None, INT4: INT4, SHARED_HEAD: SHARED_HEAD, "sibling": sibling}
    room, shape = Memory("gpu", free, 80 * GB), PairShape(target, drafts[kind], *GPU, int8=int8)
    context = largest_context(shape, room)
    assert context % 256 == 0
    assert context == 0 or judge(pair_need(shape, context), room) != "does not fit"
    assert context == target.max_positions or judge(pair_need(shape, context + 256), room) == "does not fit"


def test_a_context_never_exceeds_the_models_own_limit(target: ModelConfig) -> None:
    assert largest_context(PairShape(target, None, *GPU), Memory("gpu", 1000 * GB, 1000 * GB)) == 40960


@pytest.mark.parametrize("spare", [0.0, 0.09, 0.11, 1.0])
def test_a_comfortable_context_is_the_whole_limit_or_leaves_a_tenth_free(target: ModelConfig, spare: float) -> None:
    odd = PairShape(dataclasses.replace(target, max_positions=40_970), INT4, *GPU)
    whole = pair_need(odd, 40_970).total
    room = Memory("gpu", int(whole / (1 - spare)) if spare < 1 else 17 * GB, 80 * GB)
    context = comfortable_context(odd, room)
    if spare == 0.11:
        assert context == 40_970
    elif spare == 1.0:
        assert context == 0
    else:
        assert 0 < context < 40_970
        assert judge(pair_need(odd, context), room) == "fits"
        assert judge(pair_need(odd, context + 256), room) == "tight"


def test_a_pair_that_fits_passes(target: ModelConfig) -> None:
    shape = PairShape(target, INT4, *GPU)
    assert require(shape, Way(INT4), {}, 4096, Memory("gpu", 24 * GB, 24 * GB)) == pair_need(shape, 4096)


def refusal(shape: PairShape, asked: Way, others: Mapping[str, Draft], context: int, room: Memory) -> MemoryShortError:
    with pytest.raises(MemoryShortError) as raised:
        require(shape, asked, others, context, room)
    return raised.value


def test_a_refusal_names_needed_free_and_the_context_that_fits(target: ModelConfig) -> None:
    room, shape = Memory("gpu", 24 * GB, 25 * GB), PairShape(target, INT4, *GPU)
    error = refusal(shape, Way(INT4), {}, 40960, room)
    assert error.cause == f"The pair needs {size_text(pair_need(shape, 40960).total)} and the GPU has 24.0 GB free."
    assert error.next_step.startswith(f"What would fit: a context of {largest_context(shape, room)} tokens; ")


def test_a_refusal_offers_everything_lighter_in_turn(target: ModelConfig, sibling: ModelConfig) -> None:
    """24 GB hold the copy at a short context only, 18 GB no copy at all, 11 GB no full precision, 5 GB nothing."""
    shape, others = PairShape(target, INT4, *GPU), {SHARED_HEAD: SHARED_HEAD, "org/small": sibling}
    context = 40_960

    def told(free: int) -> list[str]:
        error = refusal(shape, Way(INT4), others, context, Memory("cpu", free, free))
        assert "memory has" in error.cause
        return error.next_step.removeprefix("What would fit: ").removesuffix(".").split("; ")

    same, shared, sibling_only, nothing, rounded = told(24 * GB)
    assert same.startswith("a context of ")
    assert shared.startswith("the draft int4-shared-head with a context of ")
    assert sibling_only.startswith("the draft org/small with a context of ")
    assert nothing.startswith("no model draft")
    assert rounded == "8 bits a weight (dtype int8, whose text is not that of full precision)"
    lengths = [int(offer.split(" of ")[-1].split()[0]) for offer in (same, shared, sibling_only, nothing) if " of " in offer]
    assert lengths == sorted(set(lengths))

    nothing, rounded = told(18 * GB)
    assert nothing.startswith("no model draft with a context of ")
    assert rounded.startswith("8 bits a weight (dtype int8, whose text is not that of full precision)")
    (rounded,) = told(11 * GB)
    assert "8 bits a weight" in rounded
    assert "no model draft with a context of" in rounded
    assert refusal(shape, Way(INT4), others, context, Memory("cpu", 5 * GB, 5 * GB)).next_step.startswith("Free some memory")


def test_what_is_held_in_eight_bits_is_offered_no_more_of_them(target: ModelConfig) -> None:
    error = refusal(PairShape(target, INT4, *GPU, int8=True), Way(INT4, int8=True), {}, 40_960, Memory("gpu", 12 * GB, 12 * GB))
    assert "8 bits" not in error.next_step
    assert "no model draft" in error.next_step


@given(st.lists(st.integers(0, 9000), min_size=8, max_size=8), st.integers(256, 9000))
def test_every_offer_in_full_precision_fits_longer_than_those_before_it(lengths: list[int], context: int) -> None:
    asked, others = Way("a"), ["b", "c"]
    ways = [Way(draft, int8) for int8 in (False, True) for draft in ("a", "b", "c", None)]
    longest = dict(zip(ways, lengths, strict=True))
    found = list(offers(asked, others, context, longest.__getitem__))
    assert [way for way, _ in found] == [way for way in ways if way in dict(found)]
    assert all(fitting == min(context, longest[way]) > 0 for way, fitting in found)
    full = [fitting for way, fitting in found if not way.int8]
    assert full == sorted(set(full))
    assert max(full, default=0) == min(context, max(lengths[:4]))
    rounded = [fitting for way, fitting in found if way.int8]
    assert rounded == ([min(context, max(lengths[4:]))] if min(context, max(lengths[4:])) > min(context, lengths[0]) else [])
    assert all(offer_text(asked, way, context, fitting) for way, fitting in found if way != asked or fitting < context)


def test_sizes_are_written_for_people() -> None:
    assert [size_text(count) for count in (0, 999, 1500, 2_500_000, 16_400_000_000)] == ["0 B", "999 B", "1.5 kB", "2.5 MB", "16.4 GB"]
