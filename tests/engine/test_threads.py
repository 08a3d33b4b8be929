"""Torch's thread count follows the machine, and never the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.engine.answers import ask, request
from tests.engine.models import save_pair

from specdec.loading import load_pair
from specdec.options import LoadOptions
from specdec.session import ChatSession
from specdec.threads import ALL_THREADS, PATIENCE, STALLED, StallGuard, threads


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_block_of_its_own_count() -> None:
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_stalls_in_a_row_bring_it_down_to_one() -> None:
    guard = StallGuard(2)
    for _ in range(10):
        guard.observe(STALLED * 2)
        guard.observe(1.0)
    assert torch.get_num_threads() == 2
    for _ in range(PATIENCE):
        guard.observe(STALLED * 2)
    assert torch.get_num_threads() == 1


def test_a_fixed_count_stays() -> None:
    guard = StallGuard(1)
    for _ in range(10):
        guard.observe(STALLED * 100)
    assert torch.get_num_threads() == 2


def test_the_bits_are_the_same_when_it_happens_in_mid_answer(tmp_path: Path) -> None:
    target, sibling = save_pair(tmp_path)
    pair = load_pair(LoadOptions(target=str(target), draft=str(sibling), exact="on", threads=max(2, ALL_THREADS)))
    plain = ask(ChatSession(pair), request("the cat", max_tokens=60))
    pair.stalls = StallGuard(2)
    for _ in range(PATIENCE):
        pair.stalls.observe(STALLED * 2)
    assert torch.get_num_threads() == 1
    assert ask(ChatSession(pair), request("the cat", max_tokens=60)).tokens == plain.tokens
