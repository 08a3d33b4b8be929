"""A widened model computes what the small one computes, in the engine and in transformers, and has the sizes its shape names."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tests.engine.models import VOCAB, save_model
from torch import Tensor
from transformers import AutoModelForCausalLM

import inflate_pair
from inflation.directory import wide_config, write_model
from inflation.placement import place
from inflation.shapes import SHAPES, WideShape
from pair_quality.acceptance import Acceptance
from pair_quality.answering import Answer, Way, answer
from pair_quality.prompts import Prompt, conversation
from specdec import draft_plan
from specdec.architecture import read_config, read_json
from specdec.checkpoint import load_weights, weight_files
from specdec.errors import IncompatibleDraftError, UsageError
from specdec.hub import locate
from specdec.kv_cache import KVCache
from specdec.loading import load_pair
from specdec.model.decoder import Decoder
from specdec.model.linear import full_precision
from specdec.model.rows import View
from specdec.options import Drafting, LoadOptions, Message
from specdec.text import TextCodec

DEMO = {name: locate(f"builtin:demo/{name}") for name in ("target", "sibling")}
WIDE = {
    "target": WideShape("wide-target", "llama", 512, 10, 8, 2, 128, 1024, 5000, tied=False),
    "sibling": WideShape("wide-sibling", "llama", 384, 3, 8, 2, 64, 768, 5000, tied=True),
}
QWEN3 = WideShape("wide-qwen3", "qwen3", 192, 4, 16, 8, 64, 128, VOCAB + 40, tied=False)
QUESTIONS = ("Tell me a story about a dog.", "What is the capital of France?", "Hello! Who are you?")
PARAMETERS = {
    "llama-3.1-8b": 8.03e9,
    "llama-3.2-1b": 1.236e9,
    "qwen3-8b": 8.19e9,
    "qwen3-4b": 4.02e9,
    "qwen3-0.6b": 0.596e9,
}


def unheard(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo pair in small wide shapes."""
    root = tmp_path_factory.mktemp("wide")
    for name, shape in WIDE.items():
        write_model(DEMO[name], shape, root / name, 0, unheard)
    return {name: root / name for name in WIDE}


