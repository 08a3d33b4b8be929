"""The product as a newcomer meets it: ./scripts/run, the real engine process and the demo pair."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from specchat.client import EngineClient
from specdec.errors import EngineLostError
from specdec.events import Chat, Done, Load, Ready, Round
from specdec.options import Drafting, LoadOptions, Message, Sampling

ROOT = Path(__file__).parents[2]
STORY = "Tell me a story about a dog."
DEMO = LoadOptions(target="builtin:demo/target", draft="builtin:demo/sibling")


def run(*arguments: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ROOT / "scripts" / "run", *arguments], input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done


def answered(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("-p", STORY, "--json", "--seed", "5", "--max-tokens", "120", *arguments).stdout)
    return answer


def tokens(answer: dict[str, Any]) -> list[int]:
    return [token for run in answer["runs"] for token in run["tokens"]]


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return answered("--draft", "off", "--exact", "on")


def test_the_demo_pair_answers_without_further_installation() -> None:
    done = run("-p", "Hello!", "--stats")
    assert done.stdout.strip()
    assert "\x1b" not in done.stdout
    assert "installing" not in done.stderr
    assert "tokens/s" in done.stderr


def test_the_prompt_can_be_piped() -> None:
    assert (
        run("--max-tokens", "20", "--seed", "1", stdin=STORY).stdout
        == run("-p", "-", "--max-tokens", "20", "--seed", "1", stdin=STORY).stdout
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--draft", "ngram"),
        ("--draft", "model"),
        ("--draft", "auto"),
        ("--draft", "model", "--draft-model", "int4"),
        ("--draft", "model", "--draft-tokens", "13"),
    ],
    ids=" ".join,
)
def test_drafting_changes_the_time_and_nothing_else(plain: dict[str, Any], arguments: tuple[str, ...]) -> None:
    drafted = answered(*arguments, "--exact", "on")
    assert drafted["text"] == plain["text"]
    assert tokens(drafted) == tokens(plain)
    assert drafted["statistics"]["answer_tokens"] == plain["statistics"]["answer_tokens"] == len(tokens(plain))
    assert plain["statistics"]["rounds"] == len(tokens(plain))


def test_the_model_drafts_are_accepted() -> None:
    for name in ("sibling", "int4"):
        counts = answered("--draft", "model", "--draft-model", name)["statistics"]["drafters"][name]
        assert counts["accepted"] > 0.3 * counts["tested"]


def test_listings_know_the_demo_pair() -> None:
    demo = next(pair for pair in json.loads(run("pairs", "--json").stdout) if pair["name"] == "demo")
    assert demo["on_disk"]
    assert demo["usable"]
    assert [(draft["name"], draft["usable"]) for draft in demo["drafts"]] == [("sibling", True), ("int4", True)]
    assert "nothing to fetch" in run("pull", "demo").stderr + run("pull", "demo").stdout


def test_a_plain_chat_keeps_its_conversation() -> None:
    done = run("--plain", "--seed", "3", stdin="Hello!\nTell me a story.\n/quit\n")
    assert len(done.stdout) > 40


@pytest.fixture
def client(tmp_path: Path) -> Iterator[EngineClient]:
    with EngineClient(tmp_path / "engine.log") as started:
        yield started


def load(client: EngineClient) -> Ready:
    ready = list(client.events(client.send(Load(options=DEMO))))[-1]
    assert isinstance(ready, Ready)
    return ready


def ask(prompt: str, **options: Any) -> Chat:
    return Chat(messages=(Message(role="user", content=prompt),), sampling=Sampling(temperature=0), **options)


def text_of(event: Round) -> str:
    return "".join(run.text for run in event.runs)


def test_a_killed_engine_is_reported_at_once_and_answers_again_after_a_restart(client: EngineClient) -> None:
    load(client)
    chat = ask(STORY, max_tokens=200, drafting=Drafting(draft="off"))
    whole = "".join(text_of(event) for event in client.events(client.send(chat)) if isinstance(event, Round))
    partial = ""

    def read_and_kill() -> None:
        nonlocal partial
        for event in client.events(client.send(chat)):
            if isinstance(event, Round):
                partial += text_of(event)
                if len(partial) > 20 and client.alive:
                    os.kill(client.hello.pid, signal.SIGKILL)

    with pytest.raises(EngineLostError, match="SIGKILL"):
        read_and_kill()
    assert 20 < len(partial) < len(whole)
    assert whole.startswith(partial)
    client.restart()
    load(client)
    assert "".join(text_of(event) for event in client.events(client.send(chat)) if isinstance(event, Round)) == whole


def test_stop_ends_an_answer_within_a_round_and_the_next_one_is_whole(client: EngineClient) -> None:
    load(client)
    long = ask(STORY, max_tokens=900)
    request = client.send(long)
    rounds = 0
    for event in client.events(request):
        if isinstance(event, Round):
            rounds += 1
            if rounds == 3:
                client.stop(request)
        if isinstance(event, Done):
            assert event.finish in ("stopped", "eos")
    done = [event for event in client.events(client.send(ask("Hello!"))) if isinstance(event, Done)]
    assert done[0].finish == "eos"


def test_a_second_turn_prefills_only_what_is_new(client: EngineClient) -> None:
    load(client)
    first = ask(STORY, max_tokens=60)
    said = "".join(text_of(event) for event in client.events(client.send(first)) if isinstance(event, Round))
    turns = (*first.messages, Message(role="assistant", content=said), Message(role="user", content="And then?"))
    done = next(event for event in client.events(client.send(Chat(messages=turns, max_tokens=5))) if isinstance(event, Done))
    new = done.statistics.prompt_tokens - done.statistics.reused_tokens
    assert done.statistics.reused_tokens > 60
    assert new < 20
