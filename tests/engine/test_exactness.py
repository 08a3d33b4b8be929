"""Exact mode is measured on the loaded model, not assumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.engine.models import VOCAB, save_model
from torch import Tensor

from specdec import exactness
from specdec.architecture import read_config
from specdec.checkpoint import Version, load_weights
from specdec.exactness import KERNELS, PADDED, choose_execution
from specdec.model import ops, rows
from specdec.model.decoder import Decoder
from specdec.model.linear import MAX_ROWS, Dense, Linear
from specdec.model.ops import AttentionKind
from specdec.options import ExactChoice
from specdec.target import FASTEST, GPU_PREFILL_TILE, TILE, Execution, Target, padded_capacity, prefill_tile_of, tile_end

CONTEXT = 600


def row_by_row(matrix: Dense) -> Linear:
    """A layer in which no row can depend on another."""
    return lambda x: torch.cat([matrix(x[row : row + 1]) for row in range(len(x))])


def rounding_by_rows(matrix: Dense) -> Linear:
    """A layer in which a row's last bits depend on how many there are, as in torch's default float32 product on many CPUs."""
    return lambda x: matrix(x) * (1 + len(x) * 2.0**-20)


def make_target(
    directory: Path, layer: Version = row_by_row, family: str = "llama", context: int = CONTEXT, prefill_tile: int = TILE
) -> Target:
    torch.set_num_threads(1)
    save_model(directory, family)
    config = read_config(directory)
    weights = load_weights(directory, config, torch.float32, torch.device("cpu"), [layer])[0]
    return Target(Decoder(config, weights, padded_capacity(context, prefill_tile)), context, prefill_tile=prefill_tile)


def test_a_row_independent_kernel_needs_no_padding(tmp_path: Path) -> None:
    chosen = choose_execution(make_target(tmp_path), "on")
    assert chosen.exact
    assert chosen.execution.tiled
    assert chosen.execution.padded_rows == 0
    assert "any number of rows" in chosen.reason
    assert "products" not in chosen.reason


def test_kernels_that_depend_on_the_rows_are_padded(tmp_path: Path) -> None:
    chosen = choose_execution(make_target(tmp_path, rounding_by_rows), "on")
    assert chosen.execution == PADDED
    assert not chosen.prefill_matches


@pytest.mark.parametrize(("cost", "exact"), [(0.05, True), (0.2, False)])
def test_auto_takes_exactness_under_a_tenth(cost: float, exact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step_ms(target: Target, execution: Execution) -> float:
        target.execution = execution
        return 1.0 if execution == FASTEST else 1.0 + cost

    monkeypatch.setattr(exactness, "_step_ms", step_ms)
    chosen = choose_execution(make_target(tmp_path), "auto")
    assert chosen.exact is exact
    assert f"{cost:.0%}" in chosen.reason


@pytest.mark.parametrize("first", [0, 1, 2])
def test_the_first_exact_kernel_is_taken_whatever_the_times_of_the_others(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step_ms(target: Target, execution: Execution) -> float:
        target.execution = execution
        return 10.0 - (KERNELS.index(execution) if execution in KERNELS else 0)

    monkeypatch.setattr(exactness, "_independent", lambda target, kernel: kernel if kernel in KERNELS[first:] else None)
    monkeypatch.setattr(exactness, "_step_ms", step_ms)
    assert choose_execution(make_target(tmp_path), "on").execution == KERNELS[first]


@pytest.mark.parametrize("choice", ["off", "on"])
def test_the_choice_can_be_forced(choice: ExactChoice, tmp_path: Path) -> None:
    chosen = choose_execution(make_target(tmp_path), choice)
    assert chosen.exact is (choice == "on")
    assert (chosen.execution == FASTEST) is (choice == "off")


@pytest.mark.parametrize("execution", [KERNELS[2], PADDED], ids=["by_row", "padded"])
def test_a_row_does_not_depend_on_other_rows_padding_or_what_lies_behind_it(execution: Execution, tmp_path: Path) -> None:
    target = make_target(tmp_path)
    target.execution = execution
    tokens = [(i * 7) % VOCAB for i in range(TILE + 40)]
    list(target.prefill(tokens[: TILE + 10], 0))
    prefilled = target.cache.rows[:, :, : TILE + 10].clone()
    start = TILE + 10
    row = target.step(tokens[start : start + 1], start)
    target.cache.rows[:, :, start:].uniform_(-5, 5)
    among = target.step([*tokens[start : start + 1], 3, 1, 4], start)
    assert torch.equal(among[:1], row)
    list(target.prefill(tokens[100 : TILE + 10], 100))
    assert torch.equal(target.cache.rows[:, :, : TILE + 10], prefilled)


def test_a_row_that_may_see_all_of_its_tile_is_biased_alone_as_in_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    biased: list[bool] = []

    def attention(kind: AttentionKind, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        biased.append(bias is not None)
        return ops.attention(kind, query, key, value, bias)

    monkeypatch.setattr(rows, "attention", attention)
    target = make_target(tmp_path)
    tokens = [(i * 7) % VOCAB for i in range(TILE)]
    for execution in (*KERNELS, FASTEST):
        target.execution = execution
        list(target.prefill(tokens[:-1], 0))
        biased.clear()
        target.step(tokens[-1:], TILE - 1)
        assert biased == [execution.tiled] * target.decoder.config.layers


@pytest.mark.parametrize("family", ["llama", "mistral-window"])
def test_prefill_in_long_chunks_gives_the_rows_of_short_ones(family: str, tmp_path: Path) -> None:
    tokens = [(i * 7) % VOCAB for i in range(1090)]
    short = make_target(tmp_path, family=family, context=1100)
    list(short.prefill(tokens, 0))
    target = make_target(tmp_path, family=family, context=1100, prefill_tile=GPU_PREFILL_TILE)
    for execution in (FASTEST, *KERNELS, PADDED):
        target.execution = execution
        target.cache.rows.uniform_(-5, 5)
        assert list(target.prefill(tokens[:1030], 0)) == [512, 1024, 1030]
        assert list(target.prefill(tokens[1030:], 1030)) == [1090]
        torch.testing.assert_close(target.cache.rows[:, :, :1090], short.cache.rows[:, :, :1090], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("execution", [KERNELS[0], KERNELS[2], PADDED], ids=["matmul", "by_row", "padded"])
def test_a_row_of_a_long_chunk_does_not_depend_on_what_lies_behind_it(execution: Execution, tmp_path: Path) -> None:
    target = make_target(tmp_path, context=1100, prefill_tile=GPU_PREFILL_TILE)
    target.execution = execution
    tokens = [(i * 7) % VOCAB for i in range(1090)]
    list(target.prefill(tokens[:600], 0))
    prefilled = target.cache.rows[:, :, :600].clone()
    target.cache.rows.uniform_(-5, 5)
    list(target.prefill(tokens, 0))
    assert torch.equal(target.cache.rows[:, :, :600], prefilled)
    list(target.prefill(tokens[512:600], 512))
    assert torch.equal(target.cache.rows[:, :, :600], prefilled)


def test_prefill_is_probed_with_whole_chunks(tmp_path: Path) -> None:
    def rounding_whole_chunks_otherwise(matrix: Dense) -> Linear:
        return lambda x: row_by_row(matrix)(x) * (1 + (len(x) == GPU_PREFILL_TILE) * 2.0**-20)

    target = make_target(tmp_path, rounding_whole_chunks_otherwise, context=1100, prefill_tile=GPU_PREFILL_TILE)
    chosen = choose_execution(target, "on")
    assert chosen.execution.padded_prefill
    assert not chosen.execution.padded_rows


def test_a_gpu_reads_prompts_in_longer_chunks() -> None:
    assert [prefill_tile_of(torch.device(name)) for name in ("cpu", "cuda")] == [TILE, GPU_PREFILL_TILE]
    assert GPU_PREFILL_TILE % TILE == 0


def test_a_decoder_with_too_few_positions_for_its_cache_is_refused(tmp_path: Path) -> None:
    decoder = make_target(tmp_path).decoder
    with pytest.raises(ValueError, match=r"hold 768 positions, a cache for 600 1536"):
        Target(decoder, CONTEXT, prefill_tile=GPU_PREFILL_TILE)


def test_a_round_never_crosses_a_tile_nor_the_context(tmp_path: Path) -> None:
    target = make_target(tmp_path)
    for execution in (FASTEST, KERNELS[2], PADDED):
        target.execution = execution
        for start in range(CONTEXT):
            rows = target.rows_left(start)
            assert 1 <= rows <= MAX_ROWS
            assert start + rows <= CONTEXT
            if execution.tiled:
                assert start + rows <= tile_end(start)
            if execution.padded_rows:
                assert rows <= execution.padded_rows
