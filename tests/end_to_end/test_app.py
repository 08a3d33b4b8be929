"""The app on its real engine process with the demo pair: what a user asks for on the screen is what the models do."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.app.tui_harness import Driver, running

from specchat.client import ENGINE_COMMAND
from specchat.export import FORMATS
from specchat.paths import find_paths
from specchat.transcript import Session, Turn
from specchat.tui.screens.pairs import PairsScreen
from specchat.tui.screens.pairs_widgets import Rows
from specchat.tui.screens.replay import CompareScreen
from specchat.tui.screens.settings import SettingsScreen
from specchat.tui.widgets.inspector import RoundInspector
from specdec.events import Ready

STORY = "Tell me a story about a dog."
SECOND_PAIR = """
[pairs.little]
title = "The sibling alone"
target = "builtin:demo/sibling"
context = 512
license = "apache-2.0"
"""
SEED = {"seed": 5}
LONG: dict[str, Any] = {"max_tokens": 300, "sampling": {"seed": 2, "temperature": 5}, "drafting": {"draft": "off"}}
"""An answer that does not end by itself."""


def app(max_tokens: int = 60, **changes: Any) -> AbstractAsyncContextManager[Driver]:
    """The app with the demo pair, in exact mode whatever the machine."""
    return running(engine=ENGINE_COMMAND, max_tokens=max_tokens, exact="on", **changes)


def session(user: Driver) -> Session:
    return user.chat.desk.conversation.session


def stored(user: Driver) -> Session:
    return user.chat.desk.store.load(session(user).id)


def last(user: Driver) -> Turn:
    return session(user).branch()[-1]


def texts(user: Driver) -> list[str]:
    return [turn.text for turn in session(user).branch()]


def tokens(turn: Turn) -> list[int]:
    return [token for round_ in turn.rounds for run in round_.runs for token in run.tokens]


def squeezed(text: str) -> str:
    return "".join(text.split())


def transcript_text(user: Driver) -> str:
    view = user.chat.transcript
    return "".join(view.render_line(row).text for row in range(view.size.height))


def loaded(user: Driver) -> Ready:
    ready = user.chat.desk.ready
    assert ready is not None
    return ready


def engine_pid(user: Driver) -> int:
    return user.app.desk.engine._client.hello.pid


async def command(user: Driver, text: str) -> None:
    """Send a slash command or a prompt and wait for the end of what it asks of the engine."""
    await user.say(text)
    await user.idle()


async def say_and_signal(user: Driver, text: str, number: signal.Signals) -> None:
    """Send a prompt, and a signal to the engine as soon as the answer has five rounds.

    The keys are pressed beside it, because the pilot waits after each until the app rests, which is after the answer.
    """
    await user.ready()
    saying = asyncio.create_task(user.say(text))
    limit = time.monotonic() + 30
    while not session(user).turns or len(last(user).rounds) < 5:
        assert time.monotonic() < limit
        await asyncio.sleep(0.005)
    os.kill(engine_pid(user), number)
    await saying


async def no_more_rounds_arrive(user: Driver) -> int:
    """How many rounds there are when none has come for a while."""
    seen = -1
    while seen < (seen := len(last(user).rounds)):
        await user.pilot.pause(0.2)
    return seen


async def test_the_first_run_offers_the_pairs_and_enter_starts_the_demo_pair() -> None:
    async with running(engine=ENGINE_COMMAND, first_run=True, max_tokens=20) as user:
        await user.sees("Enter starts with the demo pair")
        await pairs_are_listed(user)
        await user.press("enter")
        await user.ready()
        await user.sees("● ready")
        assert (loaded(user).target, loaded(user).draft) == ("builtin:demo/target", "builtin:demo/sibling")
        await user.ask(STORY)
        assert last(user).text


async def test_an_answer_is_shown_and_stored_as_it_was_decoded() -> None:
    async with app(sampling=SEED) as user:
        await user.ask(STORY)
        answer = last(user)
        assert stored(user) == session(user)
        assert answer.statistics is not None
        assert answer.statistics.answer_tokens == len(tokens(answer)) == 60
        assert squeezed(answer.text) in squeezed(transcript_text(user))


async def test_the_same_seed_gives_the_same_text_whoever_drafts() -> None:
    async with app(sampling=SEED) as user:
        answers: dict[str, Turn] = {}
        for draft in ("off", "ngram", "model", "auto"):
            await command(user, f"/draft {draft}")
            await user.press("ctrl+n")
            await user.ask(STORY)
            answers[draft] = last(user)
        assert len({tuple(tokens(answer)) for answer in answers.values()}) == 1
        assert len({answer.text for answer in answers.values()}) == 1
        drafters = {draft: answer.statistics.drafters.keys() for draft, answer in answers.items() if answer.statistics}
        assert drafters["off"] == set()
        assert drafters["ngram"] <= {"ngram"}
        assert drafters["model"] == {"sibling"}


async def test_escape_stops_the_engine_within_one_round_and_the_answer_is_continued() -> None:
    """The engine is held while the key is pressed; it then ends the round under way, and at most the one it has not heard in yet."""
    async with app(**LONG) as user:
        await say_and_signal(user, STORY, signal.SIGSTOP)
        before = await no_more_rounds_arrive(user)
        await user.press("escape")
        os.kill(engine_pid(user), signal.SIGCONT)
        await user.idle()
        begun = last(user).text
        assert last(user).finish == "stopped"
        assert len(last(user).rounds) <= before + 2
        assert stored(user) == session(user)

        await command(user, "/continue")
        assert last(user).text.startswith(begun)
        assert len(last(user).text) > len(begun)
        assert last(user).finish in ("max_tokens", "eos")
        assert stored(user) == session(user)


async def test_regenerated_answers_stay_and_are_stepped_through() -> None:
    async with app(max_tokens=30, sampling={"temperature": 5}) as user:
        await user.ask(STORY)
        first = last(user)
        await command(user, "/retry")
        second = last(user)
        assert second.parent == first.parent
        assert second.text != first.text
        await user.press("alt+up")
        await user.sees("2/2")
        await user.press("left_square_bracket")
        assert last(user) == first
        await user.sees("1/2")
        await user.press("right_square_bracket")
        assert last(user) == second
        assert stored(user) == session(user)


async def test_an_edited_prompt_begins_a_branch_and_the_old_one_stays() -> None:
    async with app(max_tokens=30) as user:
        await user.ask("Hello!")
        await user.ask("And then?")
        old = texts(user)
        await user.press("alt+up", "alt+up", "alt+up", "alt+up", "e")
        assert user.chat.prompt.text == "Hello!"
        await command(user, STORY)
        assert texts(user)[0] == STORY
        assert len(texts(user)) == 2
        assert texts(user)[1]
        await user.press("alt+up", "alt+up", "left_square_bracket")
        assert texts(user) == old
        assert stored(user) == session(user)


async def test_a_conversation_found_by_search_after_a_restart_goes_on() -> None:
    async with app() as user:
        await user.ask(STORY)
        before = session(user)
    async with app() as user:
        await user.ready()
        await user.say("/search story dog")
        await user.sees("Enter")
        await user.sees(STORY)
        await user.press("enter")
        await user.until(lambda: texts(user))
        assert session(user) == before
        await user.ask("And then?")
        statistics = last(user).statistics
        assert statistics is not None
        assert statistics.prompt_tokens > len(tokens(before.branch()[-1]))


async def test_verify_and_compare_find_the_same_text_and_name_the_speedup() -> None:
    async with app() as user:
        await user.ask(STORY)
        await user.press("f8")
        await user.idle()
        await user.sees(f"Same text, token by token ({len(tokens(last(user)))})")
        await user.press("f7")
        await user.until(lambda: isinstance(user.app.screen, CompareScreen))
        await user.idle()
        await user.sees("x plain")
        await user.sees("same text")


async def test_another_pair_and_another_draft_are_picked_on_the_pairs_screen() -> None:
    find_paths().user_registry.parent.mkdir(parents=True)
    find_paths().user_registry.write_text(SECOND_PAIR, encoding="utf-8")
    async with app(max_tokens=20) as user:
        await user.ready()
        await user.press("ctrl+o")
        await pairs_are_listed(user)
        await user.press("end", "enter")
        await user.until(lambda: user.app.screen is user.chat)
        await user.ready()
        assert (loaded(user).target, loaded(user).draft) == ("builtin:demo/sibling", None)
        assert loaded(user).context == 512
        await user.ask(STORY)
        setup = last(user).setup
        assert setup is not None
        assert (setup.pair, setup.target) == ("little", "builtin:demo/sibling")

        await user.press("ctrl+o")
        await pairs_are_listed(user)
        await user.press("home", "right", "down", "enter")
        await user.until(lambda: user.app.screen is user.chat)
        await user.ready()
        assert (loaded(user).target, loaded(user).draft) == ("builtin:demo/target", "int4")
        await command(user, "/draft model")
        await user.ask(STORY)
        statistics = last(user).statistics
        assert statistics is not None
        assert statistics.drafters["int4"].accepted > 0


async def pairs_are_listed(user: Driver) -> None:
    await user.until(lambda: isinstance(user.app.screen, PairsScreen) and any(rows.option_count for rows in user.app.screen.query(Rows)))


async def test_every_export_holds_the_conversation_and_json_brings_it_back(tmp_path: Path) -> None:
    async with app() as user:
        await user.ask(STORY)
        for name in (*FORMATS, "svg"):
            await user.say(f"/export {name} {tmp_path / name}")
            await user.until(lambda path=tmp_path / name: path.exists())  # type: ignore[misc]
            content = (tmp_path / name).read_text(encoding="utf-8").replace("&#160;", " ")
            assert STORY in content, name
            assert tokens(last(user)), name
        before = session(user)
        await user.press("ctrl+n")
        await user.say(f"/import {tmp_path / 'json'}")
        await user.until(lambda: texts(user))
        assert texts(user) == [turn.text for turn in before.branch()]
        assert last(user).rounds == before.branch()[-1].rounds
        await user.press("f8")
        await user.idle()
        await user.sees(f"Same text, token by token ({len(tokens(last(user)))})")


async def test_a_temperature_set_on_the_settings_screen_arrives_at_the_engine() -> None:
    async with app(max_tokens=10) as user:
        await user.ask(STORY)
        await user.press("f5")
        await user.until(lambda: isinstance(user.app.screen, SettingsScreen))
        await user.press("0", "ctrl+s")
        await user.until(lambda: user.app.screen is user.chat)
        await command(user, "/retry")
        temperatures = [turn.setup.sampling.temperature for turn in session(user).turns.values() if turn.setup]
        assert temperatures[0] != 0
        assert temperatures[1] == 0


async def test_a_prompt_too_long_for_the_context_is_given_back_and_not_stored() -> None:
    long = "word " * 1500
    async with app() as user:
        await user.ready()
        await user.say(long)
        await user.sees("1024")
        await user.idle()
        assert user.chat.prompt.text == long
        assert session(user).turns == {}
        assert user.chat.desk.store.sessions() == []


async def test_an_engine_killed_in_mid_answer_costs_its_rest_and_the_next_prompt_starts_it_again() -> None:
    async with app(**LONG) as user:
        await say_and_signal(user, STORY, signal.SIGKILL)
        await user.idle()
        await user.sees("SIGKILL")
        assert len(last(user).rounds) >= 5
        assert "SIGKILL" in last(user).error
        assert stored(user) == session(user)
        await command(user, "/set max_tokens 20")
        await command(user, "Are you back?")
        assert last(user).finish is not None
        assert last(user).text


async def test_the_inspector_steps_through_the_rounds_of_an_answer() -> None:
    async with app(sampling=SEED) as user:
        await user.ask(STORY)
        count = len(last(user).rounds)
        await user.press("f6")
        await user.sees(f"round 1 of {count}")
        await user.press("right")
        await user.sees(f"round 2 of {count}")
        second = last(user).rounds[1]
        await user.sees(f"drafted {second.drafted} · tested {second.tested} · accepted {second.accepted}")
        await user.press("f6")
        assert not user.chat.query_one(RoundInspector).display
