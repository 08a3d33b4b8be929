"""The engine on its kernels: the logits of torch's operations, and the same bits however a text was drafted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.engine.kernels.mended_interpreter import mended_interpreter  # noqa: F401
from tests.engine.models import VOCAB, save_model
from tests.engine.test_losslessness import RandomDrafter, prompt_of, run, same

from specdec.architecture import read_config
from specdec.checkpoint import load_weights
from specdec.model.decoder import Decoder
from specdec.model.linear import full_precision
from specdec.model.operations import PLAIN, triton_operations
from specdec.options import Sampling
from specdec.passes import unrecorded
from specdec.target import Execution, Target, padded_capacity

CONTEXT = 300


def target_of(directory: Path, family: str, device: torch.device) -> Target:
    save_model(directory, family)
    config = read_config(directory)
    (weights,) = load_weights(directory, config, torch.float32, device, [full_precision])
    decoder = Decoder(config, weights, padded_capacity(CONTEXT))
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


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_text_and_logits_are_plain_decodings_bit_for_bit(temperature: float, tmp_path: Path, device: torch.device) -> None:
    target = target_of(tmp_path, "llama", device)
    prompt, sampling = prompt_of(125, 5), Sampling(temperature=temperature, seed=7)
    plain = run(target, [], prompt, sampling, forced=False, max_tokens=12)
    drafted = run(target, [RandomDrafter(2, plain.tokens, 0.3)], prompt, sampling, length=4, max_tokens=12)
    same(drafted, plain)
    assert drafted.accepted
