"""The log of answers: a line of figures each, private, bounded, without text, and never in an answer's way."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.app.harness import FAKE_ENGINE

from specchat.answer_log import AnswerLog
from specchat.client import ANSWER_LOG, EngineClient
from specchat.engine_log import LIMIT_BYTES
from specchat.paths import find_paths
from specdec.errors import EngineLostError
from specdec.events import Chat, Done, Error, Event, Load, Ready, Round, Run, Started, Statistics
from specdec.options import Drafting, LoadOptions, Message, Sampling

SECRET = "xyzzy"
ASKED = Sampling(temperature=0.7)
DRAFTING = Drafting(draft="model", draft_tokens=3)
STATISTICS = Statistics(
    prompt_tokens=5,
    reused_tokens=2,
    prefill_ms=3,
    first_token_ms=4,
    answer_tokens=2,
    decode_ms=50,
    tokens_per_second=40,
    rounds=1,
    tokens_per_round=2,
    draft_ms=20,
    verify_ms=30,
    drafters={},
)
READY = Ready(
    target="owner/large",
    draft="owner/small",
    dtype="float32",
    device="cpu",
    threads=1,
    context=64,
    exact=True,
    exact_reason="asked for",
    load_ms=1,
    memory_bytes=1,
)
STARTED = Started(prompt_tokens=5, reused_tokens=2, prefill_ms=3, sampling=ASKED.model_copy(update={"seed": 7, "top_k": 0}))
ROUND = Round(
    index=0,
    drafter="sibling",
    drafted=2,
    tested=2,
    accepted=1,
    runs=(Run(source="draft", text=SECRET, tokens=(17, 18)),),
    rejected=SECRET,
    draft_ms=20,
    verify_ms=30,
)
DONE = Done(finish="eos", statistics=STATISTICS)


def logged(*events: Event, lost: EngineLostError | None = None, path: Path | None = None) -> Path:
    """The log after one answer of these events."""
    path = path or find_paths().engine_log.with_name(ANSWER_LOG)
    log = AnswerLog(path)
    log.heard(READY)
    log.asked(Chat(id=1, messages=(Message(role="user", content=SECRET),), sampling=ASKED, drafting=DRAFTING))
    for event in events:
        log.heard(event.model_copy(update={"id": 1}))
    if lost:
        log.lost(Error.of(lost))
    return path


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="ascii").splitlines()]


def test_a_line_holds_what_was_asked_for_used_and_spent_but_no_text() -> None:
    log = logged(STARTED, ROUND, DONE)
    (line,) = lines(log)
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "target": "owner/large",
        "draft": "owner/small",
        "drafting": {"draft": "model", "draft_tokens": 3, "accept": "coupled"},
        "sampling": {"temperature": 0.7, "top_k": 0, "top_p": None, "min_p": None, "repetition_penalty": None, "seed": 7},
        "finish": "eos",
        "error": None,
        "statistics": STATISTICS.model_dump(),
    }
    assert SECRET not in log.read_text()


def test_an_answer_that_failed_is_logged_with_the_kind_of_its_error_alone() -> None:
    log = logged(STARTED, ROUND, lost=EngineLostError(f'The engine ended; its last words were "{SECRET}".'))
    (line,) = lines(log)
    assert (line["finish"], line["statistics"], line["error"]) == (None, None, "engine-lost")
    assert line["sampling"]["seed"] == 7
    assert SECRET not in log.read_text()


def test_an_answer_that_never_began_is_logged_with_what_was_asked_for() -> None:
    (line,) = lines(logged(Error(kind="usage", cause=SECRET)))
    assert (line["error"], line["sampling"]) == ("usage", ASKED.model_dump())


def test_lines_are_added_to_a_private_file_beside_the_engines_log() -> None:
    logged(DONE)
    log = logged(DONE)
    assert len(lines(log)) == 2
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent == find_paths().engine_log.parent


def test_a_log_that_has_grown_too_large_is_set_aside() -> None:
    log = logged(DONE)
    log.write_bytes(b"x" * (LIMIT_BYTES + 1))
    assert len(lines(logged(DONE))) == 1
    assert log.with_name("answers.jsonl.1").stat().st_size == LIMIT_BYTES + 1


def test_a_log_that_cannot_be_opened_harms_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    logged(DONE, path=blocked / "logs" / "answers.jsonl")
    assert blocked.read_text() == "a file where a folder should be"


def test_a_full_disk_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").symlink_to("/dev/full")
    logged(DONE, path=tmp_path / "answers.jsonl")


def test_every_answer_of_an_engine_is_logged(tmp_path: Path) -> None:
    with EngineClient(tmp_path / "engine.log", [*FAKE_ENGINE, "stream", "2"]) as client:
        list(client.events(client.send(Load(options=LoadOptions(target="builtin:demo/target")))))
        for _ in range(2):
            list(client.events(client.send(Chat(messages=(Message(role="user", content=SECRET),)))))
    found = lines(tmp_path / ANSWER_LOG)
    assert [line["finish"] for line in found] == ["eos", "eos"]
    assert all(line["target"] and line["statistics"]["answer_tokens"] for line in found)