def decoder(directory: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    config = read_config(directory)
    device = torch.device("cpu")
    return Decoder(config, load_weights(directory, config, dtype, device, [full_precision])[0], 512)


def engine_logits(directory: Path, tokens: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    model = decoder(directory, dtype)
    cache = KVCache(model.config, 512, dtype, model.device)
    prefill = model.forward(tokens[:-8], 0, cache, View(len(tokens) - 8))
    steps = model.forward(tokens[-8:], len(tokens) - 8, cache, View(len(tokens)))
    return torch.cat((prefill, steps))


def transformers_logits(directory: Path, tokens: Tensor) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits: Tensor = model(tokens[None]).logits[0]
    return logits


def story() -> Tensor:
    """A prompt of the demo pair followed by all sorts of tokens."""
    ids = TextCodec(DEMO["target"]).render([Message(role="user", content=QUESTIONS[0])])
    return torch.cat((torch.tensor(ids), torch.randint(4, 4096, (200,), generator=torch.Generator().manual_seed(2))))


def check_same(small: Path, wide: Path, tokens: Tensor, vocab: int) -> None:
    """All logits agree to float32 rounding, and those of other tokens are out of reach."""
    expected = engine_logits(small, tokens)
    bound = 2e-5 * float(expected.abs().max())
    for logits in (engine_logits(wide, tokens), transformers_logits(wide, tokens)):
        assert float((logits[:, :vocab] - expected).abs().max()) < bound
        assert bool((logits[:, vocab:].amax(1) < expected.amin(1) - 120).all())


@pytest.mark.parametrize("name", WIDE)
def test_logits_of_the_widened_demo_pair_equal_its_own(name: str, wide: dict[str, Path]) -> None:
    check_same(DEMO[name], wide[name], story(), 4096)


def test_logits_of_a_widened_qwen3_equal_its_own(tmp_path: Path) -> None:
    model = save_model(tmp_path / "float32", "qwen3", tie_word_embeddings=False)
    model.half().save_pretrained(tmp_path / "small")
    write_model(tmp_path / "small", QWEN3, tmp_path / "wide", 3, unheard)
    tokens = torch.randint(0, VOCAB, (90,), generator=torch.Generator().manual_seed(1))
    check_same(tmp_path / "small", tmp_path / "wide", tokens, VOCAB)


@pytest.mark.parametrize("name", WIDE)
def test_float16_stays_finite_and_close(name: str, wide: dict[str, Path]) -> None:
    expected = engine_logits(DEMO[name], story())
    logits = engine_logits(wide[name], story(), torch.float16).float()
    assert bool(logits.isfinite().all())
    assert float((logits[:, :4096] - expected).abs().mean()) < 0.01 * float(expected.abs().mean())
    assert bool((logits[:, 4096:].amax(1) < logits[:, :4096].amin(1) - 120).all())


def answers(target: Path, draft: Path) -> list[Answer]:
    pair = load_pair(LoadOptions(target=str(target), draft=str(draft), context=256, exact="off", threads=1))
    assert pair.ready.draft_kind == "sibling"
    assert pair.ready.draft_backend is None
    way = Way(Drafting(draft="model", draft_tokens=4), 0.0, 48, 0)
    prompts = [Prompt(text, conversation([{"role": "user", "content": text}]), "demo") for text in QUESTIONS]
    return [answer(pair, prompt, way) for prompt in prompts]


def test_the_widened_pair_says_and_accepts_the_same(wide: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_int4(device: str, dtype: torch.dtype) -> None:
        raise IncompatibleDraftError("A sibling in full precision has the same drafts in both pairs.")

    monkeypatch.setattr(draft_plan, "choose_backend", no_int4)
    small, large = answers(DEMO["target"], DEMO["sibling"]), answers(wide["target"], wide["sibling"])
    assert [each.text for each in large] == [each.text for each in small]
    counts = [Acceptance.of(each.statistics) for each in large]
    assert counts == [Acceptance.of(each.statistics) for each in small]
    assert sum(count.accepted[0] for count in counts) > 0


@pytest.mark.parametrize("name", WIDE)
def test_every_matrix_is_full_of_weights_but_where_zeros_are_needed(name: str, wide: dict[str, Path]) -> None:
    zeros = {}
    for path in weight_files(wide[name]):
        with safe_open(path, framework="pt") as shard:
            for key in shard.keys():  # noqa: SIM118 - a shard is not a dictionary
                tensor = shard.get_tensor(key)
                assert tensor.dtype == (torch.float32 if "norm" in key else torch.float16), key
                zeros[key] = float((tensor == 0).float().mean())
    last = f"model.layers.{WIDE[name].layers - 1}"
    assert zeros[f"{last}.self_attn.o_proj.weight"] == zeros[f"{last}.mlp.down_proj.weight"] == 1
    for key, share in zeros.items():
        if "norm" not in key and "o_proj" not in key and "down_proj" not in key:
            limit = 0.5 if "embed" in key else 0.4 if "q_proj" in key or "k_proj" in key else 0.01
            assert share < limit, key


def test_a_seed_decides_every_byte(wide: dict[str, Path], tmp_path: Path) -> None:
    for seed in (0, 1):
        write_model(DEMO["sibling"], WIDE["sibling"], tmp_path / str(seed), seed, unheard)
    name = "model-00002-of-00005.safetensors"
    first, again, other = ((folder / name).read_bytes() for folder in (wide["sibling"], tmp_path / "0", tmp_path / "1"))
    assert first == again
    assert first != other


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_full_shapes_have_the_parameters_of_the_published_models(shape: WideShape, tmp_path: Path) -> None:
    source = DEMO["target"]
    if shape.family == "qwen3":
        source = tmp_path / "qwen3"
        save_model(source, "qwen3", tie_word_embeddings=True)
    config = wide_config(read_json(source / "config.json"), place(read_config(source), shape))
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_config(tmp_path).parameters == pytest.approx(PARAMETERS[shape.name], rel=0.002)


@pytest.mark.parametrize("name", DEMO)
@pytest.mark.parametrize("shape", ["llama-3.1-8b", "llama-3.2-1b"])
def test_query_heads_keep_their_own_key_value_head(name: str, shape: str) -> None:
    small, large = read_config(DEMO[name]), SHAPES[shape]
    placement = place(replace(small, heads=small.heads * 2, kv_heads=small.kv_heads * 2), large)
    group, copied = large.heads // large.kv_heads, dict(placement.kv_slots)
    assert len(set(placement.query_slots)) == small.heads * 2
    for head, slot in enumerate(placement.query_slots):
        assert copied[slot // group] == head // (small.heads // small.kv_heads)


def test_what_does_not_fit_is_named() -> None:
    small = read_config(DEMO["target"])
    with pytest.raises(UsageError, match=r"its hidden size needs 322 and the shape has 320; its vocabulary needs 4096 and the shape has 9"):
        place(small, replace(WIDE["target"], hidden_size=320, vocab_size=9))
    with pytest.raises(UsageError, match=r"the head dimension 96 is not a multiple of its 64"):
        place(small, replace(WIDE["target"], head_dim=96))
    with pytest.raises(UsageError, match=r"its heads need 3 key-value heads of 2 query heads each and the shape has 2"):
        place(small, replace(WIDE["target"], heads=4))
    with pytest.raises(UsageError, match=r"its output head differs from its embedding and the shape has one matrix for both"):
        place(replace(small, tied=False), WIDE["sibling"])


def test_a_llama_model_cannot_take_a_qwen3_shape() -> None:
    with pytest.raises(UsageError, match=r"it is a llama model and the shape is of qwen3, whose norms of queries and keys change"):
        place(read_config(DEMO["target"]), SHAPES["qwen3-8b"])


def test_the_script_writes_a_pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shape in WIDE.items():
        monkeypatch.setitem(SHAPES, name, shape)
    command = ["inflate_pair.py", "demo", "--draft", "sibling", "--out", str(tmp_path / "pair")]
    monkeypatch.setattr(sys, "argv", [*command, "--target", "target"])
    assert inflate_pair.main() == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "pair" / name) for name in WIDE]
    assert {path.name for path in (tmp_path / "pair").iterdir()} == set(WIDE)
    for name, shape in WIDE.items():
        folder = tmp_path / "pair" / name
        assert read_config(folder).layers == shape.layers
        assert (folder / "tokenizer.json").read_bytes() == (DEMO[name] / "tokenizer.json").read_bytes()
        assert (folder / "chat_template.jinja").read_bytes() == (DEMO[name] / "chat_template.jinja").read_bytes()
        assert f"filled with a small model\n\nThis is specchat's demo {name}" in (folder / "README.md").read_text()
    monkeypatch.setattr(sys, "argv", [*command, "--target", "qwen3-8b"])
    assert inflate_pair.main() == 2
    assert "norms of queries and keys" in capsys.readouterr().err
