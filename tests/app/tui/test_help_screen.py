"""The help: all there is to press, type and read, with the keys that are in force."""

from __future__ import annotations

import pytest
from textual.app import App
from textual.containers import VerticalScroll

from specchat.marks import MARKS
from specchat.tui.actions import ACTIONS
from specchat.tui.keys import key_text, keymap
from specchat.tui.screens.help import STATISTICS_HELP, Entries, HelpScreen


class Host(App[None]):
    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__()
        self.keys = keys
        self.set_keymap(keymap(keys))

    def on_mount(self) -> None:
        self.push_screen(HelpScreen(self.keys))

    def rows(self) -> list[str]:
        return [row for entries in self.screen.query(Entries) for row in str(entries.render()).split("\n")]


async def test_every_action_stands_there_with_its_keys_and_its_command() -> None:
    app = Host({})
    async with app.run_test(size=(120, 40)):
        rows = app.rows()
        for action in ACTIONS:
            command = f"/{action.slash} {action.arguments}".rstrip() if action.slash else ""
            names = "  ".join(filter(None, (key_text(action.keys), command)))
            assert any(row.startswith(names) and row.rstrip().endswith(f" {action.id}") for row in rows), action.id


async def test_changed_keys_are_shown_changed() -> None:
    app = Host({"retry": "ctrl+t", "quit": "none", "stop": "f3"})
    async with app.run_test(size=(120, 40)):
        rows = app.rows()
        assert any(row.startswith("Ctrl+T  /retry") for row in rows)
        assert any(row.startswith("/quit") for row in rows)
        assert any(row.startswith("Esc ") for row in rows)


async def test_marks_stand_in_their_own_styles_and_figures_are_explained() -> None:
    app = Host({})
    async with app.run_test(size=(120, 40)):
        marks, figures = list(app.screen.query(Entries))[-2:]
        contents = {str(name): name for name, _, _ in marks._entries}
        assert list(contents) == [mark.label for mark in MARKS.values()]
        assert all(contents[mark.label].spans for mark in MARKS.values() if mark.colour)
        assert [row.split("  ")[0] for row in str(figures.render()).split("\n") if not row.startswith(" ")] == list(STATISTICS_HELP)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_it_fits_the_screen_and_scrolls_to_its_end(size: tuple[int, int]) -> None:
    app = Host({})
    async with app.run_test(size=size) as pilot:
        scroll = app.screen.query_one(VerticalScroll)
        assert app.screen.region.contains_region(scroll.region)
        assert all(len(row) <= scroll.content_size.width for row in app.rows())
        await pilot.press("end")
        await pilot.wait_for_animation()
        last = list(app.screen.query(Entries))[-1]
        assert app.screen.region.contains_point((last.region.x, last.region.bottom - 1))


@pytest.mark.parametrize("key", ["escape", "f1"])
async def test_it_closes(key: str) -> None:
    app = Host({})
    async with app.run_test() as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert not isinstance(app.screen, HelpScreen)


async def test_the_key_that_opens_it_closes_it_when_it_is_another() -> None:
    app = Host({"help": "f12"})
    async with app.run_test() as pilot:
        await pilot.press("f12")
        await pilot.pause()
        assert not isinstance(app.screen, HelpScreen)
