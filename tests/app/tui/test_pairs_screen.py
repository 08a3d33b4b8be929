"""The pairs screen promises: every pair with its state, need and fit, downloads by key, and only what can be loaded is picked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.hub_server import Hub, point_at, running_hub
from tests.model_files import cache_repository, model_files, tokenizer
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from specchat.downloads import Download, Downloads
from specchat.pair_choice import PairChoice
from specchat.tui.screens import pairs as screen_module
from specchat.tui.screens.pairs import PairsScreen
from specchat.tui.screens.pairs_text import duration
from specchat.tui.screens.pairs_widgets import ContextPicker, Rows
from specdec import download as transfer
from specdec.memory import Memory
from specdec.registry import load_registry

GB = 10**9
ROOMY = Memory("gpu", 80 * GB, 80 * GB)
LARGE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "max_position_embeddings": 32768,
}
ROUNDED = "8 bits a weight (dtype int8, whose text is not that of full precision)"
REGISTRY = """
[pairs.mine]
title = "My pair"
target = "owner/large"
context = 4096
license = "mit"
download_bytes = 2_000_000
note = "For tests."
drafts = [{name = "small", kind = "sibling", source = "owner/small", download_bytes = 1000}, {name = "int4", kind = "int4"}]
"""


@dataclass
class Setting:
    """Where a test stands: the hub, the cache, the user's registry, and downloads to end with it."""

    hub: Hub
    cache: Path
    registry: Path
    downloads: Downloads


class Host(App[None]):
    """An app that shows the screen and keeps what it ended with."""

    def __init__(self, screen: PairsScreen) -> None:
        super().__init__()
        self.shown = screen
        self.results: list[PairChoice | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.shown, self.results.append)


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    """A roomy GPU, a hub with the pair `mine`, and nothing on disk but what ships."""
    monkeypatch.setattr(transfer, "RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(screen_module, "free_memory", lambda: ROOMY)
    registry = tmp_path / "models.toml"
    registry.write_text(REGISTRY)
    downloads = Downloads()
    with running_hub() as hub:
        hub.repositories["owner/large"] = model_files(weights=bytes(2_000_000))
        hub.repositories["owner/small"] = model_files(weights=b"small")
        point_at(hub.url, tmp_path / "cache", monkeypatch)
        yield Setting(hub, tmp_path / "cache", registry, downloads)
        downloads.close()


@asynccontextmanager
async def shown(
    setting: Setting, current: PairChoice | None = None, first_run: bool = False, size: tuple[int, int] = (120, 40), **options: Any
) -> AsyncIterator[Pilot[None]]:
    """The screen once it has looked at the disk."""
    screen = PairsScreen(setting.registry, setting.downloads, current or PairChoice("mine"), first_run, **options)
    async with Host(screen).run_test(size=size) as pilot:
        await wait_until(pilot, lambda: screen.query_one("#details").display)
        pairs = screen.query_one("#pairs", Rows)
        await wait_until(pilot, lambda: any("▸" in pairs.render_line(y).text for y in range(pairs.size.height)))
        await wait_until(pilot, lambda: "Enter Use" in text(pilot))
        yield pilot


async def wait_until(pilot: Pilot[None], true: Callable[[], bool], seconds: float = 30) -> None:
    """Let the app run until something is true; fails after about `seconds`."""
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"it did not happen in time:\n{text(pilot)}")


def results(pilot: Pilot[None]) -> list[PairChoice | None]:
    """What the screen ended with, if it has."""
    assert isinstance(pilot.app, Host)
    return pilot.app.results


def text(pilot: Pilot[None]) -> str:
    """Everything that is on the screen, line by line."""
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


def words(pilot: Pilot[None], name: str) -> str:
    """What one of the lines of text says."""
    return str(pilot.app.screen.query_one(f"#{name}", Static).content)


def row(pilot: Pilot[None], name: str, rows: str = "pairs") -> str:
    """The row of a list that begins with a name."""
    options = pilot.app.screen.query_one(f"#{rows}", Rows).options
    return next(str(option.prompt) for option in options if str(option.prompt).strip("▸ ●○↓‖◌!▲≠✗").startswith(name))


