"""What the chat says before it is asked: the prompt's tokens, the keys in force, what is below, what settings.toml gets wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app.tui_harness import Driver, running
from textual.events import Key, Paste

from specchat.engine_thread import CountJob, Ended, EngineThread, Job, Said
from specchat.paths import find_paths
from specchat.transcript import Session, new_session
from specchat.tui import counting
from specchat.tui.actions import BY_ID
from specchat.tui.screens.pairs import PairsScreen
from specchat.tui.screens.settings import SettingsScreen
from specchat.tui.widgets.statistics import StatisticsLine
from specdec.events import Counted

SMALL = (80, 24)


def texts(user: Driver) -> list[str]:
    return [turn.text for turn in user.chat.desk.conversation.session.branch()]


def count_of(user: Driver) -> str:
    return user.chat.prompt.border_subtitle or ""


async def type_in(user: Driver, text: str) -> None:
    await user.press(*("space" if letter == " " else letter for letter in text))


def open_session_of(user: Driver, turns: int) -> Session:
    """Show a stored conversation of so many short messages."""
    session = new_session("demo")
    session.title = "long"
    for number in range(turns):
        session.append("assistant" if number % 2 else "user", f"m{number}").finish = "eos"
    user.chat.desk.store.save_whole(session)
    user.chat.desk.open(session.id)
    user.chat.show_conversation()
    return session


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs given to the engine, which counts as soon as the typing pauses for a moment."""
    monkeypatch.setattr(counting, "PAUSE_SECONDS", 0.01)
    jobs: list[Job] = []
    submit = EngineThread.submit

    def noted(thread: EngineThread, job: Job) -> None:
        jobs.append(job)
        submit(thread, job)

    monkeypatch.setattr(EngineThread, "submit", noted)
    return jobs


async def test_the_tokens_of_the_conversation_with_the_prompt_are_shown_before_it_is_sent(submitted: list[Job]) -> None:
    async with running("echo", system="Be brief.") as user:
        await user.ready()
        await type_in(user, "Hi")
        await user.sees("10 of 4,096 tokens")
        await user.ask("Hi")
        assert not count_of(user)
        await type_in(user, "Hi")
        await user.sees("20 of 4,096 tokens")
        job = submitted[-1]
        assert isinstance(job, CountJob)
        assert [message.content for message in job.count.messages] == ["Be brief.", "Hi", "[2] Hi", "Hi"]
        assert not user.chat.watchers
        await user.sees("● ready")


async def test_an_edited_prompt_is_counted_in_its_place(submitted: list[Job]) -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.ask("And then?")
        await user.press("alt+up", "alt+up", "alt+up", "alt+up", "e")
        await user.sees("5 of 4,096 tokens")


@pytest.mark.parametrize("text", ["", " \n", "/seed 5", "/nothing"])
async def test_what_is_not_sent_is_not_counted(text: str, submitted: list[Job]) -> None:
    async with running("echo") as user:
        await user.ready()
        await type_in(user, "Hi")
        await user.sees("5 of 4,096 tokens")
        jobs = len(submitted)
        user.chat.prompt.text = text
        await user.until(lambda: not count_of(user))
        user.chat.prompt.text = "//seed"
        await user.sees("5 of 4,096 tokens")
        assert len(submitted) == jobs + 1


async def test_a_prompt_typed_while_the_engine_is_busy_is_counted_afterwards(submitted: list[Job]) -> None:
    async with running("slow-load-progress") as user:
        await type_in(user, "Hi")
        assert not any(isinstance(job, CountJob) for job in submitted)
        await user.sees("5 of 4,096 tokens")
    async with running("stall") as user:
        await user.ready()
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        jobs = len(submitted)
        await type_in(user, "Hi")
        await user.press("escape")
        await user.sees("15 of 4,096 tokens")
        assert len(submitted) == jobs + 1


