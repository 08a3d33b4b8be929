"""The client keeps its word whatever the engine process does: answers, errors, crashes, garbage, silence."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.harness import FAKE_ENGINE, wait_until_gone

from specchat.client import EngineClient
from specdec.errors import EngineLostError, ProtocolError
from specdec.events import Chat, Count, Counted, Done, Error, Event, Load, Ready, Round, Started, Unload, Unloaded
from specdec.options import LoadOptions, Message

CHAT = Chat(messages=(Message(role="user", content="hello"),))
LOAD = Load(options=LoadOptions(target="x"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "state" / "logs" / "engine.log"


def engine(log: Path, mode: str, argument: str = "") -> EngineClient:
    return EngineClient(log, [*FAKE_ENGINE, mode, argument])


def text_of(events: Iterator[Event]) -> str:
    return "".join(run.text for event in events if isinstance(event, Round) for run in event.runs)


def test_a_conversation_from_load_to_unload(log: Path) -> None:
    with engine(log, "echo") as client:
        assert client.hello.version == "0.0-fake"
        assert isinstance(list(client.events(client.send(LOAD)))[-1], Ready)
        events = list(client.events(client.send(CHAT)))
        assert [type(event) for event in events] == [Started, Round, Done]
        assert text_of(iter(events)) == "[1] hello"
        assert isinstance(list(client.events(client.send(Unload())))[-1], Unloaded)
        assert client.alive
    assert not client.alive
    wait_until_gone(client.hello.pid)


def test_a_conversation_is_counted(log: Path) -> None:
    with engine(log, "echo") as client:
        number = client.send(Count(messages=CHAT.messages * 3))
        assert list(client.events(number)) == [Counted(id=number, tokens=15, context=4096)]


def test_events_of_an_answer_nobody_read_do_not_reach_the_next(log: Path) -> None:
    with engine(log, "echo") as client:
        client.send(CHAT)
        second = client.send(CHAT)
        assert {event.id for event in client.events(second)} == {second}


def test_stop_ends_an_answer(log: Path) -> None:
    with engine(log, "stall") as client:
        request = client.send(CHAT)
        events = client.events(request)
        while not isinstance(next(events), Round):
            pass
        client.stop(request)
        *_, last = events
        assert isinstance(last, Done)
        assert last.finish == "stopped"


def test_a_killed_engine_is_reported_with_its_signal_and_a_restart_answers(log: Path, tmp_path: Path) -> None:
    with engine(log, "crash-once", str(tmp_path / "crashed")) as client:
        events = client.events(client.send(CHAT))
        seen = [next(events) for _ in range(4)]
        assert text_of(iter(seen)) == "w0 w1 w2 "
        with pytest.raises(EngineLostError, match=r"SIGKILL.*engine\.log"):
            next(events)
        first = client.hello.pid
        assert client.restart().pid != first
        assert text_of(client.events(client.send(CHAT))) == "[1] hello"


def test_an_engine_that_exits_is_reported_with_its_code_and_last_words(log: Path) -> None:
    with (
        engine(log, "exit") as client,
        pytest.raises(EngineLostError, match='exit code 3; its last words were "RuntimeError: the device is gone"'),
    ):
        list(client.events(client.send(CHAT)))


def test_last_words_of_an_earlier_engine_are_not_repeated(log: Path) -> None:
    log.parent.mkdir(parents=True)
    log.write_text("an older complaint\n")
    with engine(log, "crash") as client, pytest.raises(EngineLostError, match=r"ended by SIGKILL\. "):
        list(client.events(client.send(CHAT)))


def test_half_a_line_before_a_crash_is_a_crash(log: Path) -> None:
    with engine(log, "torn") as client:
        events = client.events(client.send(CHAT))
        assert [type(next(events)) for _ in range(2)] == [Started, Round]
        with pytest.raises(EngineLostError, match="SIGKILL"):
            next(events)


def test_a_lost_engine_stays_lost_for_every_later_request(log: Path) -> None:
    with engine(log, "stall") as client:
        os.kill(client.hello.pid, signal.SIGKILL)
        wait_until_gone(client.hello.pid)
        for _ in range(3):
            with pytest.raises(EngineLostError, match="SIGKILL"):
                list(client.events(client.send(CHAT)))


def test_a_garbage_line_ends_the_answer_but_not_the_client(log: Path) -> None:
    with engine(log, "garbage") as client:
        for _ in range(2):
            events = list(client.events(client.send(CHAT)))
            assert text_of(iter(events)) == "before "
            assert isinstance(events[-1], Error)
            assert events[-1].kind == "protocol"
        assert client.alive


def test_another_protocol_version_is_refused(log: Path) -> None:
    client = engine(log, "old")
    with pytest.raises(ProtocolError, match="version 99"):
        client.start()
    assert not client.alive


def test_an_engine_that_does_not_greet_is_refused(log: Path) -> None:
    client = engine(log, "chatty")
    with pytest.raises(ProtocolError):
        client.start()
    assert not client.alive


def test_a_silent_engine_is_given_up(log: Path) -> None:
    client = engine(log, "mute")
    with pytest.raises(EngineLostError, match="said nothing"):
        client.start(timeout=0.1)
    assert not client.alive


def test_an_engine_that_cannot_be_started_is_a_typed_error(log: Path) -> None:
    with pytest.raises(EngineLostError, match="cannot be started"):
        EngineClient(log, ["/does/not/exist"]).start()


def test_requests_to_an_engine_that_was_never_started_are_typed_errors(log: Path) -> None:
    with pytest.raises(EngineLostError, match="never started"):
        engine(log, "echo").send(CHAT)


def test_close_ends_an_engine_that_ignores_everything(log: Path) -> None:
    client = engine(log, "ignore-stop")
    client.start()
    client.send(CHAT)
    client.close()
    wait_until_gone(client.hello.pid)


def test_an_exception_inside_the_block_ends_the_engine(log: Path) -> None:
    client = engine(log, "ignore-stop")
    with pytest.raises(ZeroDivisionError), client:
        raise ZeroDivisionError
    wait_until_gone(client.hello.pid)


def test_ctrl_c_in_the_terminal_cannot_reach_the_engine(log: Path) -> None:
    with engine(log, "echo") as client:
        assert os.getsid(client.hello.pid) == client.hello.pid != os.getsid(0)


def test_the_default_engine_does_not_import_from_the_current_folder() -> None:
    from specchat.client import ENGINE_COMMAND

    assert (sys.executable, "-P", "-m", "specdec.host") == ENGINE_COMMAND


def test_the_log_is_private_and_is_moved_away_when_it_is_large(log: Path) -> None:
    with engine(log, "echo"):
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700
    log.write_bytes(b"x" * (2**20 + 1))
    with engine(log, "echo"):
        assert log.stat().st_size == 0
        assert log.with_name("engine.log.1").stat().st_size == 2**20 + 1