async def test_the_first_start_greets_and_enter_takes_the_demo_pair(setting: Setting) -> None:
    async with shown(setting, PairChoice("demo"), first_run=True) as pilot:
        assert "Enter starts with the demo pair" in text(pilot)
        assert "ready" in row(pilot, "demo")
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("demo", "sibling", 0)]
    assert setting.hub.sent == []


async def test_later_there_is_no_greeting_and_escape_changes_nothing(setting: Setting) -> None:
    async with shown(setting) as pilot:
        assert "Enter starts" not in text(pilot)
        await pilot.press("escape")
        assert results(pilot) == [None]


async def test_every_pair_is_listed_with_its_state(setting: Setting) -> None:
    async with shown(setting) as pilot:
        for name in load_registry():
            assert name in row(pilot, name)
        assert "to fetch 17.9 GB" in row(pilot, "qwen3-8b")
        assert "○ to fetch 2.0 MB" in row(pilot, "small", "drafts")
        shown_text = text(pilot)
        for part in ("My pair", "owner/large, licence mit", "For tests.", "GPU memory", "target", "runtime"):
            assert part in shown_text


async def test_a_file_that_cannot_be_read_is_named_and_the_shipped_pairs_are_there(setting: Setting) -> None:
    setting.registry.write_text("[pairs.mine]\ntitle = 3\n")
    async with shown(setting, PairChoice("demo")) as pilot:
        assert "models.toml, line 2" in words(pilot, "problem")
        assert "Mend that line." in words(pilot, "problem")
        assert "demo" in row(pilot, "demo")


async def test_the_current_choice_is_where_the_pointer_starts(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting, PairChoice("mine", "none", 8192)) as pilot:
        assert row(pilot, "mine").startswith("▸")
        assert row(pilot, "no model draft", "drafts").startswith("▸")
        assert "[8k]" in text(pilot)
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "none", 8192)]


async def test_drafts_and_contexts_are_chosen_by_keys(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting) as pilot:
        await pilot.press("right", "down")
        assert row(pilot, "no model draft", "drafts").startswith("▸")
        await pilot.press("up", "tab", "right")
        assert "[8k]" in text(pilot)
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "int4", 8192)]


@pytest.mark.parametrize("moves", ["_tick", "on_resize", "_show_all"])
async def test_what_is_shown_anew_behind_a_key_does_not_undo_it(setting: Setting, moves: str) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting) as pilot:
        await pilot.press("right", "down")
        pilot.app.screen.query_one("#drafts", Rows).action_cursor_up()
        getattr(pilot.app.screen, moves)()
        await pilot.pause()
        assert not row(pilot, "no model draft", "drafts").startswith("▸")
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "int4", 0)]


async def test_enter_takes_the_draft_moved_to_before_its_message_has_arrived(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting) as pilot:
        await pilot.press("right")
        pilot.app.screen.query_one("#drafts", Rows).action_cursor_down()
        assert isinstance(pilot.app.screen, PairsScreen)
        pilot.app.screen.action_use()
        await pilot.pause()
        assert results(pilot) == [PairChoice("mine", "none", 0)]


async def test_left_and_up_lead_back_to_the_pairs(setting: Setting) -> None:
    async with shown(setting) as pilot:
        screen = pilot.app.screen
        places = []
        for key in ("right", "right", "up", "left"):
            await pilot.press(key)
            places.append(screen.focused and screen.focused.id)
        assert places == ["drafts", "context", "drafts", "pairs"]


async def test_the_mouse_picks_and_does_not_use(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting, PairChoice("demo")) as pilot:
        index = list(load_registry()).index("demo")
        await pilot.click("#pairs", offset=(5, 2 * len(load_registry()) + index))
        assert row(pilot, "mine").startswith("▸")
        await pilot.click("#drafts", offset=(5, 2))
        assert row(pilot, "no model draft", "drafts").startswith("▸")
        await pilot.click("#context", offset=(12, 0))
        assert "[1k]" in text(pilot)
        assert results(pilot) == []