async def test_a_count_that_comes_late_is_not_shown(submitted: list[Job]) -> None:
    async with running("echo") as user:
        await user.ready()
        await type_in(user, "Hi")
        await user.sees("5 of 4,096 tokens")
        late = submitted[-1]
        await type_in(user, " there")
        await user.until(lambda: submitted[-1] is not late)
        user.chat.count.hear(Said(late, Counted(tokens=999, context=4096)))
        user.chat.count.hear(Ended(late, dropped=True))
        assert "5 of 4,096 tokens" in count_of(user)


async def test_a_prompt_that_does_not_fit_says_so_and_is_sent_all_the_same(submitted: list[Job]) -> None:
    async with running("context-full", size=SMALL, keys={"new": "f9"}) as user:
        await user.ready()
        open_session_of(user, 900)
        await type_in(user, "Hi")
        await user.sees("4,505 of 4,096 tokens: too long, F9 begins anew")
        await user.press("enter")
        await user.sees("with F9.")
        await user.until(lambda: user.chat.prompt.text == "Hi")
        assert len(texts(user)) == 900


async def test_a_nearly_full_context_is_a_warning_in_words(submitted: list[Job]) -> None:
    async with running("echo") as user:
        await user.ready()
        open_session_of(user, 738)
        await type_in(user, "Hi")
        await user.sees("3,695 of 4,096 tokens: nearly full")


async def test_a_count_starts_no_engine(submitted: list[Job], tmp_path: Path) -> None:
    async with running("crash-once", str(tmp_path / "crashed")) as user:
        await user.ask("Hello?")
        await user.sees("SIGKILL")
        await type_in(user, "Hi")
        await user.pilot.pause(0.1)
        assert not any(isinstance(job, CountJob) for job in submitted)
        await user.sees("○ stopped")
        assert not count_of(user)


async def test_hints_name_the_keys_in_force() -> None:
    keys = {"marks": "f9", "select_previous": "f10", "sessions": "none", "stop": "none", "settings": "ctrl+t", "bottom": "f11"}
    async with running("stall", size=SMALL, keys=keys) as user:
        await user.ready()
        await user.sees("target 0  F9")
        await user.say("Hello?")
        await user.sees("w0 w1 w2")
        await user.say("/retry")
        await user.sees("“Stop” among the commands stops it.")
        user.chat.stop()
        await user.idle()
        await user.say("/set")
        await user.sees("or Ctrl+T for all")
        await user.say("/fork")
        await user.sees("among the sessions (/sessions)")
        user.chat.perform("regenerate", "")
        await user.sees("F10 selects one.")
        await user.say("/tokens off")
        await user.sees("F9 shows where each token came from")


async def test_a_deletion_that_is_taken_back_leaves_a_conversation_to_go_on_with() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        deleted = user.chat.desk.conversation.session.id
        await user.press("ctrl+r")
        await user.sees("Sessions · 1")
        await user.press("ctrl+d")
        await user.until(lambda: user.chat.desk.store.sessions() == [])
        await user.press("ctrl+z")
        await user.sees("is back")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.chat)
        assert texts(user) == []
        assert user.chat.prompt.has_focus
        await user.ask("Anew")
        await user.press("ctrl+r")
        await user.sees("Sessions · 2")
        await user.press("down", "enter")
        await user.until(lambda: user.chat.desk.conversation.session.id == deleted)
        await user.ask("Again")
        assert texts(user) == ["Hello?", "[1] Hello?", "Again", "[3] Again"]


async def test_what_is_typed_or_pasted_into_the_conversation_goes_into_the_prompt() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        assert user.app._driver is not None
        user.chat.transcript.focus()
        await user.until(lambda: user.chat.transcript.has_focus)
        for letter in "bring [1] here":
            user.app._driver.send_message(Key("space" if letter == " " else letter, letter))
        await user.until(lambda: user.chat.prompt.text == "bring [1] here")
        assert user.chat.prompt.has_focus
        user.chat.transcript.focus()
        await user.until(lambda: user.chat.transcript.has_focus)
        user.app._driver.send_message(Paste(", twice"))
        await user.until(lambda: user.chat.prompt.text == "bring [1] here, twice")
        user.app._driver.send_message(Paste("!"))
        await user.until(lambda: user.chat.prompt.text == "bring [1] here, twice!")


