"""The one-shot command line as a user meets it: text, JSON, options, exit codes, errors, interruption."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.app.harness import command, specchat, wait_until_gone
from tests.hub_server import running_hub
from tests.model_files import model_files

from specchat import __version__
from specdec.events import PROTOCOL_VERSION

ASK = ("-p", "hello", "--target", "x")


def started(*arguments: str, argument: str = "", mode: str = "stall") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(mode, *arguments, argument=argument), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def read_until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    assert process.stdout is not None
    read = b""
    while text not in read:
        byte = process.stdout.read(1)
        assert byte, read
        read += byte
    return read


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


def test_the_answer_goes_to_stdout_and_notes_to_stderr() -> None:
    result = specchat("stream", *ASK)
    assert result.code == 0
    assert result.out == "w0 w1 w2 w3 w4 \n"
    assert result.err == "specchat: note: The draft is a warning.\n"


def test_the_answer_is_streamed() -> None:
    process = started(*ASK)
    assert read_until(process, b"w2 ") == b"w0 w1 w2 "
    process.send_signal(signal.SIGINT)
    ended(process)


@pytest.mark.parametrize(
    ("arguments", "stdin", "prompt"),
    [
        (("-p", "hello"), b"", "hello"),
        (("-p", "hello"), b"a file\n\n", "hello\n\na file"),
        (("-p", "-"), "Grüße\nan alle\n".encode(), "Grüße\nan alle"),
        ((), b"  piped\n", "  piped"),
    ],
)
def test_the_prompt_is_the_option_the_pipe_or_both(arguments: tuple[str, ...], stdin: bytes, prompt: str) -> None:
    result = specchat("echo", "--target", "x", *arguments, stdin=stdin)
    assert result.out == f"[1] {prompt}\n"


def request_of(*arguments: str) -> dict[str, Any]:
    result = specchat("report", "-p", "hello", *arguments)
    assert result.code == 0, result.err
    request: dict[str, Any] = json.loads(result.out)
    return request


def test_every_option_reaches_the_engine() -> None:
    options = (
        "--draft-model int4 --draft model --draft-tokens 3 --accept threshold:0.5 --exact off --max-tokens 9 --temperature 0.5 --top-k 4"
    )
    more = "--top-p 0.9 --min-p 0.1 --repetition-penalty 1.2 --seed 5 --system be-brief --stop A --stop B --context 64 --dtype float32"
    request = request_of("--target", "x", *options.split(), *more.split())
    load = {"target": "x", "draft": "int4", "dtype": "float32", "context": 64, "exact": "off"}
    assert load.items() <= request["load"].items()
    assert request["chat"] == {
        "type": "chat",
        "messages": [{"role": "system", "content": "be-brief"}, {"role": "user", "content": "hello"}],
        "sampling": {"temperature": 0.5, "top_k": 4, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2, "seed": 5},
        "drafting": {"draft": "model", "draft_tokens": 3, "accept": "threshold:0.5"},
        "max_tokens": 9,
        "stop": ["A", "B"],
        "thinking": None,
    }


def test_without_options_the_model_and_the_engine_decide() -> None:
    request = request_of("--target", "x")
    assert request["load"]["draft"] is None
    assert request["chat"]["sampling"] == dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed"))
    assert request["chat"]["drafting"] == {"draft": "auto", "draft_tokens": None, "accept": "coupled"}


@pytest.fixture
def own_pairs(home: Path) -> None:
    """The user's own models.toml, with one pair of two drafts."""
    folder = home / "config" / "specchat"
    folder.mkdir(parents=True)
    (folder / "models.toml").write_text(
        """
        [pairs.own]
        title = "Own"
        target = "own/target"
        context = 512
        dtype = "bfloat16"
        license = "mit"
        drafts = [{name = "small", kind = "sibling", source = "own/small"}, {name = "four-bit", kind = "int4"}]
        """
    )


@pytest.mark.usefixtures("own_pairs")
@pytest.mark.parametrize(
    ("arguments", "draft"),
    [
        ((), "own/small"),
        (("--draft-model", "four-bit"), "int4"),
        (("--draft-model", "int4"), "int4"),
        (("--draft-model", "int4-shared-head"), "int4-shared-head"),
        (("--draft-model", "other/draft"), "other/draft"),
        (("--draft", "off"), None),
        (("--draft", "ngram"), None),
    ],
)
def test_a_pair_of_the_users_own_brings_its_drafts_and_settings(arguments: tuple[str, ...], draft: str | None) -> None:
    load = {"target": "own/target", "draft": draft, "dtype": "bfloat16", "context": 512}
    assert load.items() <= request_of("--pair", "own", *arguments)["load"].items()


