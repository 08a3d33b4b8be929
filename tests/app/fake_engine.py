"""A scripted engine that speaks the protocol: `fake_engine.py MODE [ARGUMENT]` answers every chat in that mode.

stream        ARGUMENT rounds, one token of each source in turn
echo          the last message
report        the load options and the chat request, as JSON
unsafe        control characters
stall         three rounds, then nothing until a stop
ignore-stop   three rounds, then nothing, whatever is asked
crash         three rounds, then SIGKILL to itself
crash-once    crash, but only if the file named by ARGUMENT is not there yet; then echo
exit          a last word on stderr, then exit code 3
garbage       one round, a line that is not JSON, then the rest of an answer
torn          one round and half a line, then SIGKILL
refuse        an error to every chat
refuse-load   an error to every load
crash-load    SIGKILL on load
slow-load     never ready
old, mute, chatty   another protocol version, no greeting at all, a greeting that is not one
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn, get_args

from specdec.events import (
    Chat,
    Done,
    DrafterStatistics,
    Error,
    Finish,
    Hello,
    Load,
    Progress,
    Ready,
    Request,
    Round,
    Run,
    Shutdown,
    Source,
    Started,
    Statistics,
    Stop,
    Unload,
    Unloaded,
    Wire,
    parse_request,
)

SOURCES: tuple[Source, ...] = get_args(Source)
WARNING = "The draft is a warning."


def say(event: Wire) -> None:
    print(event.model_dump_json(), flush=True)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def say_round(chat: Chat, index: int, text: str) -> None:
    source = SOURCES[index % len(SOURCES)]
    run = Run(source=source, text=text, tokens=(index,))
    say(Round(id=chat.id, index=index, drafter="int4", drafted=2, tested=2, accepted=1, runs=(run,), draft_ms=1, verify_ms=2))


def say_done(chat: Chat, rounds: int, finish: Finish) -> None:
    drafter = DrafterStatistics(
        rounds=rounds,
        drafted=2 * rounds,
        tested=2 * rounds,
        accepted=rounds,
        tested_by_position=(rounds, rounds),
        accepted_by_position=(rounds, 0),
    )
    statistics = Statistics(
        prompt_tokens=5,
        reused_tokens=2,
        prefill_ms=3,
        first_token_ms=4,
        answer_tokens=rounds,
        decode_ms=50,
        tokens_per_second=12.5,
        rounds=rounds,
        tokens_per_round=1,
        draft_ms=20,
        verify_ms=30,
        drafters={"int4": drafter},
    )
    say(Done(id=chat.id, finish=finish, statistics=statistics))


class Engine:
    """Answers requests one by one; a thread of its own reads them, so that a stop is seen while an answer runs."""

    def __init__(self, mode: str, argument: str) -> None:
        self.mode = mode
        self.argument = argument
        self.requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self.loaded: Load | None = None
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        for line in sys.stdin:
            request = parse_request(line)
            if isinstance(request, Stop):
                self.stopped.set()
            elif self.mode != "ignore-stop" or not isinstance(request, Shutdown):
                self.requests.put(request)
        if self.mode != "ignore-stop":
            os._exit(0)

    def run(self) -> None:
        while True:
            match self.requests.get():
                case Load() as request:
                    self.load(request)
                case Chat() as request:
                    self.stopped.clear()
                    self.chat(request)
                case Unload() as request:
                    say(Unloaded(id=request.id))
                case _:
                    return

    def load(self, request: Load) -> None:
        self.loaded = request
        say(Progress(id=request.id, stage="weights", done=1, total=2, unit="GB"))
        if self.mode == "refuse-load":
            say(Error(id=request.id, kind="hub", cause="owner/name is not on this disk.", next_step="Fetch it."))
            return
        if self.mode == "crash-load":
            die()
        if self.mode == "slow-load":
            time.sleep(600)
        say(
            Ready(
                id=request.id,
                target=request.options.target,
                draft=request.options.draft,
                dtype="float32",
                device="cpu",
                threads=1,
                context=request.options.context or 4096,
                exact=True,
                exact_reason="fixed rows cost 3%",
                load_ms=1,
                memory_bytes=1,
                warnings=(WARNING,),
            )
        )

    def chat(self, chat: Chat) -> None:
        if self.mode == "refuse":
            say(Error(id=chat.id, kind="context", cause="The prompt has 9000 tokens.", next_step="Shorten it."))
            return
        sampling = chat.sampling if chat.sampling.seed is not None else chat.sampling.model_copy(update={"seed": 7})
        say(Started(id=chat.id, prompt_tokens=5, reused_tokens=2, prefill_ms=3, sampling=sampling))
        match self.mode:
            case "echo":
                self.echo(chat)
            case "crash-once":
                if Path(self.argument).exists():
                    self.echo(chat)
                else:
                    Path(self.argument).touch()
                    self.begin(chat)
                    die()
            case "report":
                assert self.loaded is not None
                text = json.dumps({"load": self.loaded.options.model_dump(), "chat": chat.model_dump(exclude={"id"})})
                say_round(chat, 0, text)
                say_done(chat, 1, "eos")
            case "unsafe":
                say_round(chat, 0, "a\x1b[31m\tb\r\x9b\u202e\nc")
                say_done(chat, 1, "eos")
            case "stall" | "ignore-stop":
                self.begin(chat)
                if self.argument:
                    Path(self.argument).touch()
                self.wait()
                say_done(chat, 3, "stopped")
            case "crash":
                self.begin(chat)
                die()
            case "exit":
                self.begin(chat)
                print("first words\nRuntimeError: the device is gone\n", file=sys.stderr, flush=True)
                os._exit(3)
            case "garbage":
                say_round(chat, 0, "before ")
                print("this is not JSON", flush=True)
                say_round(chat, 1, "after ")
                say_done(chat, 2, "eos")
            case "torn":
                say_round(chat, 0, "before ")
                print('{"type":"round","id"', end="", flush=True)
                die()
            case _:
                rounds = int(self.argument or 5)
                for index in range(rounds):
                    say_round(chat, index, f"w{index} ")
                say_done(chat, rounds, "eos")

    def begin(self, chat: Chat) -> None:
        for index in range(3):
            say_round(chat, index, f"w{index} ")

    def echo(self, chat: Chat) -> None:
        say_round(chat, 0, f"[{len(chat.messages)}] {chat.messages[-1].content}")
        say_done(chat, 1, "eos")

    def wait(self) -> None:
        if self.mode == "ignore-stop":
            time.sleep(600)
        self.stopped.wait()


def main() -> None:
    mode = sys.argv[1]
    if mode == "mute":
        time.sleep(600)
    if mode == "chatty":
        print("loading kernels ...", flush=True)
    say(Hello(protocol=99 if mode == "old" else 1, version="0.0-fake", pid=os.getpid()))
    Engine(mode, sys.argv[2] if len(sys.argv) > 2 else "").run()


if __name__ == "__main__":
    main()
