"""On a terminal: control characters are shown, marks tell the sources apart, progress is shown and taken away again."""

from __future__ import annotations

import pytest
from tests.app.harness import Terminal

ASK = ("-p", "hello", "--target", "x")


def test_control_characters_of_the_model_are_shown_not_obeyed() -> None:
    with Terminal("unsafe", *ASK) as screen:
        assert screen.wait() == 0
        assert "a\u241b[31m\tb\u240d\\u009b\\u202e\r\nc\r\n" in screen.shown


def test_json_on_a_terminal_is_ascii() -> None:
    with Terminal("unsafe", *ASK, "--json") as screen:
        assert screen.wait() == 0
        assert "\\u009b\\u202e" in screen.shown
        assert "\x9b" not in screen.shown


def test_marks_show_each_source_in_colour_and_style_with_a_legend() -> None:
    with Terminal("stream", *ASK, "--marks") as screen:
        assert screen.wait() == 0
    answer = "\x1b[4;34mw0 \x1b[0m\x1b[3;4;33mw1 \x1b[0m\x1b[1;31mw2 \x1b[0m\x1b[3;32mw3 \x1b[0mw4 \r\n"
    legend = "\x1b[4;34mdraft\x1b[0m 1  \x1b[3;4;33mn-gram\x1b[0m 1  \x1b[1;31mcorrected\x1b[0m 1  \x1b[3;32mbonus\x1b[0m 1  target 1\r\n"
    assert answer + legend in screen.shown


def test_marks_without_colour_are_text_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal("stream", *ASK, "--marks") as screen:
        assert screen.wait() == 0
    assert "\x1b[4mw0 \x1b[0m\x1b[3;4mw1 \x1b[0m\x1b[1mw2 \x1b[0m\x1b[3mw3 \x1b[0mw4 \r\n" in screen.shown


def test_load_progress_is_shown_and_taken_away() -> None:
    with Terminal("stream", *ASK) as screen:
        assert screen.wait() == 0
    progress = "weights 1 of 2 GB"
    assert f"\r{progress}\r{' ' * len(progress)}\r" in screen.shown


def test_without_a_prompt_a_dumb_terminal_is_told_the_two_ways_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Terminal("crash-load") as screen:
        assert screen.wait() == 2
        assert "specchat -p TEXT" in screen.shown
        assert "specchat --plain" in screen.shown
        assert screen.shown.count("\n") == 1


def test_options_for_an_answer_do_not_open_the_app() -> None:
    with Terminal("crash-load", "--json") as screen:
        assert screen.wait() == 2
        assert "--json needs a prompt" in screen.shown


def test_a_dash_reads_the_prompt_from_the_terminal() -> None:
    with Terminal("echo", "-p", "-", "--target", "x") as screen:
        screen.type("typed\n\x04")
        assert screen.wait() == 0
        assert "[1] typed\r\n" in screen.shown
