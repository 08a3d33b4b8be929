"""The engine's process asked to measure and to look at its machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.models import save_pair
from tests.engine.test_host import Engine, load, refused

from specdec.events import BenchDone, BenchStarted, Counted, Error, Hello, Inspected, Measured, Progress


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_pair(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    engine.until(Hello)
    yield engine
    engine.process.kill()
    engine.process.communicate()


def plan(pair: tuple[Path, Path], content: str = "the cat", **more: Any) -> dict[str, Any]:
    methods = [
        {"name": "plain", "drafting": {"draft": "off"}},
        {"name": "sibling", "drafting": {"draft": "model"}, "draft": str(pair[1])},
        {"name": "gone", "drafting": {"draft": "model"}, "draft": "nobody/nothing"},
    ]
    prompts = [{"id": "cat", "category": "chat", "messages": [{"role": "user", "content": content}]}]
    usual = {"load": {"target": str(pair[0]), "exact": "on", "threads": 1}, "methods": methods, "prompts": prompts}
    return usual | {"repeats": 1, "max_tokens": 4} | more


def test_a_benchmark_takes_the_place_of_the_loaded_pair(engine: Engine, pair: tuple[Path, Path]) -> None:
    load(engine, pair)
    number = engine.send("bench", plan=plan(pair))
    before = len(engine.events)
    assert not engine.until(BenchDone).stopped
    events = engine.events[before:]
    assert {event.id for event in events} == {number}
    kinds = [type(event) for event in events]
    assert kinds[-6:] == [BenchStarted, *[Measured] * 4, BenchDone]
    assert set(kinds[:-6]) == {Progress}
    (started,) = (event for event in events if isinstance(event, BenchStarted))
    assert (started.answers, set(started.loaded), set(started.left_out)) == (4, {"", str(pair[1])}, {"gone"})
    assert len({event.tokens for event in events if isinstance(event, Measured)}) == 1
    engine.count()
    assert refused(engine).kind == "usage"


def test_a_stop_ends_the_benchmark_under_way_and_no_later_request(engine: Engine, pair: tuple[Path, Path]) -> None:
    engine.send("bench", plan=plan(pair, repeats=100_000))
    engine.until(Measured)
    engine.send("stop")
    assert engine.until(BenchDone).stopped
    assert sum(isinstance(event, Measured) for event in engine.events) < 10_000
    engine.send("bench", plan=plan(pair))
    assert not engine.until(BenchDone).stopped


def test_a_benchmark_that_cannot_run_leaves_the_engine_alive(engine: Engine, pair: tuple[Path, Path]) -> None:
    number = engine.send("bench", plan=plan(pair) | {"load": {"target": "nobody/nothing"}})
    while isinstance(event := engine.read(), Progress):
        pass
    assert isinstance(event, Error)
    assert event.id == number
    assert "nobody/nothing" in event.cause
    load(engine, pair)
    engine.count()
    assert engine.until(Counted).tokens > 0


def test_the_machine_is_looked_at_without_disturbing_the_pair(engine: Engine, pair: tuple[Path, Path]) -> None:
    load(engine, pair)
    number = engine.send("inspect", device="cpu")
    inspected = engine.until(Inspected)
    assert (inspected.id, inspected.facts.device) == (number, "cpu")
    assert inspected.facts.copy_bytes_per_second > 0
    engine.count()
    assert engine.until(Counted).tokens > 0
    number = engine.send("inspect", device="tpu")
    error = refused(engine)
    assert (error.id, error.kind) == (number, "usage")
