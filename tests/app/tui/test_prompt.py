"""The prompt: sending, lines, earlier prompts, slash commands, and the keys that pass it by."""

from __future__ import annotations

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from specchat.tui.actions import ACTIONS
from specchat.tui.keys import bindings, keymap
from specchat.tui.palette import ActionProvider
from specchat.tui.widgets.prompt import Prompt, Suggestions


class Chat(Screen[None]):
    """A screen as the chat is one: its actions are noted, and so is what was sent."""

    BINDINGS = bindings("anywhere")
    AUTO_FOCUS = "Prompt"

    def __init__(self, earlier: list[str]) -> None:
        super().__init__()
        self.earlier = earlier
        self.done: list[str] = []
        self.sent: list[str] = []

    def compose(self) -> ComposeResult:
        yield Static("the conversation")
        yield Suggestions()
        yield Prompt(self.earlier)
        yield Input(id="other")

    def action_do(self, action_id: str) -> None:
        self.done.append(action_id)
        if action_id == "palette":
            self.app.action_command_palette()

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        self.sent.append(event.text)


class ChatApp(App[None], inherit_bindings=False):
    COMMANDS = {ActionProvider}  # noqa: RUF012
    COMMAND_PALETTE_BINDING = "no_key"
    BINDINGS = [Binding("f20", "nothing", "Nothing")]  # noqa: RUF012

    def __init__(self, earlier: list[str] | None = None, keys: dict[str, str] | None = None) -> None:
        super().__init__()
        self.set_keymap(keymap(keys or {}))
        self.chat = Chat(earlier or [])

    def on_mount(self) -> None:
        self.push_screen(self.chat)

    @property
    def prompt(self) -> Prompt:
        return self.chat.query_one(Prompt)

    @property
    def suggested(self) -> list[str]:
        return str(self.chat.query_one(Suggestions).render()).split("\n") if self.chat.query_one(Suggestions).display else []


async def paste(pilot: Pilot[None], text: str) -> None:
    pilot.app.post_message(events.Paste(text))
    await pilot.pause()


async def test_enter_sends_and_makes_room_and_what_was_refused_can_be_given_back() -> None:
    app = ChatApp()
    async with app.run_test() as pilot:
        await pilot.press("h", "i", "enter", "y", "o")
        await pilot.pause()
        assert app.chat.sent == ["hi"]
        assert app.prompt.text == "yo"
        app.prompt.give_back("hi")
        assert app.prompt.text == "hi\nyo"


async def test_an_empty_prompt_is_not_sent() -> None:
    app = ChatApp()
    async with app.run_test() as pilot:
        await pilot.press("enter", "space", "ctrl+j", "enter")
        await pilot.pause()
        assert app.chat.sent == []


async def test_the_registrys_keys_begin_a_new_line() -> None:
    app = ChatApp()
    async with app.run_test() as pilot:
        await pilot.press("a", "ctrl+j", "b", "shift+enter", "c", "alt+enter", "d", "enter")
        await pilot.pause()
        assert app.chat.sent == ["a\nb\nc\nd"]


async def test_a_pasted_text_is_kept_as_it_is_and_not_sent() -> None:
    app = ChatApp()
    async with app.run_test() as pilot:
        await paste(pilot, "def f():\n\treturn 1\n\n/help\n")
        assert app.prompt.text == "def f():\n\treturn 1\n\n/help\n"
        assert app.chat.sent == []


async def test_it_grows_with_its_text_to_eight_rows_and_shrinks_again() -> None:
    app = ChatApp()
    async with app.run_test(size=(60, 20)) as pilot:
        heights = []
        for text in ("", "a\nb\nc", "word " * 30, "\n" * 20, "a"):
            app.prompt.text = text
            await pilot.pause()
            heights.append(app.prompt.content_size.height)
        assert heights == [1, 3, 3, 8, 1]


async def test_control_characters_are_shown_and_not_obeyed() -> None:
    app = ChatApp()
    async with app.run_test() as pilot:
        app.prompt.text = "\x1b[31m\x9b\u202e\x7f"
        await pilot.pause()
        drawn = "".join(segment.text for segment in app.prompt.render_line(0))
        assert "\u241b[31m\ufffd\ufffd\u2421" in drawn
        await pilot.press("enter")
        await pilot.pause()
        assert app.chat.sent == ["\x1b[31m\x9b\u202e\x7f"]


async def test_up_and_down_walk_the_earlier_prompts_and_what_was_typed_comes_back() -> None:
    app = ChatApp(["first", "second\nline"])
    async with app.run_test() as pilot:
        await pilot.press("n", "e", "w")
        seen = []
        for key in ("up", "up", "up", "down", "down", "down"):
            await pilot.press(key)
            seen.append(app.prompt.text)
        assert seen == ["second\nline", "first", "first", "second\nline", "new", "new"]


