"""The registry of actions, its keys and its slash commands."""

from __future__ import annotations

from collections import Counter

import pytest
from textual.binding import Binding

from specchat.tui.actions import ACTIONS, BY_ID, BY_SLASH, Command, commands_beginning, parse_prompt
from specchat.tui.keys import bindings, check_keymap, effective_keys, key_text, keymap
from specdec.errors import UsageError


def test_ids_titles_and_commands_are_unique() -> None:
    for names in (
        [action.id for action in ACTIONS],
        [action.title for action in ACTIONS],
        [action.slash for action in ACTIONS if action.slash],
    ):
        assert max(Counter(names).values()) == 1


def test_the_registrys_own_keys_are_keys_and_do_not_collide() -> None:
    assert check_keymap({action.id: action.keys for action in ACTIONS if action.keys}) == []


def test_every_action_can_be_reached_and_says_what_it_does() -> None:
    for action in ACTIONS:
        assert action.keys or action.slash
        assert action.help.endswith(".")


@pytest.mark.parametrize(
    ("text", "action_id", "argument"),
    [
        ("/help", "help", ""),
        ("/HELP ", "help", ""),
        ("/set temperature 0.7", "set", "temperature 0.7"),
        ("/system\nBe brief.\nBe kind.", "system", "Be brief.\nBe kind."),
        ("/clear", "new", ""),
        ("/model qwen3", "pairs", "qwen3"),
    ],
)
def test_a_slash_calls_an_action(text: str, action_id: str, argument: str) -> None:
    assert parse_prompt(text) == Command(BY_ID[action_id], argument)


@pytest.mark.parametrize(("text", "sent"), [("hello", "hello"), ("//etc/hosts", "/etc/hosts"), (" /help", " /help"), ("", "")])
def test_other_text_is_sent(text: str, sent: str) -> None:
    assert parse_prompt(text) == sent


@pytest.mark.parametrize(("text", "hint"), [("/hlep", "/help"), ("/zzzz", "/help lists"), ("/", "/help lists")])
def test_an_unknown_command_names_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_prompt(text)
    assert hint in caught.value.next_step
    assert "//" in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/se", ["sessions", "search", "seed", "set", "settings"]),
        ("/DRAFT", ["draft"]),
        ("/draft ", ["draft"]),
        ("/draft mo", ["draft"]),
        ("/dra mo", []),
        ("//se", []),
        ("se", []),
        ("", []),
        ("/zz", []),
    ],
)
def test_the_commands_that_a_prompt_may_begin(text: str, names: list[str]) -> None:
    assert [name for name, _ in commands_beginning(text)] == names


def test_a_slash_alone_may_begin_every_command() -> None:
    assert dict(commands_beginning("/")) == BY_SLASH


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("ctrl+j,shift+enter", "Ctrl+J, Shift+Enter"),
        ("pageup", "PgUp"),
        ("f1", "F1"),
        ("c", "c"),
        ("left_square_bracket", "["),
        ("ctrl+backslash", "Ctrl+\\"),
        ("", ""),
    ],
)
def test_keys_as_people_write_them(keys: str, text: str) -> None:
    assert key_text(keys) == text


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("ctrl+t", "ctrl+t"),
        ("Shift+Ctrl+K", "ctrl+shift+k"),
        ("alt+;", "alt+semicolon"),
        ("ctrl++", "ctrl+plus"),
        ("esc", "escape"),
        ("F9, alt+pgdn", "f9,alt+pagedown"),
        ("f9,f9", "f9"),
        ("none", "no_key_retry"),
        ("", "no_key_retry"),
    ],
)
def test_keys_as_users_may_write_them(written: str, key: str) -> None:
    keys = {"retry": written, "stop": "none"}
    assert check_keymap(keys) == []
    assert keymap(keys)["retry"] == key


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"retyr": "f9"}, "keys.retyr: there is no such action; did you mean retry?"),
        ({"zzzz": "f9"}, "keys.zzzz: there is no such action."),
        ({"retry": "f99"}, "keys.retry: 'f99' is not a key"),
        ({"retry": "f9,,"}, "keys.retry: '' is not a key"),
        ({"retry": "strg+k"}, "keys.retry: 'strg+k' is not a key"),
        ({"retry": "x"}, "keys.retry: a key that types a character would be lost to the prompt"),
        ({"send": "space"}, "keys.send: a key that types a character"),
        ({"retry": "f3"}, "keys.retry: F3 belongs to statistics already"),
        ({"retry": "enter"}, "keys.retry: Enter belongs to send already"),
        ({"retry": "f9", "fork": "f9"}, "keys.fork: F9 belongs to retry already"),
        ({"copy_message": "b"}, "keys.copy_message: b belongs to copy_block already"),
    ],
)
def test_what_is_wrong_with_keys_is_said_and_the_action_keeps_its_own(keys: dict[str, str], said: str) -> None:
    (sentence,) = check_keymap(keys)
    assert sentence.startswith(said)
    wrong = said.split(":")[0].removeprefix("keys.")
    assert wrong not in keymap(keys)
    assert effective_keys(keys).get(wrong, "") == (BY_ID[wrong].keys if wrong in BY_ID else "")


@pytest.mark.parametrize(
    "keys",
    [{"statistics": "f4", "markdown": "f3"}, {"copy_message": "y", "send": "ctrl+t"}, {"stop": "none", "retry": "escape"}, {"edit": "up"}],
)
def test_keys_that_were_given_up_are_free(keys: dict[str, str]) -> None:
    assert check_keymap(keys) == []
    assert {key: value for key, value in effective_keys(keys).items() if key in keys} == {
        key: "" if value == "none" else value for key, value in keys.items()
    }


def test_every_binding_runs_its_action_under_its_id() -> None:
    every = [*bindings("anywhere"), *bindings("prompt"), *bindings("message")]
    made = {binding.id: binding for binding in every if isinstance(binding, Binding)}
    assert made.keys() == BY_ID.keys()
    for action_id, binding in made.items():
        assert binding.action.removeprefix("screen.") == f"do('{action_id}')"
        assert binding.tooltip == BY_ID[str(action_id)].help
