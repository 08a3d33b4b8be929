"""`specchat doctor` from end to end of the app, with a scripted engine: what it asks, prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest
import typer
from tests.app.test_doctor_report import CPU, FIGURES, PLAIN, STARTED
from tests.hub_server import point_at
from typer.testing import CliRunner, Result

import specchat.client
import specdec.free_memory
from specchat import __version__
from specchat.doctor import examination
from specchat.doctor.command import examine_machine
from specdec.benchmark.diagnosis import Finding, diagnose
from specdec.benchmark.plan import BenchPlan
from specdec.benchmark.summary import OVERALL, Key, summarise
from specdec.errors import EngineLostError
from specdec.events import (
    PROTOCOL_VERSION,
    Bench,
    BenchDone,
    Error,
    Event,
    Hello,
    Inspect,
    Inspected,
    Measured,
    Progress,
    Request,
    Statistics,
)
from specdec.memory import Memory

GB = 10**9
FINDING = Finding("draft too slow", "0.62 of a plain step", "It costs too much.", "Try a smaller draft.")
ANSWER = Measured(
    method="plain",
    temperature=0,
    prompt="chat",
    category="chat",
    repeat=1,
    tokens=(1,),
    text="a",
    finish="eos",
    statistics=Statistics(
        prompt_tokens=1,
        reused_tokens=0,
        prefill_ms=1,
        first_token_ms=1,
        answer_tokens=1,
        decode_ms=1,
        tokens_per_second=1000,
        rounds=1,
        tokens_per_round=1,
        draft_ms=0,
        verify_ms=1,
        drafters={},
    ),
    round_tokens=(1,),
    round_ms=(1.0,),
    memory_bytes=1,
)
INSPECTED = [Inspected(facts=CPU)]
WHOLE: list[Event] = [Progress(stage="target", done=1, total=2), STARTED, ANSWER, ANSWER, BenchDone(stopped=False)]


class FakeClient:
    """Answers each request with the events that are scripted for it, then raises what is scripted to be raised."""

    inspected: list[Event]
    benched: list[Event]
    lost: EngineLostError | None
    during: Callable[[FakeClient], None]
    requests: list[Request]
    stopped: bool
    killed: bool

    hello = Hello(version="0.0-fake")

    def __init__(self, log: Path, command: object) -> None:
        self.log = log

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        FakeClient.requests.append(None)  # type: ignore[arg-type]

    def send(self, request: Request) -> int:
        self.requests.append(request)
        return len(self.requests)

    def events(self, request_id: int) -> Iterator[Event]:
        request = self.requests[request_id - 1]
        if isinstance(request, Inspect):
            yield from self.inspected
            return
        for event in self.benched:
            if isinstance(event, BenchDone):
                type(self).during(self)
                event = BenchDone(stopped=event.stopped or self.stopped)
            yield event
        if self.lost:
            type(self).during(self)
            raise self.lost

    def stop(self, request_id: int) -> None:
        FakeClient.stopped = True

    def kill(self) -> None:
        FakeClient.killed = True


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeClient]]:
    """The scripted engine in place of the real one, on a machine with a known amount of memory."""
    point_at("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    FakeClient.inspected, FakeClient.benched, FakeClient.lost = list(INSPECTED), list(WHOLE), None
    FakeClient.requests, FakeClient.stopped, FakeClient.killed = [], False, False
    FakeClient.during = lambda _client: None
    monkeypatch.setattr(specchat.client, "EngineClient", FakeClient)
    monkeypatch.setattr(specdec.free_memory, "free_memory", lambda device: Memory("cpu", 22 * GB, 25 * GB))
    monkeypatch.setattr(examination, "summarise", lambda measured: FIGURES if measured else {})
    monkeypatch.setattr(examination, "diagnose", lambda figures, temperature, facts, need: [FINDING] if figures else [])
    handler = signal.getsignal(signal.SIGINT)
    yield FakeClient
    signal.signal(signal.SIGINT, handler)


def doctor(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("doctor")(examine_machine)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def press(times: int, until: Callable[[], bool]) -> None:
    """Press Ctrl+C some times and wait for what that does."""
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    for _ in range(500):
        if until():
            return
        time.sleep(0.01)
    pytest.fail("Ctrl+C did nothing")


def plan_of(engine: type[FakeClient]) -> BenchPlan:
    (bench,) = (request for request in engine.requests if isinstance(request, Bench))
    return bench.plan


def test_everything_is_told_in_sections_and_findings_are_no_failure() -> None:
    result = doctor()
    assert result.exit_code == 0
    assert result.stderr == ""
    sections = [section.splitlines()[0] for section in result.stdout.split("\n\n") if section.strip()]
    assert sections == ["Machine", "Pair demo", "Speculation: 7 prompts, 64 tokens each, greedy, 3 repeats", "Diagnosis"]
    assert "1. draft too slow: 0.62 of a plain step" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_where_nothing_holds_it_back_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "diagnose", lambda *_: [])
    result = doctor()
    assert result.exit_code == 0
    assert result.stdout.endswith("Diagnosis\n  All is well: speculation gains here what it can.\n\n")


def test_the_engine_measures_the_pair_with_all_its_drafts(engine: type[FakeClient]) -> None:
    doctor("--pair", "demo")
    plan = plan_of(engine)
    assert [method.draft for method in plan.methods] == [None, None, "builtin:demo/sibling", "int4", "builtin:demo/sibling"]
    assert plan.load.target == "builtin:demo/target"
    assert [type(request) for request in engine.requests] == [Inspect, Bench, type(None)]


def test_the_diagnosis_gets_the_facts_and_what_the_default_draft_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def record(*given: object) -> list[Finding]:
        asked.append(given)
        return []

    monkeypatch.setattr(examination, "diagnose", record)
    listing = json.loads(doctor("--json").stdout)
    need = listing["pair"]["drafts"][0]["need"]["total_bytes"]
    assert asked == [(FIGURES, 0.0, CPU, need)]


def test_json_is_one_object_with_everything() -> None:
    result = doctor("--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["machine"] == CPU.model_dump(mode="json")
    assert found["pair"]["name"] == "demo"
    assert found["not_measured"] == ""
    benchmark = found["benchmark"]
    assert benchmark["settings"]["max_tokens"] == 64
    assert benchmark["environment"] == STARTED.environment.model_dump(mode="json")
    assert (benchmark["interrupted"], benchmark["changed"], found["error"]) == (False, [], None)
    assert [(row["method"], row["category"], row["figures"]["speedup"]["median"]) for row in benchmark["figures"]] == [
        ("plain", OVERALL, 1),
        ("small", OVERALL, 1.456),
        ("small", "chat", 1),
    ]
    assert benchmark["versions"] == {"specchat": __version__, "engine": "0.0-fake", "protocol": str(PROTOCOL_VERSION)}
    assert found["findings"] == [vars(FINDING)]
    assert not found["well"]


def test_a_pair_that_is_not_on_disk_is_not_measured(engine: type[FakeClient]) -> None:
    result = doctor("--pair", "smollm2-1.7b")
    assert result.exit_code == 0
    assert "Speculation: not measured\n  The pair is not on disk; `specchat pull smollm2-1.7b` fetches 3.4 GB." in result.stdout
    assert "Diagnosis" not in result.stdout
    assert not any(isinstance(request, Bench) for request in engine.requests)
    found = json.loads(doctor("--pair", "smollm2-1.7b", "--json").stdout)
    assert (found["benchmark"], found["well"]) == (None, False)
    assert found["not_measured"].startswith("The pair is not on disk")


def test_a_pair_that_is_too_large_is_still_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specdec.free_memory, "free_memory", lambda device: Memory("cpu", 10**6, 25 * GB))
    monkeypatch.setattr(examination, "diagnose", lambda figures, temperature, facts, need: [FINDING])
    result = doctor()
    assert result.exit_code == 0
    assert "does not fit into memory" in result.stdout
    assert "1. draft too slow" in result.stdout


def test_an_unknown_pair_is_refused_before_the_engine_starts(engine: type[FakeClient]) -> None:
    result = doctor("--pair", "nothing-like-it")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("specchat: There is no pair named nothing-like-it.")
    assert engine.requests == []


def test_an_engine_that_cannot_inspect_is_a_typed_error(engine: type[FakeClient]) -> None:
    engine.inspected = [Error(kind="usage", cause="There is no device gpu here.", next_step="Use cpu.")]
    result = doctor()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "specchat: There is no device gpu here. Use cpu.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_while_measuring_keeps_what_is_known(as_json: bool, engine: type[FakeClient]) -> None:
    engine.benched = [STARTED, ANSWER, Error(kind="memory", cause="Out of GPU memory.", next_step="Load a smaller draft.")]
    result = doctor(*(["--json"] if as_json else []))
    assert result.exit_code == 1
    assert result.stderr == "specchat: Out of GPU memory. Load a smaller draft.\n"
    if as_json:
        assert json.loads(result.stdout)["error"] == {
            "kind": "memory",
            "cause": "Out of GPU memory.",
            "next_step": "Load a smaller draft.",
        }
    else:
        assert "Ended after 1 of 60 answers." in result.stdout


def test_an_engine_that_dies_while_measuring_keeps_what_is_known(engine: type[FakeClient]) -> None:
    engine.benched, engine.lost = [], EngineLostError("The engine was ended by SIGKILL.", "Try again.")
    result = doctor()
    assert result.exit_code == 1
    assert result.stderr == "specchat: The engine was ended by SIGKILL. Try again.\n"
    assert result.stdout.startswith("Machine\n")
    assert "Ended after 0 answers, before the first repeat." in result.stdout
    assert "Diagnosis" not in result.stdout


def test_ctrl_c_ends_the_benchmark_and_keeps_what_was_measured(engine: type[FakeClient]) -> None:
    engine.during = lambda client: press(1, lambda: client.stopped)
    result = doctor()
    assert result.exit_code == 130
    assert "Ended after 2 of 60 answers." in result.stdout
    assert "1. draft too slow" in result.stdout
    assert not engine.killed


def test_a_second_ctrl_c_ends_the_engine_too(engine: type[FakeClient]) -> None:
    engine.benched, engine.lost = [STARTED, ANSWER], EngineLostError("The engine was ended by SIGKILL.")
    engine.during = lambda client: press(2, lambda: client.stopped and client.killed)
    result = doctor("--json")
    assert result.exit_code == 130
    assert "SIGKILL" not in result.stderr
    assert json.loads(result.stdout)["benchmark"]["interrupted"] is True


def test_what_the_engine_says_is_shown_and_not_obeyed(engine: type[FakeClient]) -> None:
    engine.inspected = [Inspected(facts=CPU.model_copy(update={"processor": "a\x1b[31mb"}))]
    assert "\x1b" not in doctor().stdout


def test_only_some_figures_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "summarise", lambda measured: {Key(0.0, "plain", OVERALL): PLAIN})
    result = doctor()
    assert result.exit_code == 0
    assert "\n  plain " in result.stdout
    assert "\n  sibling    " not in result.stdout.partition("Speculation")[2]


def test_the_real_figures_and_the_real_diagnosis_fit_in(monkeypatch: pytest.MonkeyPatch, engine: type[FakeClient]) -> None:
    monkeypatch.setattr(examination, "summarise", summarise)
    monkeypatch.setattr(examination, "diagnose", diagnose)
    slower = ANSWER.statistics.model_copy(update={"decode_ms": 2.0, "tokens_per_second": 500})
    ngram = ANSWER.model_copy(update={"method": "ngram", "statistics": slower, "round_ms": (2.0,)})
    engine.benched = [STARTED, *(answer.model_copy(update={"repeat": repeat}) for repeat in (0, 1) for answer in (ANSWER, ngram))]
    engine.benched.append(BenchDone(stopped=False))
    result = doctor()
    assert result.exit_code == 0
    assert "\n  ngram              500.0    0.50x 0.50 to 0.50 " in result.stdout
    assert "\n  1. too few drafts: ngram gains 0.50x: " in result.stdout