async def test_a_change_to_an_earlier_prompt_is_kept_while_walking() -> None:
    app = ChatApp(["first", "second"])
    async with app.run_test() as pilot:
        await pilot.press("up", "!", "up", "down")
        assert app.prompt.text == "second!"
        app.prompt.clear()
        await pilot.press("up")
        assert app.prompt.text == "second"


async def test_up_moves_within_a_text_before_it_leaves_it() -> None:
    app = ChatApp(["first"])
    async with app.run_test(size=(40, 20)) as pilot:
        app.prompt.text = "a\n" + "word " * 12
        await pilot.pause()
        for _ in range(2):
            await pilot.press("up")
        assert app.prompt.text.startswith("a\n")
        assert app.prompt.cursor_location[0] == 0
        await pilot.press("up")
        assert app.prompt.text == "first"


async def test_a_text_put_in_by_the_app_ends_the_walk() -> None:
    app = ChatApp(["first", "second"])
    async with app.run_test() as pilot:
        await pilot.press("up", "up")
        app.prompt.text = "edited"
        assert app.prompt.cursor_location == (0, 6)
        await pilot.press("up")
        assert app.prompt.text == "second"


async def test_commands_are_suggested_while_one_is_typed() -> None:
    app = ChatApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash")
        await pilot.pause()
        assert len(app.suggested) == 7
        assert "more" in app.suggested[-1]
        await pilot.press("d", "r")
        await pilot.pause()
        assert app.suggested == ["  /draft auto|model|ngram|off  Choose who drafts."]
        await pilot.press("a", "f", "t", "space", "o")
        await pilot.pause()
        assert len(app.suggested) == 1
        for text in ("//draft", "draft", "/zzz", ""):
            app.prompt.text = text
            await pilot.pause()
            assert app.suggested == []


async def test_tab_completes_one_command_after_the_other() -> None:
    app = ChatApp()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("slash", "s", "e")
        seen = []
        for _ in range(6):
            await pilot.press("tab")
            seen.append(app.prompt.text)
        assert seen == ["/sessions", "/search ", "/seed ", "/set ", "/settings", "/sessions"]
        await pilot.pause()
        assert app.suggested[0].startswith("\u25b8 /sessions")
        assert app.focused is app.prompt


async def test_tab_moves_the_focus_where_nothing_can_be_completed() -> None:
    for text in ("hello", "//draft", "/draft o", ""):
        app = ChatApp()
        async with app.run_test() as pilot:
            app.prompt.text = text
            await pilot.press("tab")
            assert app.focused is not app.prompt


async def test_the_keys_of_the_screen_pass_the_prompt_by() -> None:
    anywhere = [action for action in ACTIONS if action.where == "anywhere" and action.keys and action.id != "palette"]
    app = ChatApp()
    async with app.run_test() as pilot:
        app.prompt.text = "some text"
        for action in anywhere:
            for key in action.keys.split(","):
                await pilot.press(key)
        assert app.chat.done == [action.id for action in anywhere for _ in action.keys.split(",")]
        assert app.prompt.text == "some text"


async def test_keys_can_be_changed_for_the_prompt_and_for_the_screen() -> None:
    keys = {"send": "ctrl+t", "newline": "enter", "history_previous": "ctrl+k", "retry": "ctrl+e", "editor": "none"}
    app = ChatApp(["first"], keys)
    async with app.run_test() as pilot:
        app.prompt.set_keys(keys)
        await pilot.press("a", "enter", "b", "ctrl+e", "ctrl+g", "ctrl+t")
        await pilot.pause()
        assert app.chat.sent == ["a\nb"]
        assert app.chat.done == ["retry"]
        app.prompt.clear()
        await pilot.press("ctrl+k")
        assert app.prompt.text == "first"


async def test_the_palette_lists_every_action_and_runs_the_one_that_was_picked() -> None:
    app = ChatApp(keys={"retry": "ctrl+t"})
    async with app.run_test(size=(120, 40)) as pilot:
        provider = ActionProvider(app.chat)
        await provider.startup()
        found = {str(hit.text): hit.help or "" async for hit in provider.discover()}
        assert list(found) == [action.title for action in ACTIONS]
        assert found["Regenerate"].endswith("Ctrl+T  /retry")
        assert found["Fork"].endswith("/fork")
        await pilot.press("ctrl+p", *"roundinsp")
        for _ in range(100):
            await pilot.pause(0.02)
            if app.screen.query("OptionList") and app.screen.query_one("OptionList").display:
                break
        await pilot.press("down", "enter", "enter")
        for _ in range(100):
            await pilot.pause(0.02)
            if "rounds" in app.chat.done:
                break
        assert "rounds" in app.chat.done
