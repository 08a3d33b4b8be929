"""The engine's process, run for real: lines in, lines out, and never a life without its app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.engine.models import save_pair

import specdec
from specdec.events import PROTOCOL_VERSION, Counted, Done, Error, Event, Hello, Progress, Ready, Round, Started, Unloaded, parse_event

E = TypeVar("E", bound=Event)
PATIENCE = 60
NOISE = """
import sys
from importlib.abc import MetaPathFinder

class Noise(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "specdec.session":
            print("a library says hello")
            sys.stdout.buffer.write(b"and so does its binary half\\n")
            __import__("os").write(1, b"and a C library\\n")

sys.meta_path.insert(0, Noise())
"""


class Engine:
    """A host process; every event read is kept in `events`."""

    def __init__(self, directory: Path, *paths: Path) -> None:
        found = [str(path) for path in (*paths, Path(specdec.__file__).parents[1])]
        self.errors = directory / "engine.log"
        self.events: list[Event] = []
        self.sent = 0
        with self.errors.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "specdec.host"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(found), "OMP_NUM_THREADS": "1"},
            )

    def send(self, type_: str, **fields: Any) -> int:
        """Send a request under a new number, unless `id` gives one, and return that."""
        self.sent += 1
        number: int = fields.setdefault("id", self.sent)
        self.write(json.dumps({"type": type_} | fields).encode())
        return number

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def chat(self, content: str = "the cat", **fields: Any) -> int:
        usual = {"messages": [{"role": "user", "content": content}], "sampling": {"temperature": 0.9, "seed": 7}, "max_tokens": 8}
        return self.send("chat", **usual | fields)

    def count(self, content: str = "the cat") -> int:
        return self.send("count", messages=[{"role": "user", "content": content}])

    def read(self) -> Event:
        assert self.process.stdout is not None
        self.events.append(parse_event(self.process.stdout.readline()))
        return self.events[-1]

    def until(self, kind: type[E]) -> E:
        """The next event of a kind."""
        while not isinstance(event := self.read(), kind):
            assert not isinstance(event, Error), event
        return event

    def end(self) -> int:
        """The exit code of a process that ends by itself."""
        return self.process.wait(PATIENCE)


Start = Callable[..., Engine]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pair that never ends an answer by itself."""
    target, sibling = save_pair(tmp_path_factory.mktemp("models"))
    (target / "generation_config.json").write_text('{"eos_token_id": []}')
    return target, sibling


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    engines: list[Engine] = []

    def begin(*paths: Path) -> Engine:
        engines.append(Engine(tmp_path_factory.mktemp("engine"), *paths))
        engines[-1].until(Hello)
        return engines[-1]

    yield begin
    for engine in engines:
        engine.process.kill()
        engine.process.wait()
        for pipe in (engine.process.stdin, engine.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def loaded(start: Start, models: tuple[Path, Path]) -> Engine:
    """A process that every test leaves as it was: loaded and idle."""
    engine = start()
    load(engine, models)
    return engine


def load(engine: Engine, models: tuple[Path, Path]) -> Ready:
    engine.send("load", options={"target": str(models[0]), "draft": str(models[1]), "exact": "off", "threads": 1})
    return engine.until(Ready)


def refused(engine: Engine) -> Error:
    answer = engine.read()
    assert isinstance(answer, Error)
    assert answer.cause
    assert answer.next_step
    return answer


def text(events: list[Event], number: int) -> str:
    return "".join(run.text for event in events if isinstance(event, Round) and event.id == number for run in event.runs)


def test_a_life_from_hello_to_shutdown_whatever_libraries_print(start: Start, models: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    engine = start(tmp_path)
    assert engine.events == [Hello(protocol=PROTOCOL_VERSION, version=specdec.__version__, pid=engine.process.pid)]
    ready = load(engine, models)
    assert (ready.id, ready.target, ready.draft) == (1, str(models[0]), str(models[1]))
    assert {event.stage for event in engine.events if isinstance(event, Progress)} == {"target", "draft", "calibration"}
    first = engine.chat()
    done = engine.until(Done)
    assert (done.id, done.finish, done.statistics.answer_tokens) == (first, "max_tokens", 8)
    assert {event.id for event in engine.events[1:]} == {1, first}
    second = engine.chat()
    assert engine.until(Started).reused_tokens > 0
    engine.until(Done)
    assert text(engine.events, second) == text(engine.events, first)
    unload = engine.send("unload")
    assert engine.until(Unloaded).id == unload
    homeless = engine.chat()
    error = refused(engine)
    assert (error.id, error.kind) == (homeless, "usage")
    load(engine, models)
    engine.chat()
    engine.until(Done)
    engine.send("shutdown")
    assert engine.end() == 0
    for words in ("a library says hello", "its binary half", "a C library"):
        assert words in engine.errors.read_text()


def test_bad_requests_are_answered_and_survived(start: Start) -> None:
    engine = start()
    garbage = (b"garbage", b"", b"{}", b"[1]", b"\xff\xfe", b'{"type": "dance", "id": 3}')
    for line in (*garbage, b'{"type": "chat", "messages": []}', b'{"type": "stop", "x": 1}'):
        engine.write(line)
        assert refused(engine).kind == "protocol"
    for ask in (engine.chat, engine.count):
        number = ask()
        error = refused(engine)
        assert (error.kind, error.id) == ("usage", number)
    number = engine.send("load", options={"target": "nobody/nothing"})
    error = refused(engine)
    assert (error.kind, error.id) == ("hub", number)
    engine.send("shutdown")
    assert engine.end() == 0


def test_a_request_that_fails_leaves_the_pair_loaded(loaded: Engine) -> None:
    number = loaded.chat("%" * 700)
    error = refused(loaded)
    assert (error.kind, error.id) == ("context", number)
    number = loaded.chat()
    assert loaded.until(Done).id == number


def test_stop_ends_the_answer_under_way_and_no_later_one(loaded: Engine) -> None:
    number = loaded.chat(max_tokens=None)
    loaded.until(Round)
    loaded.send("stop")
    stopped = loaded.until(Done)
    assert (stopped.id, stopped.finish) == (number, "stopped")
    loaded.send("stop")
    loaded.chat()
    assert loaded.until(Done).finish == "max_tokens"


def test_stop_ends_every_answer_asked_for_before_it(loaded: Engine) -> None:
    before = [loaded.chat(max_tokens=None) for _ in range(2)]
    loaded.send("stop")
    after = loaded.chat()
    endings = [(done.id, done.finish) for done in (loaded.until(Done) for _ in range(3))]
    assert endings == [(before[0], "stopped"), (before[1], "stopped"), (after, "max_tokens")]


def test_a_conversation_is_counted_as_the_chat_will_read_it(loaded: Engine) -> None:
    number = loaded.count()
    counted = loaded.read()
    loaded.chat()
    prompt = loaded.until(Started).prompt_tokens
    loaded.until(Done)
    assert counted == Counted(id=number, tokens=prompt, context=640)
    loaded.count("%" * 700)
    assert loaded.until(Counted).tokens > 700


def test_a_count_neither_takes_a_stop_nor_shields_from_it(loaded: Engine) -> None:
    number = loaded.chat(max_tokens=None)
    counted = loaded.count()
    loaded.send("stop")
    stopped = loaded.until(Done)
    assert (stopped.id, stopped.finish) == (number, "stopped")
    assert loaded.until(Counted).id == counted
    loaded.count()
    loaded.send("stop")
    loaded.count()
    loaded.chat()
    assert loaded.until(Done).finish == "max_tokens"


@pytest.mark.parametrize("numbers", [(0, 0), (900, 3)])
def test_any_numbering_of_requests_will_do(loaded: Engine, numbers: tuple[int, int]) -> None:
    for number in numbers:
        loaded.chat(id=number)
        done = loaded.until(Done)
        assert (done.id, done.finish) == (number, "max_tokens")
        loaded.send("stop", id=0)


def test_it_ends_when_its_stdin_closes(start: Start) -> None:
    engine = start()
    assert engine.process.stdin is not None
    engine.process.stdin.close()
    assert engine.end() == 0


def test_it_ends_when_its_stdin_closes_in_mid_answer(start: Start, models: tuple[Path, Path]) -> None:
    engine = start()
    load(engine, models)
    engine.chat(max_tokens=None)
    engine.until(Round)
    assert engine.process.stdin is not None
    engine.process.stdin.close()
    assert engine.until(Done).finish == "stopped"
    assert engine.end() == 0


def test_it_ends_when_nobody_reads_its_answer(start: Start, models: tuple[Path, Path]) -> None:
    engine = start()
    load(engine, models)
    engine.chat(max_tokens=None)
    engine.until(Round)
    assert engine.process.stdout is not None
    engine.process.stdout.close()
    assert engine.end() != 0
