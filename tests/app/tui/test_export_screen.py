"""The export screen promises to write where it says, never over a file unasked, and to keep what was typed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.app.export_sessions import conversation
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList

from specchat.export import FORMATS
from specchat.export.files import export_path
from specchat.tui.screens.export import ExportScreen

SIZES = [(80, 24), (60, 20)]
PICTURE = "<svg/>"


class Host(App[None]):
    """An app with nothing but the screen; `ended` holds what it ended with."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.session = conversation()
        self.folder = folder
        self.ended: list[Path | None] = []

    def on_mount(self) -> None:
        self.dialog = ExportScreen(self.session, self.folder, lambda: PICTURE)
        self.push_screen(self.dialog, self.ended.append)

    @property
    def path(self) -> Input:
        return self.dialog.query_one(Input)

    def text(self) -> str:
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())


async def until(pilot: Pilot[None], predicate: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < limit, "nothing happens"
        await asyncio.sleep(0.01)
        await pilot.pause()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("size", SIZES)
async def test_formats_path_and_keys_are_in_sight(folder: Path, size: tuple[int, int]) -> None:
    app = Host(Path("/here"))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        shown = app.text()
        for format_ in FORMATS.values():
            assert format_.title in shown
        assert "The screen as it is seen" in shown
        assert "in /here" in shown
        assert "Enter write" in shown
        assert app.path.has_focus


@pytest.mark.parametrize(("steps", "name"), list(enumerate(FORMATS)))
async def test_enter_writes_the_chosen_format(folder: Path, steps: int, name: str) -> None:
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.press(*["down"] * steps, "enter")
        await until(pilot, lambda: app.ended)
        expected = export_path(app.session, FORMATS[name].suffix, folder)
        assert app.ended == [expected]
        assert expected.read_text(encoding="utf-8") == FORMATS[name].write(app.session)


async def test_the_picture_is_what_was_below(folder: Path) -> None:
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.press("up", "enter")
        await until(pilot, lambda: app.ended)
        [path] = folder.iterdir()
        assert (path.suffix, path.read_text()) == (".svg", PICTURE)


async def test_a_format_gives_the_path_its_suffix_and_leaves_another_one_alone(folder: Path) -> None:
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.path.value = "mine.md"
        await pilot.press("down")
        await until(pilot, lambda: app.path.value == "mine.html")
        app.path.value = "mine.txt"
        await pilot.press("down")
        await until(pilot, lambda: app.dialog.query_one(OptionList).highlighted == 2)
        assert app.path.value == "mine.txt"


async def test_a_file_in_the_way_is_kept_unless_the_user_says_yes(folder: Path) -> None:
    (folder / "a.md").write_text("precious")
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.path.value = "a.md"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: "Overwrite?" in app.text())
        await pilot.press("enter")
        await until(pilot, lambda: "Overwrite?" not in app.text())
        assert ((folder / "a.md").read_text(), app.path.value, app.path.has_focus) == ("precious", "a.md", True)
        for refusal in ("n", "escape"):
            await pilot.press("enter")
            await until(pilot, lambda: "Overwrite?" in app.text())
            await pilot.press(refusal)
            await until(pilot, lambda: "Overwrite?" not in app.text())
        assert (folder / "a.md").read_text() == "precious"
        assert app.ended == []
        await pilot.press("enter")
        await until(pilot, lambda: "Overwrite?" in app.text())
        await pilot.press("y")
        await until(pilot, lambda: app.ended)
        assert (folder / "a.md").read_text() == FORMATS["markdown"].write(app.session)


async def test_the_answers_can_be_reached_with_arrows(folder: Path) -> None:
    (folder / "a.md").write_text("old")
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.path.value = "a.md"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: app.dialog.query_one("#keep", Button).has_focus)
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.ended)
        assert (folder / "a.md").read_text() != "old"


async def test_another_path_takes_the_question_back(folder: Path) -> None:
    (folder / "a.md").write_text("precious")
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.path.value = "a.md"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: "Overwrite?" in app.text())
        await pilot.press("down")
        await until(pilot, lambda: "Overwrite?" not in app.text())
        await pilot.press("enter")
        await until(pilot, lambda: app.ended)
        assert sorted(os.listdir(folder)) == ["a.html", "a.md"]


@pytest.mark.parametrize("size", SIZES)
async def test_an_error_stands_in_place_and_what_was_typed_stays(folder: Path, size: tuple[int, int]) -> None:
    app = Host(folder)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.path.value = "no[red]/a.md"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: "cannot be written" in app.text())
        assert (app.path.value, app.path.has_focus, app.ended) == ("no[red]/a.md", True, [])


async def test_escape_ends_without_a_file(folder: Path) -> None:
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("escape")
        await until(pilot, lambda: app.ended)
        assert (app.ended, os.listdir(folder)) == ([None], [])


async def test_the_mouse_chooses_too(folder: Path) -> None:
    app = Host(folder)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.click(OptionList, offset=(2, 1))
        await until(pilot, lambda: app.path.value.endswith(".html"))
        assert app.path.has_focus
