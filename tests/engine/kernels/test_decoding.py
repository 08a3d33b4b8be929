"""The engine on its kernels: the logits of torch's operations, and the same bits however a text was drafted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.engine.kernels.mended_interpreter import mended_interpreter  # noqa: F401
from tests.engine.models import VOCAB, save_model
from tests.engine.test_losslessness import RandomDrafter, prompt_of, run, same

from specdec import exactness
from specdec.architecture import read_config
from specdec.checkpoint import Version, load_weights
from specdec.drafting.base import Drafter
from specdec.drafting.controller import Choice, Controller, Costs
from specdec.exactness import choose_execution
from specdec.model.decoder import Decoder
from specdec.model.linear import Dense, Linear, SkinnyLinear, full_precision
from specdec.model.operations import PLAIN, triton_operations
from specdec.options import Sampling
from specdec.passes import Body, unrecorded
from specdec.target import TILE, Execution, Products, Target, padded_capacity

CONTEXT = 300


class DrawnLengths(Controller):
    """Takes the drafter, and a length by lot."""

    def __init__(self, most: int) -> None:
        super().__init__(Costs({1: 1.0}, {}))
        self._random = random.Random(most)
        self._most = most

    def choose(self, drafters: Sequence[Drafter], limit: int, forced_length: int | None, forced: bool) -> Choice:
        return Choice(drafters[0], min(limit, self._random.randint(0, self._most)))

    def observe(self, choice: Choice, bucket: int, tested: int, accepted: int, draft_ms: float, verify_ms: float, rows: int) -> None:
        """Learns nothing."""


def as_it_is(dense: Dense) -> Linear:
    return dense


def dense_target(directory: Path, device: torch.device, family: str = "llama") -> Target:
    """A target of one block with its matrices as they are on a GPU and, but for this, are not on a CPU."""
    return target_of(directory, family, device, as_it_is, layers=1)


def target_of(directory: Path, family: str, device: torch.device, layer: Version = full_precision, layers: int = 3) -> Target:
    save_model(directory, family, num_hidden_layers=layers)
    config = read_config(directory)
    (weights,) = load_weights(directory, config, torch.float32, device, [layer])
    decoder = Decoder(config, weights, padded_capacity(CONTEXT, TILE))
    decoder.operations = triton_operations()
    return Target(decoder, CONTEXT, Execution("split"), unrecorded)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral-window"])
def test_kernels_give_the_logits_of_torchs_operations(family: str, tmp_path: Path, device: torch.device) -> None:
    target = target_of(tmp_path, family, device)
    prompt = prompt_of(140, 3)
    tokens = torch.tensor([5, 6, 7], device=device)
    found = {}
    for operations, execution in ((triton_operations(), Execution("split")), (PLAIN, Execution())):
        target.decoder.operations, target.execution = operations, execution
        target.cache.rows.fill_(9.0)
        list(target.prefill(prompt, 0))
        found[operations.name] = target.step(tokens, len(prompt))
    assert found["triton"].shape == (3, VOCAB)
    torch.testing.assert_close(found["triton"], found["torch"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("temperature", "products"), [(0.0, "library"), (0.9, "library"), (0.9, "skinny")])
def test_text_and_logits_are_plain_decodings_bit_for_bit(
    temperature: float, products: Products, tmp_path: Path, device: torch.device
) -> None:
    target = dense_target(tmp_path, device) if products == "skinny" else target_of(tmp_path, "llama", device)
    target.execution = Execution("split", products=products)
    prompt, sampling = prompt_of(125, 5), Sampling(temperature=temperature, seed=7)
    plain = run(target, [], prompt, sampling, forced=False, max_tokens=12)
    drafter = RandomDrafter(2, plain.tokens, 0.3)
    drafted = run(target, [drafter], prompt, sampling, max_tokens=12, controller=DrawnLengths(9))
    same(drafted, plain)
    assert drafted.accepted


def test_skinny_products_give_the_librarys_logits_and_share_weights_cache_and_record(tmp_path: Path, device: torch.device) -> None:
    target = dense_target(tmp_path, device, "llama-tied-biased")
    assert target.products == ("library", "skinny")
    library, twin = target.passes_with("library"), target.passes_with("skinny")
    assert (twin.cache, twin.record) == (library.cache, library.record)
    (layer,), (own,) = twin.decoder.weights.layers, target.decoder.weights.layers
    for name in ("qkv", "output", "gate_up", "down"):
        assert isinstance(getattr(layer, name), SkinnyLinear)
        assert getattr(layer, name).weight is getattr(own, name).weight
    assert isinstance(twin.decoder.weights.head, SkinnyLinear)
    assert twin.decoder.weights.head.weight is target.decoder.weights.embedding
    prompt, found = prompt_of(140, 3), []
    for products in target.products:
        target.execution = Execution("split", products=products)
        assert target.passes is target.passes_with(products)
        list(target.prefill(prompt, 0))
        found.append(target.step([5, 6, 7], len(prompt)))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_all_passes_are_unrecorded_together(tmp_path: Path, device: torch.device) -> None:
    target = dense_target(tmp_path, device)
    recordings: list[Body] = []

    def record(body: Body) -> Body:
        recordings.append(body)
        return body

    target = Target(target.decoder, CONTEXT, record=record)

    def step_with_both() -> None:
        for products in target.products:
            target.execution = Execution("split", products=products)
            target.step([1], 0)

    with target.unrecorded():
        step_with_both()
    assert recordings == []
    step_with_both()
    assert len(recordings) == 2


def test_exact_mode_takes_skinny_products_where_the_librarys_depend_on_the_rows(
    tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def product(dense: Dense, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, dense.weight, dense.bias) * (1 + len(x) * 2.0**-20)

    def step_ms(target: Target, execution: Execution) -> float:
        target.execution = execution
        return 1.0 + (execution.attention != "split") * 0.1 + (execution.products == "skinny") * 0.05

    for name, fewer in (("ATTENTION_DRAWS", 1), ("LINEAR_DRAWS", 1), ("MAX_ROWS", 6)):
        monkeypatch.setattr(exactness, name, fewer)
    monkeypatch.setattr(exactness, "KERNELS", exactness.KERNELS[:1])
    monkeypatch.setattr(exactness, "_step_ms", step_ms)
    monkeypatch.setattr(Dense, "__call__", product)
    decoder = dense_target(tmp_path, device).decoder
    decoder.operations = replace(PLAIN, split_attention=triton_operations().split_attention)
    chosen = choose_execution(Target(decoder, 60, record=unrecorded), "auto")
    assert chosen.exact
    assert chosen.execution == Execution("split", padded_prefill=True, products="skinny")
    assert "split attention, skinny products, any number of rows" in chosen.reason


def test_skinny_products_may_be_the_fastest_without_exactness(
    tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step_ms(target: Target, execution: Execution) -> float:
        return 1.0 - (execution == Execution("split", products="skinny")) * 0.1

    monkeypatch.setattr(exactness, "_step_ms", step_ms)
    chosen = choose_execution(dense_target(tmp_path, device), "off")
    assert not chosen.exact
    assert chosen.execution == Execution("split", products="skinny")
