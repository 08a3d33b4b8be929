"""Conversations on the screen: new, resumed, found, forked, exported, imported, and stores that cannot be used."""

from __future__ import annotations

from pathlib import Path

from tests.app.tui_harness import Driver, running

from specchat.paths import find_paths
from specchat.store import Store


def texts(driver: Driver) -> list[str]:
    return [turn.text for turn in driver.chat.desk.conversation.session.branch()]


async def test_a_conversation_is_resumed_after_a_restart_by_searching_for_it() -> None:
    async with running("echo") as user:
        await user.ask("About penguins")
        await user.press("ctrl+n")
        await user.ask("About giraffes")
    async with running("echo") as user:
        await user.ready()
        assert texts(user) == []
        await user.say("/search penguins")
        await user.sees("About penguins")
        await user.press("enter")
        await user.until(lambda: texts(user) == ["About penguins", "[1] About penguins"])
        await user.ask("More of them")
        assert texts(user)[-1] == "[3] More of them"
    store = Store(find_paths().database)
    assert [row.title for row in store.sessions()] == ["About penguins", "About giraffes"]


async def test_leaving_an_answer_stops_and_keeps_it() -> None:
    async with running("stall") as user:
        await user.ready()
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        left = user.chat.desk.conversation.session.id
        await user.press("ctrl+n")
        await user.idle()
        assert texts(user) == []
        kept = user.chat.desk.store.load(left).branch()[-1]
        assert (kept.text, kept.finish) == ("w0 w1 w2 ", "stopped")


async def test_deleting_the_open_conversation_begins_a_new_one() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.press("ctrl+r")
        await user.sees("Hello?")
        await user.press("ctrl+d")
        await user.until(lambda: user.chat.desk.store.sessions() == [])
        await user.press("escape")
        await user.until(lambda: texts(user) == [])


async def test_a_fork_leaves_the_original_alone() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.say("/fork")
        await user.ask("Only here")
        rows = user.chat.desk.store.sessions()
        assert sorted(row.turns for row in rows) == [2, 4]


async def test_an_interrupted_answer_is_continued() -> None:
    async with running("stall") as user:
        await user.ready()
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        await user.press("escape")
        await user.idle()
        await user.say("/continue")
        await user.until(lambda: len(user.chat.desk.conversation.session.branch()[-1].rounds) == 6)
        await user.press("escape")
        await user.idle()
        assert texts(user)[-1] == "w0 w1 w2 w0 w1 w2 "
        session = user.chat.desk.conversation.session
        assert user.chat.desk.store.load(session.id) == session


async def test_a_conversation_goes_out_and_comes_back_the_same(tmp_path: Path) -> None:
    async with running("paced", "12:1000") as user:
        await user.ask("Hello?")
        await user.say(f"/export json {tmp_path / 'out.json'}")
        await user.sees("Written to")
        await user.say(f"/export json {tmp_path / 'out.json'}")
        await user.sees("exists")
        before = user.chat.desk.conversation.session
        await user.press("ctrl+n")
        await user.say(f"/import {tmp_path / 'out.json'}")
        await user.until(lambda: len(texts(user)) == 2)
        after = user.chat.desk.conversation.session
        assert after.id != before.id
        assert [turn.rounds for turn in after.branch()] == [turn.rounds for turn in before.branch()]
        assert len(user.chat.desk.store.sessions()) == 2


async def test_the_screen_goes_out_as_a_picture_without_dialogs(tmp_path: Path) -> None:
    async with running("stream", "3") as user:
        await user.ask("Hello?")
        await user.say(f"/export svg {tmp_path / 'screen.svg'}")
        await user.sees("Written to")
    picture = (tmp_path / "screen.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "w0" in picture


async def test_a_broken_settings_file_is_named_and_left_alone() -> None:
    settings = find_paths().settings
    settings.parent.mkdir(parents=True)
    settings.write_text("pair = [", encoding="utf-8")
    async with running("echo") as user:
        await user.sees("settings.toml")
        await user.ask("Hello?")
        await user.sees("[1] Hello?")
    assert settings.read_text(encoding="utf-8") == "pair = ["


async def test_a_damaged_database_is_put_aside_and_the_app_goes_on() -> None:
    database = find_paths().database
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is no database" * 500)
    async with running("echo") as user:
        await user.sees("damaged")
        await user.ask("Hello?")
        await user.sees("[1] Hello?")
    assert list(database.parent.glob("sessions.damaged-*"))


async def test_a_folder_in_the_way_means_a_chat_in_memory() -> None:
    find_paths().database.mkdir(parents=True)
    async with running("echo") as user:
        await user.sees("not saved")
        await user.ask("Hello?")
        await user.sees("[1] Hello?")
