"""Model files that are missing, damaged or of the wrong kind end in a typed error that names them and says what to do next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.models import CONFIGS, SHAPE, save_model, save_tokenizer

from specdec.architecture import SUPPORTED, SUPPORTED_ROPE, read_config
from specdec.checkpoint import load_weights
from specdec.errors import CheckpointError, UnsupportedArchitectureError
from specdec.model.decoder import Weights
from specdec.model.linear import full_precision
from specdec.text import TextCodec
from specdec.weight_files import INDEX, SINGLE

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


def load(directory: Path) -> list[Weights]:
    return load_weights(directory, read_config(directory), torch.float32, torch.device("cpu"), [full_precision])


def refused(directory: Path, *words: str, by: Callable[[Path], object] = load, kind: type[CheckpointError] = CheckpointError) -> None:
    """The error has exactly this kind, names every one of `words`, and says what to do."""
    with pytest.raises(kind) as caught:
        by(directory)
    assert type(caught.value) is kind
    for word in words:
        assert word in caught.value.cause, word
    assert caught.value.cause.endswith(".")
    assert "\n" not in caught.value.cause
    assert caught.value.next_step.endswith(".")


def edit_config(directory: Path, *without: str, **changes: Any) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if key not in without}))


def edit_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / SINGLE)
    change(tensors)
    save_file(tensors, directory / SINGLE)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "tiny", "llama")
    return tmp_path / "tiny"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    save_model(tmp_path / "tiny", "llama", shard="200KB")
    return tmp_path / "tiny"


def test_missing_weights_are_named(model: Path) -> None:
    (model / SINGLE).unlink()
    refused(model, "tiny", SINGLE)


def test_a_missing_shard_is_named_and_the_others_are_not(sharded: Path) -> None:
    first, second, *_ = sorted(sharded.glob("*.safetensors"))
    second.unlink()
    refused(sharded, second.name)
    with pytest.raises(CheckpointError) as caught:
        load(sharded)
    assert first.name not in caught.value.cause


@pytest.mark.parametrize("kept", [0.0, 1e-5, 0.02, 0.5, 0.999])
def test_cut_weights_are_named(model: Path, kept: float) -> None:
    content = (model / SINGLE).read_bytes()
    (model / SINGLE).write_bytes(content[: int(len(content) * kept)])
    refused(model, str(model / SINGLE))


def test_a_cut_shard_is_named(sharded: Path) -> None:
    last = max(sharded.glob("*.safetensors"))
    last.write_bytes(last.read_bytes()[:-1])
    refused(sharded, str(last))


def test_weights_that_are_no_safetensors_are_named(model: Path) -> None:
    (model / SINGLE).write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 3)
    refused(model, str(model / SINGLE))


def test_only_pickles_are_never_opened(model: Path) -> None:
    (model / SINGLE).unlink()
    (model / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match=r"pickle.*safetensors"):
        load(model)


@pytest.mark.parametrize(
    ("changes", "tensor"),
    [
        ({"hidden_size": 128}, "model.embed_tokens.weight"),
        ({"vocab_size": 4096}, "model.embed_tokens.weight"),
        ({"num_attention_heads": 8}, "model.layers.0.self_attn.q_proj.weight"),
        ({"num_key_value_heads": 3}, "model.layers.0.self_attn.k_proj.weight"),
        ({"intermediate_size": 97}, "model.layers.0.mlp.gate_proj.weight"),
    ],
)
def test_a_config_that_contradicts_the_weights_names_the_tensor_and_both_shapes(model: Path, changes: dict[str, int], tensor: str) -> None:
    stored = list(load_file(model / SINGLE)[tensor].shape)
    edit_config(model, **changes)
    refused(model, tensor, str(stored), "config.json")


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("llama", Q_PROJ),
        ("llama", "lm_head.weight"),
        ("llama-tied-biased", "model.layers.2.mlp.down_proj.bias"),
        ("qwen3", "model.layers.0.self_attn.k_norm.weight"),
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str, tensor: str) -> None:
    save_model(tmp_path, name)
    edit_tensors(tmp_path, lambda tensors: tensors.pop(tensor))
    refused(tmp_path, tensor)


def test_more_layers_than_weights_is_a_missing_tensor(model: Path) -> None:
    edit_config(model, num_hidden_layers=4)
    refused(model, "model.layers.3.")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_quantised_tensors_are_named_with_their_type(model: Path, dtype: torch.dtype) -> None:
    edit_tensors(model, lambda tensors: tensors.update({Q_PROJ: tensors[Q_PROJ].to(dtype)}))
    refused(model, Q_PROJ, str(dtype).removeprefix("torch."))


def test_packed_four_bit_tensors_are_called_quantised_rather_than_misshapen(model: Path) -> None:
    edit_tensors(model, lambda tensors: tensors.update({Q_PROJ: torch.zeros(tensors[Q_PROJ].numel() // 2, 1, dtype=torch.uint8)}))
    refused(model, Q_PROJ, "uint8")


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", "sub/model.safetensors", "..", "."])
def test_an_index_cannot_name_files_outside_its_folder(sharded: Path, name: str) -> None:
    (sharded / "../outside.safetensors").write_bytes(min(sharded.glob("*.safetensors")).read_bytes())
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"][Q_PROJ] = name
    (sharded / INDEX).write_text(json.dumps(index))
    refused(sharded, INDEX, "outside")


@pytest.mark.parametrize("index", ["", "{", "[]", '{"weight_map": {}}', '{"weight_map": []}', '{"metadata": {}}'])
def test_a_garbled_index_is_refused(sharded: Path, index: str) -> None:
    (sharded / INDEX).write_text(index)
    refused(sharded, "tiny")


@pytest.mark.parametrize("named", [{"architectures": ["GPT2LMHeadModel"]}, {"architectures": [], "model_type": "GPT2LMHeadModel"}])
def test_an_unknown_architecture_is_named_beside_the_supported_ones(model: Path, named: dict[str, Any]) -> None:
    edit_config(model, **named)
    refused(model, "tiny", "GPT2LMHeadModel", by=read_config, kind=UnsupportedArchitectureError)
    with pytest.raises(UnsupportedArchitectureError) as caught:
        read_config(model)
    assert all(name in caught.value.next_step for name in SUPPORTED)


@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("kind", ["yarn", "dynamic", "longrope"])
def test_an_unknown_rope_scaling_is_named_beside_the_supported_ones(model: Path, spelling: str, kind: str) -> None:
    edit_config(model, "rope_parameters", "rope_scaling")
    edit_config(model, **{spelling: {"rope_type": kind, "factor": 4.0}})
    refused(model, "tiny", kind, by=read_config, kind=UnsupportedArchitectureError)
    with pytest.raises(UnsupportedArchitectureError) as caught:
        read_config(model)
    assert all(name in caught.value.next_step for name in SUPPORTED_ROPE)


def test_another_activation_is_named(model: Path) -> None:
    edit_config(model, hidden_act="gelu_pytorch_tanh")
    refused(model, "tiny", "gelu_pytorch_tanh", by=read_config, kind=UnsupportedArchitectureError)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe{}", b"\x00" * 40])
def test_a_config_that_is_no_json_object_is_named(model: Path, content: bytes | None) -> None:
    path = model / "config.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    refused(model, str(path), by=read_config)


@pytest.mark.parametrize("field", sorted({*SHAPE} - {"initializer_range", "num_key_value_heads", "head_dim"}))
def test_a_config_without_a_field_names_it(model: Path, field: str) -> None:
    edit_config(model, field)
    refused(model, str(model / "config.json"), field, by=read_config)


@pytest.mark.parametrize(
    "garbled",
    [
        {"hidden_size": "wide"},
        {"hidden_size": None},
        {"num_attention_heads": 0, "num_key_value_heads": None},
        {"num_key_value_heads": 4},
        {"vocab_size": [320]},
        {"rope_parameters": "linear"},
        {"rope_parameters": {"rope_type": "linear"}},
        {"architectures": 5},
        {"architectures": [["LlamaForCausalLM"]]},
        {"architectures": ["MistralForCausalLM"], "sliding_window": 24, "layer_types": ["sliding_attention"]},
    ],
    ids=str,
)
def test_a_config_with_a_field_of_the_wrong_kind_is_refused(model: Path, garbled: dict[str, Any]) -> None:
    edit_config(model, **garbled)
    with pytest.raises(CheckpointError, match="config") as caught:
        read_config(model)
    assert caught.value.next_step


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"{}", b'{"model": {}}', b'{"model": {"type": "BPE", "vocab": [], "merges": 3}}', b"\x00" * 99]
)
def test_a_tokenizer_that_is_missing_or_garbled_is_refused(tmp_path: Path, content: bytes | None) -> None:
    save_model(tmp_path / "tiny", "llama")
    save_tokenizer(tmp_path / "tiny")
    (tmp_path / "tiny" / "tokenizer.json").unlink()
    if content is not None:
        (tmp_path / "tiny" / "tokenizer.json").write_bytes(content)
    refused(tmp_path / "tiny", "tiny", "tokenizer", by=TextCodec)


def test_every_family_of_the_tests_is_a_supported_one(tmp_path: Path) -> None:
    """The refusals above mean something: an untouched directory of each family is read."""
    for name in CONFIGS:
        save_model(tmp_path / name, name)
        load(tmp_path / name)