@pytest.mark.usefixtures("own_pairs")
def test_options_go_before_the_settings_of_a_pair() -> None:
    load = request_of("--pair", "own", "--context", "64", "--dtype", "float32")["load"]
    assert (load["context"], load["dtype"]) == (64, "float32")
    load = request_of("--pair", "own", "--dtype", "int8", "--draft-model", "int4-shared-head")["load"]
    assert (load["dtype"], load["draft"], load["other_drafts"]) == ("int8", "int4-shared-head", ["own/small", "int4"])


@pytest.mark.usefixtures("own_pairs")
def test_short_memory_is_told_with_what_would_fit() -> None:
    result = specchat("memory-short", "--pair", "own", "-p", "hello")
    assert (result.code, result.out) == (1, "")
    assert "The pair needs 17.9 GB and the GPU has 12.0 GB free." in result.err
    assert "What would fit: no model draft with a context of 512 tokens." in result.err
    assert specchat("memory-short", "--pair", "own", "--dtype", "int8", "-p", "hello").code == 0


@pytest.mark.usefixtures("own_pairs")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pair", "own", "--target", "x"), "--pair and --target"),
        (("--pair", "nothing"), "no pair named nothing"),
        (("--pair", "own", "--draft-model", "huge"), "no draft named huge"),
        (("--target", "x", "--draft", "model"), "needs a draft model"),
        (("--target", "x", "--draft", "off", "--draft-model", "int4"), "no use with --draft off"),
        (("--target", "x", "--draft", "magic"), "--draft: input should be 'auto'"),
        (("--target", "x", "--draft-tokens", "16"), "--draft-tokens: input should be less than or equal to 15"),
        (("--target", "x", "--accept", "threshold:2"), "--accept: must be coupled, rejection or threshold:X"),
        (("--target", "x", "--exact", "maybe"), "--exact: input"),
        (("--target", "x", "--dtype", "int3"), "--dtype: input"),
        (("--target", "x", "--context", "1"), "--context: input"),
        (("--target", "x", "--temperature", "-1"), "--temperature: input"),
        (("--target", "x", "--temperature", "nan"), "--temperature: input"),
        (("--target", "x", "--top-k", "-1"), "--top-k: input"),
        (("--target", "x", "--top-p", "0"), "--top-p: input"),
        (("--target", "x", "--min-p", "2"), "--min-p: input"),
        (("--target", "x", "--repetition-penalty", "0"), "--repetition-penalty: input"),
        (("--target", "x", "--seed", "-1"), "--seed: input"),
        (("--target", "x", "--stop", ""), "--stop needs"),
        (("--json", "--jsonl"), "--json and --jsonl"),
        (("--json", "--marks"), "--marks is for text"),
        (("--plain",), "--plain is a chat"),
        (("paths",), "Options before `paths`"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = specchat("crash-load", "-p", "hello", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("specchat: ")
    assert words in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--max-tokens", "0"), ("--seed", "x"), ("--what",), ("sing",)])
def test_arguments_that_cannot_be_read_are_usage_errors(arguments: tuple[str, ...]) -> None:
    result = specchat("crash-load", *ASK, *arguments)
    assert result.code == 2
    assert arguments[0] in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("arguments", "stdin"), [(("-p", ""), b""), (("-p", " \n"), b""), (("-p", "-"), b""), ((), b""), ((), b"\n\n")])
def test_an_empty_prompt_is_a_usage_error(arguments: tuple[str, ...], stdin: bytes) -> None:
    result = specchat("crash-load", *arguments, stdin=stdin)
    assert (result.code, result.out) == (2, "")
    assert "The prompt is empty." in result.err


def test_stdin_that_is_not_utf8_is_a_usage_error_naming_the_byte() -> None:
    result = specchat("crash-load", stdin=b"abc\xff\xfe")
    assert result.code == 2
    assert "not UTF-8 at byte offset 3" in result.err


def test_an_argument_that_is_not_utf8_is_a_usage_error_naming_the_byte() -> None:
    done = subprocess.run([*map(str.encode, command("crash-load", "-p")), b"ab\xff"], input=b"", capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"Argument 2 is not UTF-8 at byte offset 2" in done.stderr


def test_json_is_one_object_with_everything_needed_to_get_the_answer_again() -> None:
    result = specchat("stream", *ASK, "--json", "--temperature", "0.5", argument="2")
    answer = json.loads(result.out)
    assert result.code == 0
    assert answer["text"] == "w0 w1 "
    assert answer["runs"] == [{"source": "draft", "text": "w0 ", "tokens": [0]}, {"source": "ngram", "text": "w1 ", "tokens": [1]}]
    assert (answer["finish"], answer["partial"], answer["error"]) == ("eos", False, None)
    assert answer["statistics"]["tokens_per_second"] == 12.5
    assert answer["settings"]["load"]["target"] == "x"
    assert (answer["settings"]["sampling"]["temperature"], answer["settings"]["sampling"]["seed"]) == (0.5, 7)
    assert answer["engine"]["exact_reason"] == "fixed rows cost 3%"
    assert answer["warnings"] == ["The draft is a warning."]
    assert answer["versions"] == {"specchat": __version__, "engine": "0.0-fake", "protocol": PROTOCOL_VERSION}


def test_jsonl_is_the_event_stream() -> None:
    result = specchat("stream", *ASK, "--jsonl", argument="2")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["type"] for event in events] == ["hello", "progress", "ready", "started", "round", "round", "done"]


def test_stats_are_a_table_on_stderr() -> None:
    result = specchat("stream", *ASK, "--stats")
    assert result.out == "w0 w1 w2 w3 w4 \n"
    for words in (
        "12.5 tokens/s, first token after 4 ms",
        "5, 1.00 tokens per round",
        "accepted 5 of 10 tested (50%)",
        "1: 5/5  2: 0/5",
        "draft 20 ms, verify 30 ms",
        "on: fixed rows cost 3%",
    ):
        assert words in result.err


@pytest.mark.parametrize("form", [(), ("--json",), ("--jsonl",), ("--marks",), ("--stats",)])
def test_there_are_no_escape_codes_in_pipes(form: tuple[str, ...]) -> None:
    result = specchat("stream", *ASK, *form)
    assert "\x1b" not in result.out + result.err


def test_model_text_in_a_pipe_is_raw() -> None:
    raw = "a\x1b[31m\tb\r\x9b\u202e\nc"
    done = subprocess.run(command("unsafe", *ASK), input=b"", capture_output=True, timeout=60)
    assert done.stdout.decode() == raw + "\n"
    assert json.loads(specchat("unsafe", *ASK, "--json").out)["text"] == raw


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("refuse", 2, "The prompt has 9000 tokens. Shorten it."),
        ("refuse-load", 1, "owner/name is not on this disk. Fetch it."),
        ("crash-load", 1, "ended by SIGKILL"),
        ("old", 1, "protocol version 99"),
        ("chatty", 1, "Not a valid protocol line"),
        ("exit", 1, 'its last words were "RuntimeError: the device is gone"'),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(mode: str, code: int, words: str) -> None:
    result = specchat(mode, *ASK)
    assert result.code == code
    errors = [line for line in result.err.splitlines() if not line.startswith("specchat: note:")]
    assert len(errors) == 1
    assert errors[0].startswith("specchat: ")
    assert words in errors[0]


def test_a_crash_keeps_the_partial_answer() -> None:
    result = specchat("crash", *ASK)
    assert (result.code, result.out) == (1, "w0 w1 w2 \n")
    assert "The engine was ended by SIGKILL." in result.err


def test_a_crash_is_told_in_json() -> None:
    result = specchat("crash", *ASK, "--json")
    answer = json.loads(result.out)
    assert result.code == 1
    assert (answer["text"], answer["partial"], answer["error"]["kind"]) == ("w0 w1 w2 ", True, "engine-lost")
    assert json.loads(specchat("crash-load", *ASK, "--json").out)["partial"] is True


def test_a_crash_is_told_in_jsonl() -> None:
    result = specchat("crash", *ASK, "--jsonl")
    last = json.loads(result.out.splitlines()[-1])
    assert (last["type"], last["kind"]) == ("error", "engine-lost")


def test_a_garbage_line_ends_the_answer_as_an_error() -> None:
    result = specchat("garbage", *ASK)
    assert (result.code, result.out) == (1, "before \n")
    assert "Not a valid protocol line" in result.err


def test_ctrl_c_stops_the_answer_and_keeps_it() -> None:
    process = started(*ASK)
    read = read_until(process, b"w2 ")
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130
    assert read.decode() + out == "w0 w1 w2 \n"
    assert "Traceback" not in err


def test_ctrl_c_leaves_a_whole_json_object(tmp_path: Path) -> None:
    answering = tmp_path / "answering"
    process = started(*ASK, "--json", argument=str(answering))
    while not answering.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    answer = json.loads(out)
    assert (code, answer["finish"], answer["text"], answer["partial"]) == (130, "stopped", "w0 w1 w2 ", False)


def test_a_second_ctrl_c_ends_an_engine_that_ignores_the_first() -> None:
    process = started(*ASK, "--jsonl", mode="ignore-stop")
    pid = json.loads(read_until(process, b"\n"))["pid"]
    read_until(process, b"w2 ")
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    code, _, err = ended(process)
    assert code == 130
    assert "Traceback" not in err
    wait_until_gone(pid)


def test_ctrl_c_while_loading_ends_the_engine_at_once() -> None:
    process = started(*ASK, "--jsonl", mode="slow-load")
    pid = json.loads(read_until(process, b"\n"))["pid"]
    read_until(process, b"weights")
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert "Traceback" not in err
    wait_until_gone(pid)


def test_a_closed_stdout_ends_everything_quietly() -> None:
    process = started(*ASK, "--jsonl", mode="stream", argument="1000000")
    pid = json.loads(read_until(process, b"\n"))["pid"]
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    wait_until_gone(pid)


def test_a_full_disk_is_an_error_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command("stream", *ASK), stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_engine_does_not_outlive_a_killed_app() -> None:
    process = started(*ASK, "--jsonl")
    pid = json.loads(read_until(process, b"\n"))["pid"]
    process.kill()
    ended(process)
    wait_until_gone(pid)


def test_paths_are_listed_and_not_made(home: Path) -> None:
    named = json.loads(specchat("stream", "paths", "--json").out)
    assert named == {
        "config": str(home / "config/specchat"),
        "pairs": str(home / "config/specchat/models.toml"),
        "sessions": str(home / "data/specchat/sessions"),
        "logs": str(home / "state/specchat/logs"),
        "models": str(home / "huggingface/hub"),
    }
    assert list(home.iterdir()) == []
    assert str(home / "data/specchat/sessions") in specchat("stream", "paths").out


def test_a_log_that_cannot_be_written_is_named_and_stops_nothing(home: Path) -> None:
    (home / "state").write_text("in the way")
    result = specchat("stream", *ASK)
    assert (result.code, result.out) == (0, "w0 w1 w2 w3 w4 \n")
    assert str(home / "state") in result.err
    assert "last words are lost" in result.err


def test_pairs_are_listed(home: Path) -> None:
    result = specchat("stream", "pairs", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)[0]["name"] == "demo"
    assert re.search(r"^demo ", specchat("stream", "pairs").out, re.MULTILINE)


def test_pulling_an_unknown_pair_is_a_usage_error() -> None:
    result = specchat("stream", "pull", "nothing-like-it")
    assert result.code == 2
    assert result.err.startswith("specchat: There is no pair named nothing-like-it.")


@pytest.mark.usefixtures("own_pairs")
def test_pull_fetches_a_pair_and_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        hub.repositories = {"own/target": model_files(weights=b"0" * 10**6), "own/small": model_files()}
        hub.seconds_per_chunk = 0.1
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        process = started("pull", "own", mode="crash-load")
        while not hub.sent:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
        assert (code, out) == (130, "")
        assert err.startswith("specchat: The download of own/target was cancelled")
        hub.seconds_per_chunk = 0
        assert specchat("crash-load", "pull", "own").out == "Fetched own/target, own/small; the pair own is ready.\n"
        assert "nothing to fetch" in specchat("crash-load", "pull", "own", "--draft", "four-bit").out


def test_the_version_is_told() -> None:
    assert specchat("stream", "--version").out == f"specchat {__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "specchat", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: specchat ")
