"""A pair that memory is short for: the app leads to the pairs screen, whose lighter ways are loaded as they are picked."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app.tui_harness import Driver, running
from tests.hub_server import point_at
from tests.model_files import cache_repository, model_files

from specchat.paths import find_paths
from specchat.settings_file import load_settings
from specchat.tui.run import settings_changes
from specchat.tui.screens import pairs as pairs_module
from specchat.tui.screens.pairs import PairsScreen
from specchat.tui.screens.pairs_widgets import Rows
from specdec.architecture import read_config
from specdec.memory import INT4, INT4_SHARED_HEAD, Draft, Memory, PairShape, pair_need

CONTEXT = 1024
LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "vocab_size": 8_000,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "max_position_embeddings": 8192,
}
REGISTRY = """
[pairs.mine]
title = "My pair"
target = "owner/large"
context = 1024
license = "mit"
drafts = [{name = "four-bit", kind = "int4"}]
"""


@pytest.fixture
def shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairShape:
    """A pair on disk, of the user's own registry; and how the engine counts it without a draft."""
    registry = find_paths().user_registry
    registry.parent.mkdir(parents=True, exist_ok=True)
    registry.write_text(REGISTRY)
    point_at("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    return PairShape(read_config(cache_repository(tmp_path / "cache", "owner/large", model_files(LARGE))), None, "float16", "gpu")


def total(shape: PairShape, draft: Draft, int8: bool = False) -> int:
    return pair_need(PairShape(shape.target, draft, shape.dtype, shape.device, int8), CONTEXT).total


def rows(user: Driver) -> list[str]:
    return [str(option.prompt) for option in user.app.screen.query_one("#drafts", Rows).options]


async def open_pairs(user: Driver) -> None:
    await user.press("ctrl+o")
    await user.until(lambda: isinstance(user.app.screen, PairsScreen) and user.app.screen.query_one("#details").display)
    await user.sees("Enter Use")


async def pick(user: Driver, name: str) -> None:
    """Go down the drafts to the one whose row begins with a name, and use it."""
    await user.until(lambda: any(row.strip("▸ ").startswith(name) for row in rows(user)))
    await user.press("right")
    for _ in rows(user):
        if not any(row.startswith(f"▸ {name}") for row in rows(user)):
            await user.press("down")
    assert any(row.startswith(f"▸ {name}") for row in rows(user)), user.text()
    await user.press("enter")


async def test_a_lighter_copy_is_picked_and_loaded(shape: PairShape, monkeypatch: pytest.MonkeyPatch) -> None:
    free = total(shape, INT4_SHARED_HEAD)
    assert free < total(shape, INT4)
    monkeypatch.setattr(pairs_module, "free_memory", lambda: Memory("gpu", free, 2 * free))
    async with running("echo", pair="mine") as user:
        await user.ready()
        await open_pairs(user)
        await pick(user, "int4-shared-head")
        await user.until(lambda: user.app.screen is user.chat)
        await user.ready()
        assert user.chat.desk.last_load is not None
        options = user.chat.desk.last_load.options
        assert (options.target, options.draft, options.dtype) == ("owner/large", INT4_SHARED_HEAD, "auto")
    assert load_settings(find_paths().settings)[0].draft_model == INT4_SHARED_HEAD


async def test_short_memory_leads_to_8_bits_a_weight_by_one_key(shape: PairShape, monkeypatch: pytest.MonkeyPatch) -> None:
    free = total(shape, INT4, int8=True)
    assert free < total(shape, None)
    monkeypatch.setattr(pairs_module, "free_memory", lambda: Memory("gpu", free, 2 * free))
    async with running("memory-short", pair="mine") as user:
        await user.sees("What would fit:")
        await user.sees("Ctrl+O shows what fits.")
        assert user.chat.desk.ready is None
        await open_pairs(user)
        await user.sees("8 bits a weight: other text than full precision")
        await pick(user, "int8, four-bit")
        await user.ready()
        assert user.chat.desk.last_load is not None
        options = user.chat.desk.last_load.options
        assert (options.target, options.draft, options.dtype, options.context) == ("owner/large", INT4, "int8", CONTEXT)
        await user.sees("large int8")
        await user.ask("Hello?")
        answer = user.chat.desk.conversation.last_answer()
        assert answer is not None
        assert answer.setup is not None
        assert answer.setup.dtype == "int8"
    assert load_settings(find_paths().settings)[0].dtype == "int8"


@pytest.mark.parametrize("command", ["/verify", "/compare", "/continue"])
async def test_an_answer_of_8_bits_a_weight_is_told_apart_from_one_of_full_precision(command: str) -> None:
    async with running("echo", dtype="int8") as user:
        await user.ask("Hello?")
        answer = user.chat.desk.conversation.last_answer()
        assert answer is not None
        answer.finish = "stopped"
        await user.say("/set dtype float32")
        await user.until(lambda: user.chat.desk.ready is not None and user.chat.desk.ready.dtype == "float32")
        await user.say(command)
        await user.sees("The last answer was made in int8, and the pair is loaded in float32.")
        assert not user.chat.watchers
        assert not user.chat.answers
        await user.say("/set dtype int8")
        await user.until(lambda: user.chat.desk.ready is not None and user.chat.desk.ready.dtype == "int8")
        await user.say("/verify")
        await user.sees("Same text")


def test_a_pair_of_the_command_line_has_its_own_dtype_unless_another_is_named() -> None:
    own = {"pair": "demo", "draft_model": "", "context": 0, "dtype": ""}
    assert settings_changes({"pair": "demo"}) == own
    assert settings_changes({"pair": "demo", "dtype": "int8", "context_tokens": 64}) == own | {"dtype": "int8", "context": 64}
    assert settings_changes({"dtype": "int8"}) == {"dtype": "int8"}
