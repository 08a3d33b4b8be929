"""The sessions screen promises to find, open, rename, delete and bring back any of thousands of conversations by keyboard alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from tests.app.store_sessions import session_with
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from specchat.store import SessionRow, Store, StoreError
from specchat.tui.screens.sessions import SessionsScreen
from specchat.tui.screens.sessions_list import SessionList, ago

SIZES = [(80, 24), (60, 20)]


class Host(App[None]):
    """An app with nothing but the screen; `ended` holds what it ended with, `told` what it was told."""

    def __init__(self, store: Store, open_id: str = "", query: str = "") -> None:
        super().__init__()
        self.store, self.open_id, self.initial = store, open_id, query
        self.ended: list[str | None] = []
        self.told: list[tuple[str, ...]] = []

    def on_mount(self) -> None:
        self.sessions = SessionsScreen(self.store, self.open_id, self.initial)
        self.push_screen(self.sessions, self.ended.append)

    def on_sessions_screen_renamed(self, message: SessionsScreen.Renamed) -> None:
        self.told.append(("renamed", message.session_id, message.title))

    def on_sessions_screen_deleted(self, message: SessionsScreen.Deleted) -> None:
        self.told.append(("deleted", message.session_id))

    def on_sessions_screen_restored(self, message: SessionsScreen.Restored) -> None:
        self.told.append(("restored", message.session_id))

    @property
    def rows(self) -> list[SessionRow]:
        return self.sessions.query_one(SessionList).rows

    @property
    def titles(self) -> list[str]:
        return [row.title for row in self.rows]

    @property
    def current(self) -> str:
        row = self.sessions.query_one(SessionList).current
        return row.title if row else ""

    def text(self) -> str:
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())


async def until(pilot: Pilot[None], predicate: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < limit, "nothing happens"
        await asyncio.sleep(0.01)
        await pilot.pause()


def store_of(*titles: str) -> Store:
    """A store with a session for each title, the first being the newest; ids are the titles."""
    store = Store(None)
    for number, title in enumerate(titles):
        session = session_with(title, f"question about {title}", f"answer number {number}")
        session.id, session.updated = title, time.time() - 3600 * (number + 0.5)
        store.save_whole(session)
    return store


@pytest.mark.parametrize("size", SIZES)
async def test_the_list_shows_title_time_pair_count_and_text(size: tuple[int, int]) -> None:
    app = Host(store_of("alpha", "beta"), "beta")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.rows)
        lines = app.text().split("\n")
        alpha = next(number for number, line in enumerate(lines) if "alpha" in line)
        assert "30 min ago" in lines[alpha]
        assert "demo · 2 messages · answer number 0" in lines[alpha + 1]
        assert "open · 1 h ago" in lines[alpha + 2]
        assert "▌ beta" in lines[alpha + 2]
        assert "Esc close" in app.text()


async def test_enter_opens_what_the_arrows_chose_while_the_search_has_the_focus() -> None:
    app = Host(store_of("alpha", "beta", "gamma"))
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.rows)
        await pilot.press("down", "down", "down", "up", "enter")
        await until(pilot, lambda: app.ended)
    assert app.ended == ["beta"]


async def test_escape_chooses_nothing() -> None:
    app = Host(store_of("alpha"))
    async with app.run_test() as pilot:
        await pilot.press("escape")
        await until(pilot, lambda: app.ended)
    assert app.ended == [None]


async def test_a_click_opens() -> None:
    app = Host(store_of("alpha", "beta"))
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.rows)
        await pilot.click(SessionList, offset=(10, 3))
        await until(pilot, lambda: app.ended)
    assert app.ended == ["beta"]


async def test_typing_searches_and_the_match_is_shown() -> None:
    store = store_of("alpha", "beta")
    store.save_whole(session_with("letters", "x " * 300 + "the Crème is here"))
    app = Host(store)
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: len(app.rows) == 3)
        await pilot.press(*"creme")
        await until(pilot, lambda: app.titles == ["letters"])
        await until(pilot, lambda: "1 found" in app.text() and "Crème" in app.text())
        strips = app.screen._compositor.render_strips()
        segment = next(segment for strip in strips for segment in strip if "Crème" in segment.text)
        assert segment.style
        assert segment.style.underline
        await pilot.press(*"zzz")
        await until(pilot, lambda: "No conversation holds these words." in app.text())
        await pilot.press("enter", "delete", "ctrl+e", "down")
        assert app.ended == []


async def test_an_initial_query_is_searched_at_once() -> None:
    app = Host(store_of("alpha", "beta one", "beta two"), "beta two", "bet")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.titles == ["beta one", "beta two"])
        await app.workers.wait_for_complete()
        assert app.sessions._pause is None
        assert app.current == "beta two"


async def test_none_is_no_problem() -> None:
    app = Host(Store(None))
    async with app.run_test() as pilot:
        await until(pilot, lambda: "There are no conversations yet." in app.text())
        await pilot.press("down", "pagedown", "enter", "delete", "ctrl+e", "ctrl+z")
        await until(pilot, lambda: "There is nothing to bring back." in app.text())
        assert app.ended == []


async def test_deleted_ones_come_back_as_often_as_deleted() -> None:
    store = store_of("alpha", "beta", "gamma")
    app = Host(store)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.rows)
        await pilot.press("down", "delete", "ctrl+d")
        await until(pilot, lambda: app.titles == ["alpha"])
        assert [row.title for row in store.sessions()] == ["alpha"]
        assert "Deleted “gamma”. Ctrl+Z undoes." in app.text()
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.titles == ["alpha", "gamma"])
        assert app.current == "gamma"
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.titles == ["alpha", "beta", "gamma"])
        assert app.current == "beta"
        assert "“beta” is back." in app.text()
    assert app.told == [("deleted", "beta"), ("deleted", "gamma"), ("restored", "gamma"), ("restored", "beta")]
    assert len(store.sessions()) == 3


async def test_delete_edits_the_search_while_there_is_text_behind_the_cursor() -> None:
    store = store_of("alpha")
    app = Host(store, query="xalpha")
    async with app.run_test() as pilot:
        await pilot.press("home", "delete")
        await until(pilot, lambda: app.titles == ["alpha"])
        assert len(store.sessions()) == 1


async def test_a_title_is_edited_where_it_stands() -> None:
    store = store_of("alpha", "beta")
    app = Host(store)
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: app.rows)
        await pilot.press("down", "ctrl+e")
        title = app.sessions.query_one("#title", Input)
        await until(pilot, lambda: title.has_focus and title.region.y > 0)
        line = next(number for number, line in enumerate(app.text().split("\n")) if "beta" in line)
        assert title.region.y == line
        await pilot.press("home", "delete", *"[z", "ctrl+e", " ", "!", "enter")
        await until(pilot, lambda: app.current == "[zeta !")
        assert app.told == [("renamed", "beta", "[zeta !")]
        assert store.load("beta").title == "[zeta !"
        await until(pilot, lambda: app.sessions.query_one(Input).has_focus)


async def test_a_blank_title_is_refused_and_escape_leaves_it_as_it_was() -> None:
    store = store_of("alpha")
    app = Host(store)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.rows)
        await pilot.press("ctrl+e", " ", "enter")
        await until(pilot, lambda: "A title needs at least one letter." in app.text())
        await pilot.press("escape")
        await until(pilot, lambda: app.sessions.query_one(Input).has_focus)
        assert (app.told, app.ended, store.load("alpha").title) == ([], [], "alpha")


async def test_hostile_titles_are_shown_and_not_obeyed() -> None:
    app = Host(store_of("[red]not[/red] markup", "bell\x07 \x1b[31m"))
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.rows)
        await until(pilot, lambda: "[red]not[/red] markup" in app.text() and "bell␇ ␛[31m" in app.text())
        await pilot.press("delete", "delete")
        await until(pilot, lambda: "Deleted “bell␇ ␛[31m”" in app.text())


async def test_a_failing_store_is_told_in_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of("alpha")
    app = Host(store)

    def fail(*_: object) -> None:
        raise StoreError("The disk [is] full.", "Free some space.")

    async with app.run_test() as pilot:
        await until(pilot, lambda: app.rows)
        monkeypatch.setattr(store, "delete", fail)
        await pilot.press("delete")
        await until(pilot, lambda: "The disk [is] full. Free some space." in app.text())
        assert app.titles == ["alpha"]
        monkeypatch.setattr(store, "sessions", fail)
        await pilot.press("x")
        await until(pilot, lambda: "x" in app.sessions.query_one(Input).value)
    assert app.told == []


async def test_five_thousand_are_listed_to_the_last() -> None:
    app = Host(store_of(*(f"session {number:04}" for number in range(5000))))
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(app.rows) == 5000)
        assert "5,000" in app.text()
        await pilot.press("ctrl+end")
        await until(pilot, lambda: "▌ session 4999" in app.text())
        await pilot.press("pageup", "ctrl+home")
        await until(pilot, lambda: "▌ session 0000" in app.text())
        await pilot.press("pagedown")
        assert app.current == f"session {app.sessions.query_one(SessionList).page():04}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 min ago"), (7300, "2 h ago"), (86400 * 2.5, "2 d ago"), (86400 * 40, "2001-09-09")],
)
def test_times_are_relative_until_they_are_old(seconds: float, words: str) -> None:
    assert ago(seconds, 1_000_000_000) == words
