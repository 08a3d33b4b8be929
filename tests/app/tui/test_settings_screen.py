"""The settings screen: what it gives back, and what it says at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App
from textual.widgets import Button, Input, TextArea

from specchat.settings import Settings, View, flatten
from specchat.tui.screens.settings import ROWS, Field, SettingsScreen
from specchat.tui.widgets.choice import Choice
from specdec.options import Drafting, Sampling

FULL = Settings(
    pair="qwen3",
    dtype="bfloat16",
    exact="off",
    system="Be brief.\nBe kind.",
    max_tokens=99,
    thinking=True,
    sampling=Sampling(temperature=0.5, top_k=4, top_p=0.9, min_p=0.1, repetition_penalty=1.1, seed=3),
    drafting=Drafting(draft="ngram", draft_tokens=5, accept="threshold:0.4"),
    view=View(marks="glyph", markdown=False, statistics=False, theme="nord"),
    keys={"retry": "f9"},
)


class Host(App[None]):
    """Opens the screen and keeps what it gives back."""

    def __init__(self, settings: Settings, path: Path = Path("/etc/specchat/settings.toml")) -> None:
        super().__init__()
        self.given: list[Settings | None] = []
        self.settings = settings
        self.path = path

    def on_mount(self) -> None:
        self.theme = self.settings.view.theme
        self.push_screen(SettingsScreen(self.settings, self.path), self.given.append)

    def field(self, name: str) -> Field:
        return next(field for field in self.screen.query(Field) if field.row.name == name)

    def said(self, name: str) -> str:
        field = self.field(name)
        return str(field.query_one(".wrong").render()) if field.has_class("-wrong") else ""


@pytest.mark.parametrize("settings", [Settings(), FULL])
async def test_saving_untouched_settings_changes_nothing(settings: Settings) -> None:
    app = Host(settings)
    async with app.run_test() as pilot:
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert app.given == [settings]


async def test_everything_can_be_set_by_keyboard() -> None:
    app = Host(Settings())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*"0.7", "tab", *"40", "down", "down", "down", "down", *"12")
        await pilot.press("tab", *"200", "tab", "right", "tab", *"Be", "enter", *"kind", "tab", "left", "down", *"3", "up", "right")
        await pilot.press("tab", "tab", "right", "tab", "right", "tab", "left", "tab", "right", "tab", "space", "tab", "enter", "ctrl+s")
        await pilot.pause()
        assert app.given == [
            Settings(
                dtype="int8",
                exact="on",
                system="Be\nkind",
                max_tokens=200,
                thinking=True,
                sampling=Sampling(temperature=0.7, top_k=40, seed=12),
                drafting=Drafting(draft="auto", draft_tokens=3, accept="rejection"),
                view=View(marks="glyph", markdown=False, statistics=False),
            )
        ]


async def test_a_wrong_value_is_said_at_once_and_not_saved() -> None:
    app = Host(Settings())
    async with app.run_test() as pilot:
        await pilot.press(*"99")
        await pilot.pause()
        assert app.said("sampling.temperature").startswith("sampling.temperature must be a number from 0 to 10")
        await pilot.press("tab", "tab", "ctrl+s")
        await pilot.pause()
        assert app.given == []
        assert app.focused is app.field("sampling.temperature").query_one(Input)
        await pilot.press("backspace", "backspace", "1", "ctrl+s")
        await pilot.pause()
        assert app.given == [Settings(sampling=Sampling(temperature=1.0))]


async def test_the_threshold_rule_is_called_lossy_while_it_is_on() -> None:
    app = Host(Settings())
    async with app.run_test(size=(60, 20)) as pilot:
        field = app.field("drafting.accept")
        lossy = field.query_one(".lossy")
        assert not lossy.display
        field.query_one(Choice).focus()
        await pilot.press("left")
        await pilot.pause()
        assert lossy.display
        assert "Lossy" in str(lossy.render())
        await pilot.press("tab", "ctrl+a", "delete", "delete", "delete", *"7", "ctrl+s")
        await pilot.pause()
        assert app.said("drafting.accept").startswith("drafting.accept must be coupled, rejection or threshold:X")
        await pilot.press("backspace", *"0.6", "ctrl+s")
        await pilot.pause()
        assert app.given == [Settings(drafting=Drafting(accept="threshold:0.6"))]


async def test_a_theme_is_shown_at_once_and_taken_back_on_leaving() -> None:
    app = Host(Settings(view=View(theme="nord")))
    async with app.run_test() as pilot:
        app.field("view.theme").query_one(Choice).focus()
        await pilot.press("right")
        await pilot.pause()
        assert app.theme != "nord"
        await pilot.press("escape")
        await pilot.pause()
        assert app.theme == "nord"
        assert app.given == [None]


async def test_a_saved_theme_stays() -> None:
    app = Host(Settings())
    async with app.run_test() as pilot:
        app.field("view.theme").query_one(Choice).focus()
        await pilot.press("right", "ctrl+s")
        await pilot.pause()
        (given,) = app.given
        assert given is not None
        assert given.view.theme == app.theme != "textual-dark"


async def test_the_buttons_do_what_they_say() -> None:
    for button, given in (("#save", Settings()), ("#leave", None)):
        app = Host(Settings())
        async with app.run_test(size=(60, 20)) as pilot:
            app.screen.query_one(button, Button).focus()
            await pilot.press("enter")
            await pilot.pause()
            assert app.given == [given]


async def test_the_mouse_picks_a_value() -> None:
    app = Host(Settings())
    async with app.run_test(size=(120, 40)) as pilot:
        choice = app.field("exact").query_one(Choice)
        for x, value in ((9, "on"), (15, "off"), (1, "auto"), (40, "auto")):
            await pilot.click(choice, offset=(x, 0))
            assert choice.value == value


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_every_setting_can_be_reached_and_seen(size: tuple[int, int]) -> None:
    app = Host(Settings())
    async with app.run_test(size=size) as pilot:
        seen = []
        for _ in range(40):
            focused = app.focused
            assert focused is not None
            await pilot.wait_for_animation()
            assert app.screen.region.contains_region(focused.region)
            field = next((node for node in focused.ancestors if isinstance(node, Field)), None)
            if field is None:
                break
            seen.append(field.row.name)
            await pilot.press("tab")
        assert seen == [row.name for rows in ROWS.values() for row in rows]


async def test_the_screen_says_where_the_settings_are_kept(home: Path) -> None:
    app = Host(Settings(), home / "config" / "[x]" / "settings.toml")
    async with app.run_test():
        where = str(app.screen.query_one("#where").render())
        assert "~/config/[x]/settings.toml" in where
        assert "exact mode or precision needs the pair loaded anew" in where


def test_every_setting_but_those_of_the_pair_is_on_the_screen() -> None:
    shown = {row.name for rows in ROWS.values() for row in rows}
    assert flatten(Settings()).keys() - shown == {"pair", "draft_model", "context"}


async def test_the_system_prompt_is_a_text_of_lines() -> None:
    app = Host(FULL)
    async with app.run_test():
        assert app.field("system").query_one(TextArea).text == FULL.system
