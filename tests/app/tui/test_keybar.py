"""The key bar and the greeting promise keys that work, whole words at every width, and the user's own keys."""

from __future__ import annotations

import pytest
from tests.app.tui_harness import Driver, running

from specchat.tui.greeting import greeting
from specchat.tui.names import drafter_name, model_name
from specchat.tui.screens.help import HelpScreen
from specchat.tui.widgets.keybar import KeyBar

SHOWN = ["F1 Help", "Enter Send", "^J New line", "Esc Stop", "^R Sessions", "^O Pairs"]
OF_A_MESSAGE = ["c Copy message", "e Edit", "r Answer again", "Right Round after"]


def keys_of(user: Driver) -> list[str]:
    row = user.chat.query_one(KeyBar).render_line(0).text
    return [piece for piece in row.strip().split("  ") if piece]


@pytest.mark.parametrize("width", [100, 80, 66, 60, 50, 40])
async def test_keys_are_left_out_as_a_whole_and_the_most_useful_stay(width: int) -> None:
    async with running(size=(width, 24)) as user:
        await user.until(lambda: keys_of(user))
        assert keys_of(user) == [each for each in SHOWN if each in keys_of(user)]
        assert keys_of(user)[:2] == SHOWN[:2]
        assert width < 80 or keys_of(user) == SHOWN


async def test_a_selected_message_shows_what_can_be_done_with_it() -> None:
    async with running() as user:
        await user.ask("Hello?")
        await user.press("alt+up")
        await user.until(lambda: set(OF_A_MESSAGE) <= set(keys_of(user)))
        assert "Enter Send" not in keys_of(user)


async def test_the_users_own_keys_are_shown_and_those_taken_away_are_not() -> None:
    async with running(keys={"help": "ctrl+b", "stop": "none"}) as user:
        await user.until(lambda: "^B Help" in keys_of(user))
        assert not any("Stop" in each or "no_key" in each for each in keys_of(user))
        await user.sees("Ctrl+B  keys and commands")


async def test_a_click_presses_the_key() -> None:
    async with running() as user:
        await user.until(lambda: "F1 Help" in keys_of(user))
        await user.pilot.click(KeyBar, offset=(5, 0))
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))


def test_the_greeting_names_commands_where_there_are_no_keys() -> None:
    lines = ["".join(piece.text for piece in line) for line in greeting({"help": "none", "pairs": "f9"})]
    assert lines[0] == "specchat"
    assert "/help   keys and commands" in lines
    assert "F9      pick the models" in lines
    assert all(len(line) <= 57 for line in lines)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("builtin:demo/target", "demo target"),
        ("Qwen/Qwen3-8B", "Qwen3-8B"),
        ("/data/models/mine/", "mine"),
        ("~/models/x", "x"),
        ("/", "/"),
        ("demo", "demo"),
        ("[red]x[/]\x1b", "[red]x[/]␛"),
    ],
)
def test_models_are_called_by_what_tells_them_apart(source: str, name: str) -> None:
    assert model_name(source) == name


def test_drafters_are_called_as_in_the_legend() -> None:
    assert (drafter_name("ngram"), drafter_name("int4"), drafter_name("a\x1b")) == ("n-gram", "int4", "a␛")
