"""The line-mode chat, through pipes and on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.app.harness import Terminal, specchat

PLAIN = ("--plain", "--target", "x")


def test_each_line_is_answered_in_one_conversation() -> None:
    result = specchat("echo", *PLAIN, stdin=b"one\n\ntwo\nthree")
    assert (result.code, result.out) == (0, "[1] one\n[3] two\n[5] three\n")


def test_a_trailing_backslash_goes_on_in_the_next_line() -> None:
    assert specchat("echo", *PLAIN, stdin=b"one\\\ntwo\nthree\\").out == "[1] one\ntwo\n[3] three\n"


def test_new_forgets_and_quit_ends() -> None:
    assert specchat("echo", *PLAIN, stdin=b"one\n/new\ntwo\n/quit\nthree\n").out == "[1] one\n[1] two\n"


def test_seed_holds_for_the_answers_after_it() -> None:
    result = specchat("report", *PLAIN, "--temperature", "0.5", stdin=b"/seed 5\none\n")
    sampling = json.loads(result.out)["chat"]["sampling"]
    assert (sampling["seed"], sampling["temperature"]) == (5, 0.5)


def test_stats_shows_what_the_last_answer_cost() -> None:
    result = specchat("echo", *PLAIN, stdin=b"/stats\none\n/stats\n")
    assert result.err.count("12.5 tokens/s") == 1


def test_commands_that_are_not_understood_are_explained() -> None:
    result = specchat("echo", *PLAIN, stdin=b"/sing\n/seed x\n /a path\n")
    assert result.out == "[1]  /a path\n"
    assert "Commands: /new" in result.err
    assert "--seed: input should be" in result.err


def test_an_error_leaves_the_chat_going_and_shows_in_the_exit_code() -> None:
    result = specchat("refuse", *PLAIN, stdin=b"one\ntwo\n")
    assert result.code == 1
    assert result.err.count("The prompt has 9000 tokens.") == 2


def test_a_lost_engine_is_started_again_and_the_partial_answer_is_kept(tmp_path: Path) -> None:
    result = specchat("crash-once", *PLAIN, argument=str(tmp_path / "crashed"), stdin=b"one\ntwo\n")
    assert result.out == "w0 w1 w2 \n[3] two\n"
    assert result.err.count("ended by SIGKILL") == 1


def test_a_line_that_is_not_utf8_is_a_usage_error() -> None:
    result = specchat("echo", *PLAIN, stdin=b"one\na\xff\n")
    assert (result.code, result.out) == (2, "[1] one\n")
    assert "not UTF-8 at byte offset 1" in result.err


def test_ctrl_c_stops_the_answer_and_ctrl_d_ends_the_chat() -> None:
    with Terminal("stall", *PLAIN) as screen:
        screen.read_until("> ")
        screen.type("hello\n")
        screen.read_until("w2 ")
        screen.type("\x03")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.wait() == 0


def test_ctrl_c_at_the_prompt_gives_a_new_one() -> None:
    with Terminal("echo", *PLAIN) as screen:
        screen.read_until("> ")
        screen.press_until("\x03", "> ")


def test_a_second_ctrl_c_ends_an_engine_that_ignores_the_first_and_the_chat_goes_on() -> None:
    with Terminal("ignore-stop", *PLAIN) as screen:
        screen.read_until("> ")
        screen.type("hello\n")
        screen.read_until("w2 ")
        screen.press_until("\x03", "starts again with the next message")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.wait() == 0


def test_a_dumb_terminal_gets_no_escape_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Terminal("echo", *PLAIN) as screen:
        shown = screen.read_until("> ")
        screen.type("hello\n")
        shown += screen.read_until("[1] hello")
        screen.type("/quit\n")
        assert screen.wait() == 0
        assert "\x1b" not in shown + screen.shown