async def test_the_need_follows_the_context_and_what_does_not_fit_says_what_would(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    monkeypatch.setattr(screen_module, "free_memory", lambda: Memory("gpu", 6 * GB, 8 * GB))
    async with shown(setting, PairChoice("mine", "int4")) as pilot:
        assert "4.8 GB  fits" in row(pilot, "int4", "drafts")
        assert "16k✗" in text(pilot)
        await pilot.press("tab", "tab", "right")
        assert "5.6 GB  tight" in row(pilot, "int4", "drafts")
        assert "of 6.0 GB free: tight, " in text(pilot)
        await pilot.press("right")
        assert "7.2 GB  too large" in row(pilot, "int4", "drafts")
        assert "too large" in row(pilot, "mine")
        assert "does not fit, short by 1.2 GB" in text(pilot)
        assert words(pilot, "guidance").startswith("It is 1.2 GB too large for the GPU. What would fit: a context of 8192 tokens; ")
        await pilot.press("enter")
        assert results(pilot) == []
        await pilot.press("left", "enter")
        assert results(pilot) == [PairChoice("mine", "int4", 8192)]


@pytest.mark.parametrize(
    ("gigabytes", "help"),
    [
        (7.0, f"What would fit: a context of 2048 tokens; the draft int4; {ROUNDED}."),
        (5.0, f"What would fit: the draft int4; {ROUNDED} with the draft int4."),
        (4.5, f"What would fit: the draft int4 with a context of 2048 tokens; no model draft; {ROUNDED} with the draft int4."),
        (3.5, f"What would fit: no model draft with a context of 1024 tokens; {ROUNDED} with no model draft."),
        (3.0, f"What would fit: {ROUNDED} with no model draft."),
        (0.5, "Free some memory or pick a smaller pair."),
    ],
)
async def test_what_would_fit_instead_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch, gigabytes: float, help: str) -> None:
    for name in ("owner/large", "owner/small"):
        cache_repository(setting.cache, name, model_files(LARGE))
    monkeypatch.setattr(screen_module, "free_memory", lambda: Memory("gpu", int(gigabytes * GB), 8 * GB))
    async with shown(setting, PairChoice("mine", "small")) as pilot:
        assert "too large" in row(pilot, "small", "drafts")
        assert words(pilot, "guidance").endswith(f"too large for the GPU. {help}")


async def test_lighter_ways_are_rows_where_the_pair_does_not_fit(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("owner/large", "owner/small"):
        cache_repository(setting.cache, name, model_files(LARGE))
    monkeypatch.setattr(screen_module, "free_memory", lambda: Memory("gpu", 3 * GB, 8 * GB))
    async with shown(setting, PairChoice("mine", "int4")) as pilot:
        assert "too large" in row(pilot, "int4-shared-head", "drafts")
        await pilot.press("right", "down", "down", "down")
        picked = row(pilot, "int8, no draft", "drafts")
        assert picked.startswith("▸")
        assert "fits" in picked or "tight" in picked
        assert "8 bits a weight: other text than full precision" in text(pilot)
        assert "the target in 8 bits a weight; draft: n-gram lookup only" in text(pilot)
        assert words(pilot, "guidance") == "Enter uses it."
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "none", 0, "int8")]


async def test_8_bits_a_weight_are_never_picked_by_themselves(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("owner/large", "owner/small"):
        cache_repository(setting.cache, name, model_files(LARGE))
    monkeypatch.setattr(screen_module, "free_memory", lambda: Memory("gpu", 3 * GB, 8 * GB))
    async with shown(setting, PairChoice("mine")) as pilot:
        assert "● ready" in row(pilot, "int8, no draft", "drafts")
        assert row(pilot, "small", "drafts").startswith("▸")
        assert "too large" in row(pilot, "mine")
        await pilot.press("enter")
        assert results(pilot) == []


async def test_what_is_loaded_stays_a_row_where_all_fits(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting, PairChoice("mine", "int4", 8192, "int8")) as pilot:
        assert row(pilot, "int8, int4", "drafts").startswith("▸")
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "int4", 8192, "int8")]
    async with shown(setting, PairChoice("mine", "int4-shared-head")) as pilot:
        assert row(pilot, "int4-shared-head", "drafts").startswith("▸")
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "int4-shared-head")]


