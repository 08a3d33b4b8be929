"""What users and machines do to a chat that nobody planned: it says so in a line and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app.tui_harness import Driver, running

from specchat.paths import find_paths
from specchat.store import Store
from specchat.transcript import new_session
from specchat.tui.commands import HANDLERS


def texts(driver: Driver) -> list[str]:
    return [turn.text for turn in driver.chat.desk.conversation.session.branch()]


async def test_an_error_nobody_foresaw_is_a_line_and_a_log_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setitem(HANDLERS, "retry", fail)
    async with running("echo") as user:
        await user.ready()
        await user.say("/retry")
        await user.sees("nobody thought of this")
        await user.ask("Go on.")
        assert texts(user)[-1] == "[1] Go on."
    assert "ZeroDivisionError: nobody thought of this" in find_paths().app_log.read_text(encoding="utf-8")


async def test_a_log_that_cannot_be_written_does_not_stop_the_engine() -> None:
    find_paths().engine_log.mkdir(parents=True)
    async with running("echo") as user:
        await user.sees("engine.log cannot be written")
        await user.ask("Hello?")
        assert texts(user)[-1] == "[1] Hello?"


async def test_an_answer_without_a_prompt_cannot_be_regenerated_or_edited() -> None:
    store = Store(find_paths().database)
    session = new_session("demo")
    session.append("assistant", "I began this.")
    store.save_whole(session)
    store.close()
    async with running("echo") as user:
        await user.ready()
        user.chat.desk.open(session.id)
        user.chat.show_conversation()
        await user.press("alt+up", "r")
        await user.sees("No prompt stands before this answer")
        await user.press("e")
        await user.sees("no prompt to edit")


async def test_an_odd_path_is_a_line() -> None:
    async with running("echo") as user:
        await user.ready()
        await user.say("/import ~nosuchuser/x")
        await user.sees("nosuchuser")
        await user.ask("Hello?")


async def test_a_refused_command_is_replaced_by_what_is_typed_next() -> None:
    async with running("echo") as user:
        await user.ready()
        await user.say("/continue")
        await user.sees("no answer to continue")
        await user.press("H", "i")
        assert user.chat.prompt.text == "Hi"


async def test_ctrl_c_empties_the_prompt_before_it_quits() -> None:
    async with running("echo") as user:
        await user.ready()
        await user.press("H", "i", "ctrl+c")
        assert user.chat.prompt.text == ""
        assert user.app.is_running


async def test_editing_an_earlier_prompt_gives_back_what_was_being_written() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        user.chat.prompt.text = "half written"
        await user.press("alt+up", "e")
        assert user.chat.prompt.text == "Hello?"
        await user.press("escape")
        assert user.chat.prompt.text == "half written"
        await user.press("alt+up", "e", "!", "enter")
        await user.idle()
        assert texts(user)[0] == "Hello?!"
        assert user.chat.prompt.text == "half written"


async def test_a_conversation_deleted_elsewhere_comes_back_when_it_goes_on() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        other = Store(find_paths().database)
        other.delete(user.chat.desk.conversation.session.id)
        assert other.sessions() == []
        await user.ask("Still there?")
        assert [row.turns for row in other.sessions()] == [4]
        other.close()


async def test_a_deletion_can_be_undone_after_the_list_was_closed() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.press("ctrl+r")
        await user.sees("Hello?")
        await user.press("ctrl+d")
        await user.until(lambda: user.chat.desk.store.sessions() == [])
        await user.press("escape", "ctrl+r")
        await user.until(lambda: user.app.screen is not user.chat)
        await user.press("ctrl+z")
        await user.until(lambda: len(user.chat.desk.store.sessions()) == 1)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("/set keys.quit zzz", "zzz"),
        ("/set view.theme foo", "no theme"),
        ("/set temperature", "no value"),
        ("/draft xx", "'xx'"),
    ],
)
async def test_a_wrong_setting_is_named_and_not_kept(command: str, answer: str) -> None:
    async with running("echo") as user:
        await user.ready()
        await user.say(command)
        await user.sees(answer)
    assert not find_paths().settings.exists()


async def test_a_broken_list_of_own_pairs_leaves_the_shipped_ones() -> None:
    registry = find_paths().user_registry
    registry.parent.mkdir(parents=True)
    registry.write_text("[pairs.mine", encoding="utf-8")
    async with running("echo") as user:
        await user.sees("models.toml")
        await user.ask("Hello?")
        assert texts(user)[-1] == "[1] Hello?"


async def test_a_store_in_memory_is_named_in_the_header() -> None:
    find_paths().database.mkdir(parents=True)
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.sees("│ not saved │")


async def test_a_verdict_does_not_follow_into_another_conversation(tmp_path: Path) -> None:
    async with running("stream", "300") as user:
        await user.ask("Hello?")
        await user.say("/verify")
        await user.press("ctrl+n")
        await user.until(lambda: user.chat.desk.engine.current is None)
        await user.pilot.pause()
        assert "Same text" not in user.text()


async def test_what_was_asked_before_the_pair_was_there_knows_what_answered_it() -> None:
    async with running("slow-load-progress") as user:
        await user.say("Hello?")
        await user.until(lambda: user.chat.answers)
        await user.idle()
        answer = user.chat.desk.conversation.session.branch()[-1]
        assert answer.setup is not None
        assert answer.setup.exact
        assert answer.setup.dtype == "float32"
        assert user.chat.desk.store.load(user.chat.desk.conversation.session.id).turns[answer.id].setup == answer.setup