async def test_the_keys_of_a_message_act_while_one_is_selected() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        await user.press("alt+up", "c")
        assert user.app.clipboard == "[1] Hello?"
        assert user.chat.prompt.text == ""
        await user.press("x")
        assert user.chat.prompt.text == "x"
        await user.press("escape")
        user.chat.transcript.focus()
        await user.press("c", "e")
        assert user.chat.prompt.text == "xce"


async def test_an_action_of_a_message_is_among_the_commands_without_a_selection() -> None:
    async with running("echo") as user:
        await user.ask("Hello?")
        user.chat.transcript.focus()
        await user.press("ctrl+p")
        await type_in(user, BY_ID["edit"].title)
        await user.sees(BY_ID["edit"].help)
        await user.press("enter")
        await user.until(lambda: user.chat.prompt.text == "Hello?")


async def test_the_line_of_figures_names_the_measured_speedup() -> None:
    async with running("stream", "5", size=SMALL) as user:
        await user.ask("Hello?")
        await user.press("f7")
        await user.idle()
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.chat)
        assert "x plain" in user.chat.query_one(StatisticsLine).render().plain


async def test_what_is_below_is_told_until_the_end_is_in_sight() -> None:
    async with running("echo", size=(60, 20)) as user:
        await user.ready()
        open_session_of(user, 60)
        await user.pilot.pause()
        assert "more below" not in user.text()
        await user.press("pageup")
        await user.sees("↓ more below, Ctrl+End")
        await user.press("ctrl+end")
        await user.until(lambda: "more below" not in user.text())


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('pair = "dmeo"', "There is no pair named dmeo."),
        ('draft_model = "huge"', "Pair demo has no draft named huge."),
        ('draft_model = "none"\n[drafting]\ndraft = "model"', "needs a draft model"),
        ("context = 5", "context must be a whole number of tokens from 16"),
    ],
)
async def test_settings_that_name_nothing_to_load_are_told_and_can_be_mended_in_the_app(written: str, said: str) -> None:
    paths = find_paths()
    paths.settings.parent.mkdir(parents=True, exist_ok=True)
    paths.settings.write_text(f"{written}\n", encoding="utf-8")
    async with running("echo") as user:
        await user.until(lambda: said in " ".join(user.text().split()))
        assert "--" not in user.text()
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.app.screen, PairsScreen))
        await user.press("escape")
        await user.press("f5")
        await user.until(lambda: isinstance(user.app.screen, SettingsScreen))
        await user.press("ctrl+s")
        await user.until(lambda: user.app.screen is user.chat)
        for command in ("/set draft auto", "/set draft_model sibling", "/set pair demo"):
            await user.say(command)
        await user.ask("Hello?")
        assert texts(user)[-1] == "[1] Hello?"


async def test_a_setting_that_names_nothing_to_load_is_refused() -> None:
    async with running("echo") as user:
        await user.ready()
        before = user.chat.desk.settings
        for command, said in (
            ("/set pair dmeo", "Did you mean demo?"),
            ("/set draft_model huge", "It has"),
        ):
            await user.say(command)
            await user.sees(said)
            assert user.chat.desk.settings == before
        await user.say("/set draft_model none")
        await user.ready()
        await user.say("/draft model")
        await user.sees("needs a draft model, and none is chosen. Pick one with")
        assert user.chat.desk.settings.drafting.draft == "auto"
        await user.sees("● ready")


async def test_a_lone_surrogate_is_shown_as_an_escape(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"conversations": [{"from": "human", "value": "a\\ud800b"}]}', encoding="utf-8")
    async with running("echo") as user:
        await user.ready()
        await user.say(f"/import {foreign}")
        await user.sees("The file is no valid JSON")
        user.chat.desk.conversation.session.append("user", "one \ud800 alone")
        user.chat.show_conversation()
        await user.sees("one \\ud800 alone")
        user.chat.perform("edit", "")
        await user.pilot.pause()
        user.text().encode()