async def test_leaving_8_bits_a_weight_takes_the_pairs_own_dtype(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting, PairChoice("mine", "none", 0, "int8")) as pilot:
        await pilot.press("right", "up", "enter")
        assert results(pilot) == [PairChoice("mine", "none")]


async def test_another_dtype_of_the_current_pair_is_counted_and_kept(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    async with shown(setting, PairChoice("mine", "none")) as pilot:
        assert "4.0 GB" in row(pilot, "no model draft", "drafts")
    async with shown(setting, PairChoice("mine", "none", 0, "float32")) as pilot:
        assert "7.3 GB" in row(pilot, "no model draft", "drafts")
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "none", 0, "float32")]


async def test_a_lighter_way_of_what_is_not_on_disk_fetches_the_target(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_module, "free_memory", lambda: Memory("gpu", 10**6, 8 * GB))
    async with shown(setting, PairChoice("mine", "int4-shared-head")) as pilot:
        assert row(pilot, "int4-shared-head", "drafts").startswith("▸")
        await pilot.press("d")
        await wait_until(pilot, lambda: "too large" in row(pilot, "mine"))
    assert (setting.cache / "models--owner--large").is_dir()
    assert not (setting.cache / "models--owner--small").exists()


async def test_the_memory_of_the_loaded_pair_counts_as_free(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    monkeypatch.setattr(screen_module, "free_memory", lambda: Memory("gpu", 1 * GB, 80 * GB))
    async with shown(setting, loaded_bytes=60 * GB) as pilot:
        assert "ready" in row(pilot, "mine")


async def test_an_incompatible_draft_and_an_unsupported_target_say_why(setting: Setting) -> None:
    cache_repository(setting.cache, "owner/large", model_files(LARGE))
    cache_repository(setting.cache, "owner/small", model_files(tokens=tokenizer(["b", "a"])))
    cache_repository(setting.cache, "Qwen/Qwen3-8B", model_files({"architectures": ["MambaForCausalLM"]}))
    async with shown(setting, PairChoice("mine", "small")) as pilot:
        assert "≠ incompatible" in row(pilot, "small", "drafts")
        assert "The tokenizers differ" in text(pilot)
        await pilot.press("enter", "up", "up")
        assert results(pilot) == []
        assert "✗ qwen3-8b" in row(pilot, "qwen3-8b")
        assert "MambaForCausalLM" in words(pilot, "guidance")


async def test_what_is_not_on_disk_is_asked_for_then_fetched_then_used(setting: Setting) -> None:
    async with shown(setting) as pilot:
        await pilot.press("enter")
        assert words(pilot, "guidance") == "Not on disk. Download 2.0 MB? Press d."
        assert pilot.app.screen.query_one("#guidance").has_class("-asked")
        assert results(pilot) == []
        assert setting.hub.sent == []
        await pilot.press("d")
        await wait_until(pilot, lambda: "ready" in row(pilot, "mine"))
        assert not pilot.app.screen.query_one("#downloads").display
        await pilot.press("enter")
        assert results(pilot) == [PairChoice("mine", "small", 0)]


async def test_a_download_shows_its_progress_and_is_paused_resumed_and_cancelled_by_keys(setting: Setting) -> None:
    setting.hub.seconds_per_chunk = 0.05
    async with shown(setting) as pilot:
        await pilot.press("d")
        await wait_until(pilot, lambda: "left" in words(pilot, "downloads"))
        assert "↓ downloading" in row(pilot, "small", "drafts")
        assert " of 2.0 MB" in words(pilot, "downloads")
        assert "/s" in words(pilot, "downloads")
        assert "p Pause" in text(pilot)
        assert "d Download" not in text(pilot)
        await pilot.press("p")
        assert "‖ paused" in row(pilot, "small", "drafts")
        assert "goes on" in words(pilot, "guidance")
        await pilot.press("d")
        await wait_until(pilot, lambda: "downloading" in row(pilot, "mine"))
        await pilot.press("x")
        assert setting.downloads.all() == {}
        assert not pilot.app.screen.query_one("#downloads").display
        await wait_until(pilot, lambda: "to fetch 2.0 MB" not in row(pilot, "mine") and "to fetch" in row(pilot, "mine"))


async def test_a_download_goes_on_while_the_screen_is_closed(setting: Setting) -> None:
    setting.hub.seconds_per_chunk = 0.05
    async with shown(setting) as pilot:
        await pilot.press("d", "escape")
        assert setting.downloads.all()["mine"].live
    async with shown(setting) as pilot:
        await wait_until(pilot, lambda: "downloading" in row(pilot, "mine"))
        setting.hub.seconds_per_chunk = 0
        await wait_until(pilot, lambda: "ready" in row(pilot, "mine"))


async def test_a_gated_pair_says_how_to_get_access(setting: Setting) -> None:
    setting.hub.gated.add("owner/large")
    async with shown(setting) as pilot:
        await pilot.press("d")
        await wait_until(pilot, lambda: "failed" in row(pilot, "mine"))
        assert "licence must be accepted first" in words(pilot, "downloads")
        assert "https://huggingface.co/owner/large, run `hf auth login`" in words(pilot, "downloads")
        setting.hub.gated.clear()
        await pilot.press("d")
        await wait_until(pilot, lambda: "ready" in row(pilot, "mine"))


async def test_names_and_notes_of_a_users_file_are_no_markup(setting: Setting) -> None:
    wild = 'title = "[bold]T[/] \\u001b[31m"\nlicense = "mit"\ntarget = "own/x"\ncontext = 64\nnote = "[red"\n'
    setting.registry.write_text(f'[pairs."[u]{"x" * 200}[/u]"]\n{wild}')
    async with shown(setting, PairChoice("[u]" + "x" * 200 + "[/u]")) as pilot:
        assert "[bold]T[/] ␛[31m" in text(pilot)
        assert "[red" in text(pilot)
        assert "[u]xxx" in text(pilot)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20), (40, 12)])
