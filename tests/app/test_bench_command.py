"""`specchat bench` and `specchat estimate` as a user meets them: output, exit codes, errors, interruption."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.app.harness import FAKE_ENGINE, Terminal, command, specchat

from specchat.bench.record import Record
from specchat.client import EngineClient
from specdec.events import Inspect, Inspected

SHORT = ("bench", "--category", "chat", "--per-category", "1", "--repeats", "1")
ANSWERS = 12


def stalled(tmp_path: Path, answers: int, *arguments: str, mode: str = "bench-stall") -> subprocess.Popen[bytes]:
    """A benchmark that has stopped giving answers after so many."""
    reached = tmp_path / "reached"
    process = subprocess.Popen(
        command(mode, *SHORT, *arguments, argument=f"{answers}:{reached}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not reached.exists():
        time.sleep(0.02)
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


def test_tables_go_to_stdout_and_notes_to_stderr() -> None:
    result = specchat("bench-without", *SHORT, argument="int4")
    assert result.code == 0, result.err
    assert "| sibling | 160.0 | 1.60x | 1.60 to 1.60 |" in result.out
    assert "- int4: The tokenizers differ.\n" in result.out
    assert f"- answers: {ANSWERS - 2} of {ANSWERS - 2}\n" in result.out
    assert result.err == "specchat: note: int4 is left out: The tokenizers differ.\nspecchat: note: The draft is a warning.\n"


def test_a_pair_without_drafts_is_measured_and_that_is_said() -> None:
    result = specchat("x", *SHORT, "--draft-model", "none")
    assert result.code == 0
    assert "There is no draft model" in result.err
    assert "| auto |" in result.out


def test_json_on_stdout_stands_alone() -> None:
    result = specchat("x", *SHORT, "--json", "-")
    kept = Record.model_validate_json(result.out)
    assert (result.code, kept.answers, len(kept.measured), kept.interrupted, kept.error) == (0, ANSWERS, ANSWERS, False, None)
    assert kept.versions["engine"] == "0.0-fake"


def test_a_json_file_is_written_beside_the_tables(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text("old")
    result = specchat("x", *SHORT, "--json", str(file), "--seed", "7")
    assert (result.code, Record.model_validate_json(file.read_text()).settings.seed) == (0, 7)
    assert result.out.startswith("## Speed")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["bench.json"]


def test_plots_are_drawn_on_request(tmp_path: Path) -> None:
    assert specchat("x", *SHORT, "--plots", str(tmp_path / "new" / "plots")).code == 0
    assert len(list((tmp_path / "new" / "plots").iterdir())) == 6


@pytest.mark.parametrize(("method", "code"), [("nobody", 0), ("sibling", 1), ("auto", 1), ("plain", 1), ("transformers", 0)])
def test_check_fails_for_a_changed_text_alone(method: str, code: int) -> None:
    result = specchat("bench-differ", *SHORT, "--check", "--against", "transformers", argument=method)
    assert result.code == code
    first = f'{method}, prompt 1, temperature 0: token 6 differs: "w0 w1 w2 w3 w4 \\nother" instead of "w0 w1 w2 w3 w4 w5 w6 w7 ".'
    assert (f"specchat: A text is not plain decoding's. {first}\n" in result.err) == (code == 1)
    assert (first in result.out) == (method != "nobody")


def test_without_check_a_changed_text_is_told_and_no_failure() -> None:
    result = specchat("bench-differ", *SHORT, argument="sibling")
    assert result.code == 0
    assert "- sibling, prompt 1, temperature 0: token 6 differs" in result.out


def test_ctrl_c_reports_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    process = stalled(tmp_path, 9, "--json", str(file))
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130
    assert "Ending after the answer under way" in err
    assert "| sibling | 160.0 |" in out
    assert "| int4 |" not in out
    assert f"- answers: 9 of {ANSWERS} (ended early)\n" in out
    kept = Record.model_validate_json(file.read_text())
    assert (kept.interrupted, len(kept.measured)) == (True, 9)


def test_a_second_ctrl_c_ends_at_once_and_reports_too(tmp_path: Path) -> None:
    process = stalled(tmp_path, 9, mode="bench-ignore-stop")
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    code, out, err = ended(process)
    assert code == 130
    assert "| sibling | 160.0 |" in out
    assert "Traceback" not in err


def test_ctrl_c_in_the_warm_up_leaves_no_figures(tmp_path: Path) -> None:
    process = stalled(tmp_path, 3)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, "tok/s" in out) == (130, False)
    assert "there are no figures" in err


def test_a_crash_reports_what_was_measured_and_the_reason() -> None:
    result = specchat("bench-crash", *SHORT, argument="9")
    assert result.code == 1
    assert "| sibling | 160.0 |" in result.out
    assert "The engine was ended by SIGKILL" in result.err


def test_an_engine_that_refuses_is_an_error_alone() -> None:
    result = specchat("refuse", *SHORT, "--json", "-")
    assert (result.code, result.out) == (2, "")
    assert result.err == "specchat: Prompt 1: The prompt has 9000 tokens. Shorten it.\n"


def test_a_file_that_cannot_be_written_any_more_leaves_the_tables(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    process = stalled(tmp_path, 9, "--json", str(folder / "bench.json"))
    folder.rmdir()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, "| sibling | 160.0 |" in out) == (1, True)
    assert "cannot be written" in err


def test_bad_options_are_one_line_and_start_nothing() -> None:
    for arguments in (("--repeats", "0"), ("--category", "poetry"), ("--json", "-", "--markdown"), ("--sweep", "top-k=1")):
        result = specchat("mute", "bench", *arguments)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)


def test_on_a_terminal_too_narrow_for_them_tables_are_markdown_and_the_bar_is_gone() -> None:
    with Terminal("x", *SHORT) as screen:
        assert screen.wait() == 0
    _, _, after = screen.shown.partition("## Speed")
    assert "| sibling | 160.0 |" in after
    assert "\x1b" not in after


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


@pytest.mark.usefixtures("wide")
def test_on_a_wide_terminal_tables_are_drawn_unless_markdown_is_asked_for() -> None:
    with Terminal("x", *SHORT) as screen:
        assert screen.wait() == 0
    assert re.search(r"^  sibling +160\.0 +1\.60x +1\.60 to 1\.60 ", screen.shown, re.MULTILINE)
    assert "|" not in screen.shown
    with Terminal("x", *SHORT, "--markdown") as screen:
        assert screen.wait() == 0
    assert "| sibling | 160.0 |" in screen.shown


def test_the_client_inspects_the_machine(tmp_path: Path) -> None:
    with EngineClient(tmp_path / "engine.log", [*FAKE_ENGINE, "x"]) as client:
        (event,) = client.events(client.send(Inspect()))
        assert isinstance(event, Inspected)


def test_an_estimate_of_a_length_and_of_the_best() -> None:
    assert specchat("mute", "estimate", "--acceptance", "0.5", "--cost", "0.1", "--length", "2", "--verify-cost", "1.3").out == (
        "length 2: 1.75 tokens per round, 1.17x as fast as plain decoding.\n"
        "By the formula of Leviathan, Kalman and Matias (arXiv 2211.17192), with the same acceptance rate at every position.\n"
    )
    lines = specchat("mute", "estimate", "--acceptance", "0.5", "--cost", "0.1").out.splitlines()
    assert lines[:4] == [
        "LENGTH  TOKENS/ROUND  SPEEDUP",
        "     0          1.00    1.00x",
        "     1          1.50    1.36x",
        "     2          1.75    1.46x",
    ]
    assert lines[6:8] == ["     5          1.97    1.31x", "Best: length 2: 1.75 tokens per round, 1.46x as fast as plain decoding."]
    assert "No draft of up to 15 tokens is faster" in specchat("mute", "estimate", "--acceptance", "0.1", "--cost", "0.9").out


def test_a_dear_verification_lengthens_the_best_draft_or_forbids_it() -> None:
    def best(verify_cost: str) -> int:
        result = specchat("mute", "estimate", "--acceptance", "0.5", "--cost", "0.1", "--verify-cost", verify_cost, "--json")
        return int(json.loads(result.out)["length"])

    assert [best(cost) for cost in ("0.7", "1", "1.5", "2")] == [2, 2, 3, 0]


def test_an_estimate_as_json() -> None:
    found = json.loads(specchat("mute", "estimate", "--acceptance", "1", "--cost", "0", "--length", "3", "--json").out)
    chosen = {"acceptance": 1, "cost": 0, "verify_cost": 1, "length": 3, "tokens_per_round": 4, "speedup": 4, "best": False}
    assert chosen.items() <= found.items()
    assert [row["length"] for row in found["lengths"]] == list(range(16))


@pytest.mark.parametrize(
    ("acceptance", "cost", "more"),
    [
        ("1.1", "0.1", ()),
        ("nan", "0.1", ()),
        ("0.5", "-1", ()),
        ("0.5", "inf", ()),
        ("0.5", "0.1", ("--length", "16")),
        ("0.5", "0.1", ("--length", "long")),
        ("0.5", "0.1", ("--verify-cost", "0")),
    ],
)
def test_values_that_make_no_sense_are_refused(acceptance: str, cost: str, more: tuple[str, ...]) -> None:
    result = specchat("mute", "estimate", "--acceptance", acceptance, f"--cost={cost}", *more)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
