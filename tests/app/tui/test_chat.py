"""Chatting on the scripted engine: asking, stopping, alternatives, rounds, commands, and everything that can go wrong with the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app.tui_harness import Driver, running
from textual.events import Key

from specchat.paths import find_paths
from specchat.transcript import Turn
from specchat.tui.screens import chat as chat_module
from specchat.tui.screens.help import HelpScreen
from specchat.tui.screens.replay import CompareScreen
from specchat.tui.widgets.inspector import RoundInspector
from specchat.tui.widgets.statistics import StatisticsLine, StatisticsPanel


def branch(driver: Driver) -> list[Turn]:
    return driver.chat.desk.conversation.session.branch()


def texts(driver: Driver) -> list[str]:
    return [turn.text for turn in branch(driver)]


async def test_a_prompt_is_answered_shown_counted_and_stored() -> None:
    async with running("stream", "5") as user:
        await user.ask("Hello?")
        assert texts(user) == ["Hello?", "w0 w1 w2 w3 w4 "]
        await user.sees("w0 w1 w2 w3 w4")
        await user.sees("● ready")
        await user.sees("draft 1  n-gram 1  corrected 1  bonus 1  target 1")
        assert user.chat.prompt.text == ""
        session = user.chat.desk.conversation.session
        assert user.chat.desk.store.load(session.id) == session


async def test_a_prompt_typed_while_the_pair_loads_is_answered_when_it_is_ready() -> None:
    async with running("slow-load-progress") as user:
        await user.say("Hello?")
        await user.sees("loading")
        await user.idle()
        assert len(texts(user)) == 2
        assert texts(user)[1]


async def test_enter_does_not_overtake_letters_that_are_still_on_their_way() -> None:
    async with running("echo") as user:
        await user.ready()
        user.chat.prompt.focus()
        await user.pilot.pause()
        assert user.app._driver is not None
        for key in "/set max_tokens 9\rTell me a story about a dog\r":
            user.app._driver.send_message(Key("enter" if key == "\r" else key, key))
        await user.until(lambda: branch(user))
        assert texts(user)[0] == "Tell me a story about a dog"
        assert user.chat.desk.settings.max_tokens == 9


async def test_escape_ends_an_answer_within_a_round_and_keeps_it() -> None:
    async with running("stall") as user:
        await user.ready()
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        await user.sees("● answering")
        await user.press("escape")
        await user.idle()
        await user.sees("interrupted")
        assert branch(user)[-1].finish == "stopped"


async def test_an_engine_that_does_not_stop_is_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "KILL_SECONDS", 0.2)
    async with running("ignore-stop") as user:
        await user.ready()
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        await user.press("escape")
        await user.sees("● stopping")
        await user.idle()
        await user.sees("did not stop when it was asked")
        assert texts(user)[-1] == "w0 w1 w2 "


async def test_stopping_while_a_prompt_waits_brings_its_text_back() -> None:
    async with running("slow-load") as user:
        await user.say("Hello?")
        await user.until(lambda: user.chat.answers)
        await user.press("escape")
        await user.idle()
        assert user.chat.prompt.text == "Hello?"
        assert branch(user) == []


async def test_a_crash_keeps_the_partial_answer_and_the_next_prompt_starts_the_engine_again(tmp_path: Path) -> None:
    async with running("crash-once", str(tmp_path / "crashed")) as user:
        await user.ask("Hello?")
        await user.sees("SIGKILL")
        assert texts(user) == ["Hello?", "w0 w1 w2 "]
        await user.say("Again?")
        await user.until(lambda: len(branch(user)) == 4)
        await user.idle()
        assert texts(user)[-1] == "[3] Again?"


async def test_a_full_context_names_the_counts_and_gives_the_prompt_back() -> None:
    async with running("context-full") as user:
        await user.ready()
        await user.say("A long story.")
        await user.sees("tokens")
        await user.until(lambda: user.chat.prompt.text == "A long story.")
        assert branch(user) == []
        assert user.chat.desk.store.sessions() == []


async def test_running_out_of_memory_keeps_what_was_said_and_names_a_way_out() -> None:
    async with running("oom") as user:
        await user.ask("Hello?")
        assert texts(user)[-1]
        await user.sees("memory")
        await user.sees("● ready")


async def test_a_pair_that_does_not_load_says_why_and_what_to_do() -> None:
    async with running("refuse-load") as user:
        await user.sees("owner/name is not on this disk. Fetch it.")
        await user.sees("○ stopped")


async def test_a_lost_draft_is_named_in_the_header() -> None:
    async with running("lost-draft") as user:
        await user.ready()
        await user.sees("running without draft")


async def test_control_characters_and_markup_are_shown_and_not_obeyed() -> None:
    async with running("unsafe") as user:
        await user.ask("[bold red]Hello[/]?")
        await user.sees("[bold red]Hello[/]?")
        await user.sees("a␛[31m")


async def test_regenerated_answers_can_be_stepped_through() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.say("/retry")
        await user.until(lambda: len(user.chat.desk.conversation.session.turns) == 3)
        await user.idle()
        await user.sees("2/2")
        await user.press("alt+up")
        await user.press("left_square_bracket")
        await user.sees("1/2")
        await user.press("right_square_bracket")
        await user.sees("2/2")


async def test_an_edited_prompt_begins_a_branch() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.ask("And then?")
        await user.press("alt+up", "alt+up", "alt+up", "alt+up", "e")
        assert user.chat.prompt.text == "Hello?"
        await user.say("Good day?")
        await user.until(lambda: texts(user)[:1] == ["Good day?"])
        await user.idle()
        assert texts(user) == ["Good day?", "[1] Good day?"]
        assert len(user.chat.desk.conversation.session.turns) == 6


async def test_marks_and_markdown_change_the_look_and_not_what_is_copied() -> None:
    async with running("paced", "12:1000") as user:
        await user.ask("Hello?")
        copied = set()
        for key in ("f2", "f2", "f4", "f2", "f4"):
            await user.press("ctrl+y")
            copied.add(user.app.clipboard)
            await user.press(key)
        assert copied == {branch(user)[-1].text}


async def test_a_round_can_be_looked_into_by_keyboard() -> None:
    async with running("paced", "12:1000") as user:
        await user.ask("Hello?")
        await user.press("f6")
        inspector = user.chat.query_one(RoundInspector)
        assert inspector.display
        await user.sees("round 1 of 12")
        await user.press("right", "right", "left")
        await user.sees("round 2 of 12")
        await user.press("escape")
        assert not inspector.display
        assert user.chat.prompt.has_focus


async def test_the_statistics_give_way_where_there_is_no_room() -> None:
    for size, panel, line in (((120, 40), True, False), ((80, 24), False, True), ((50, 20), False, False)):
        async with running("stream", "3", size=size) as user:
            await user.ask("Hello?")
            assert bool(user.chat.query_one(StatisticsPanel).region.area) is panel
            assert bool(user.chat.query_one(StatisticsLine).region.area) is line
            await user.press("f3")
            assert not user.chat.query_one(StatisticsPanel).region.area
            assert not user.chat.query_one(StatisticsLine).region.area
            await user.press("f3")


@pytest.mark.parametrize("size", [(39, 20), (80, 9), (10, 3), (1, 1)])
async def test_a_tiny_terminal_gets_a_message_and_the_app_lives_on(size: tuple[int, int]) -> None:
    async with running("echo", size=size) as user:
        await user.ready()
        if size[0] > 30:
            await user.sees("too small")
        await user.pilot.resize_terminal(100, 30)
        await user.ask("Hello?")
        await user.sees("[1] Hello?")


async def test_an_unknown_command_names_the_nearest_and_two_slashes_send_one() -> None:
    async with running("echo") as user:
        await user.ready()
        await user.say("/exprot")
        await user.sees("Did you mean /export?")
        assert user.chat.prompt.text == "/exprot"
        await user.ask("//export")
        assert texts(user)[0] == "/export"


async def test_settings_by_command_go_to_the_engine(tmp_path: Path) -> None:
    async with running("report") as user:
        await user.ready()
        for command in ("/seed 5", "/draft ngram", "/system Be brief.", "/set temperature 0.5", "/set max_tokens 9"):
            await user.say(command)
        await user.ask("Hello?")
        chat = branch(user)[-1].text
        for part in ('"seed": 5', '"draft": "ngram"', '"Be brief."', '"temperature": 0.5', '"max_tokens": 9'):
            assert part in chat
        stored = find_paths().settings.read_text(encoding="utf-8")
        assert "temperature = 0.5" in stored
        assert "seed" not in stored


async def test_the_engine_leaves_a_core_to_the_screen() -> None:
    async with running("report") as user:
        await user.ask("Hello?")
        assert '"spare_cores": 1' in branch(user)[-1].text


async def test_wrong_values_name_what_is_allowed() -> None:
    async with running("echo") as user:
        await user.ready()
        for command, answer in (
            ("/seed x", "whole number"),
            ("/draft fast", "auto"),
            ("/tokens loud", "style"),
            ("/theme nothing", "no theme"),
            ("/export pdf", "markdown"),
            ("/set colour red", "colour"),
            ("/pair dmeo", "Did you mean demo"),
            ("/think on", "thinking switch"),
            ("/rename", "title"),
            ("/import", "PATH"),
        ):
            await user.ask("x") if command.startswith("/export") else None
            await user.say(command)
            await user.sees(answer)


async def test_thinking_is_asked_for_where_the_model_can() -> None:
    async with running("thinking") as user:
        await user.ask("Hello?")
        await user.sees("thought")
        await user.say("/think on")
        await user.sees("Thinking is on")
        assert user.chat.desk.settings.thinking is True


async def test_verify_and_compare_show_that_the_text_is_the_same() -> None:
    async with running("stream", "5") as user:
        await user.ask("Hello?")
        await user.press("f8")
        await user.idle()
        await user.sees("Same text")
        await user.press("f7")
        await user.until(lambda: isinstance(user.app.screen, CompareScreen))
        await user.idle()
        await user.sees("same text")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.chat)
        await user.sees("plain")


async def test_help_lists_every_key_in_force() -> None:
    async with running("echo", keys={"sessions": "f9"}) as user:
        await user.press("f1")
        await user.until(lambda: isinstance(user.app.screen, HelpScreen))
        await user.sees("Ctrl+J")
        await user.press("escape")
        await user.press("f9")
        await user.until(lambda: user.app.screen is not user.chat)


async def test_ctrl_c_copies_stops_and_quits_in_that_order() -> None:
    async with running("stall") as user:
        await user.ready()
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        await user.press("ctrl+c")
        await user.idle()
        assert branch(user)[-1].finish == "stopped"
        await user.press("ctrl+c")
        assert user.app.is_running
        await user.press("ctrl+c")
        await user.until(lambda: not user.app.is_running)


async def test_the_editor_writes_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "from the editor\\nline two\\n" > "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    async with running("echo") as user:
        await user.ready()
        monkeypatch.setattr(user.app, "suspend", _Suspended)
        await user.press("ctrl+g")
        await user.until(lambda: user.chat.prompt.text == "from the editor\nline two")


class _Suspended:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