async def test_list_choices_question_and_keys_are_in_view_at_every_size(setting: Setting, size: tuple[int, int]) -> None:
    async with shown(setting, size=size) as pilot:
        shown_text = text(pilot)
        for part in ("▸ ○ mine", "Not on disk. Download", "d Download", "Esc Back"):
            assert part in shown_text, shown_text
        await pilot.press("tab")
        assert "▸ small" in text(pilot)
        await pilot.press("tab")
        assert "Context" in text(pilot)


async def test_the_layout_follows_the_size(setting: Setting) -> None:
    async with shown(setting) as pilot:
        screen = pilot.app.screen
        assert screen.query_one("#details").region.x > 0
        await pilot.resize_terminal(60, 20)
        await wait_until(pilot, lambda: screen.query_one("#details").region.x == 0)
        assert "▸ ○ mine" in text(pilot)
        assert screen.query_one(ContextPicker).region.right <= 60


async def test_nothing_is_redrawn_while_nothing_is_fetched(setting: Setting) -> None:
    async with shown(setting) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, PairsScreen)
        await wait_until(pilot, lambda: not screen._timer._active.is_set())


@pytest.mark.parametrize(("seconds", "expected"), [(8.4, "8 s"), (170, "2 min 50 s"), (3599.6, "1 h 00 min"), (4000, "1 h 06 min")])
def test_times_are_told_in_two_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_download_of_unknown_size_has_no_percent() -> None:
    unknown = Download("running")
    assert (unknown.total, replace(unknown, state="paused").live) == (0, False)
