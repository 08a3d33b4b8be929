"""A scripted engine that speaks the protocol: `fake_engine.py MODE [ARGUMENT]` answers every chat in that mode.

stream        ARGUMENT rounds, one token of each source in turn
paced         ARGUMENT "ROUNDS:PER_SECOND" (40:20): rounds of three tokens of Markdown, by the clock, as two drafters would fill them
thinking      echo after a thought in <think> tags, unless the chat switches thinking off
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
oom           three rounds, then an error: the memory is full
refuse        an error to every chat
context-full  an error with both counts to every chat
refuse-load   an error to every load
crash-load    SIGKILL on load
slow-load     never ready
slow-load-progress   ready after a second of progress from 0 to 100
bench-stall   ARGUMENT "ANSWERS:FILE": a benchmark of so many answers, then the file, then nothing until a stop
bench-ignore-stop    the same, but nothing whatever is asked
bench-crash   ARGUMENT answers of a benchmark, then SIGKILL to itself
bench-differ  the method ARGUMENT gives other texts in the first repeat
bench-without the method ARGUMENT is left out
lost-draft    echo, by a pair that lost the draft it was asked to load
old, mute, chatty    another protocol version, no greeting at all, a greeting that is not one
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NoReturn, get_args

from specdec.benchmark.plan import BenchPlan, BenchPrompt, Environment, Method
from specdec.errors import ContextFullError
from specdec.events import (
    PROTOCOL_VERSION,
    Bench,
    BenchDone,
    BenchStarted,
    Chat,
    Count,
    Counted,
    Done,
    DrafterStatistics,
    Error,
    Finish,
    Hello,
    Inspect,
    Inspected,
    Load,
    Measured,
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
from specdec.machine_facts import MachineFacts
from specdec.text import require_room

SOURCES: tuple[Source, ...] = get_args(Source)
WARNING = "The draft is a warning."
CONTEXT = 4096
ENVIRONMENT = Environment(
    processor="A processor",
    device="cpu",
    cores=2,
    threads=1,
    dtype="float32",
    exact=True,
    exact_reason="fixed rows cost 3%",
    int4_backend=None,
    versions={"torch": "2.0"},
)
FACTS = MachineFacts(
    processor="A processor",
    cores=2,
    total_bytes=2,
    free_bytes=1,
    device="cpu",
    gpus=(),
    versions={"torch": "2.0"},
    cuda=None,
    int4=(),
    int4_chosen=None,
    copy_bytes_per_second=1e9,
)
TOKENS_PER_MESSAGE = 5
THOUGHT = ("<think>\n", "The user ", "wants it ", "repeated.\n", "</think>\n\n")
MARKDOWN = """# Counting words

A **counter** maps each word to how often it was *seen*. It takes `O(n)` time:

```python
from collections import Counter

def most_common(text: str, n: int = 3) -> list[tuple[str, int]]:
    # the n most frequent words
    return Counter(text.split()).most_common(n)
```

1. Split the text into words.
2. Count each of them.
3. Sort by count, highest first.

| word | count |
|------|-------|
| the  | 12    |
| cat  | 3     |

> Ties keep the order in which the words were seen first.

"""
# Drafter, drafted, tested, accepted, source of the third token, rejected text.
PATTERNS: tuple[tuple[str, int, int, int, Source, str], ...] = (
    ("sibling", 4, 3, 2, "corrected", " the list"),
    ("sibling", 2, 2, 2, "bonus", ""),
    ("ngram", 6, 3, 2, "corrected", " was seen first twice"),
    ("sibling", 3, 3, 2, "corrected", " word"),
    ("ngram", 2, 2, 2, "bonus", ""),
)


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


def paced_round(chat: Chat, index: int, texts: list[str], milliseconds: float) -> Round:
    """A round of three tokens: two of its drafter and one of the target."""
    drafter, drafted, tested, accepted, last, rejected = PATTERNS[index % len(PATTERNS)]
    tokens = range(3 * index, 3 * index + 3)
    return Round(
        id=chat.id,
        index=index,
        drafter=drafter,
        drafted=drafted,
        tested=tested,
        accepted=accepted,
        runs=(
            Run(source="ngram" if drafter == "ngram" else "draft", text="".join(texts[:2]), tokens=tuple(tokens[:2])),
            Run(source=last, text=texts[2], tokens=tuple(tokens[2:])),
        ),
        rejected=rejected,
        draft_ms=0.01 if drafter == "ngram" else 0.3 * milliseconds,
        verify_ms=0.7 * milliseconds,
    )


def drafter_statistics(rounds: list[Round]) -> DrafterStatistics:
    """The counts of one drafter's rounds."""
    positions = range(max(round_.drafted for round_ in rounds))
    return DrafterStatistics(
        rounds=len(rounds),
        drafted=sum(round_.drafted for round_ in rounds),
        tested=sum(round_.tested for round_ in rounds),
        accepted=sum(round_.accepted for round_ in rounds),
        tested_by_position=tuple(sum(round_.tested > at for round_ in rounds) for at in positions),
        accepted_by_position=tuple(sum(round_.accepted > at for round_ in rounds) for at in positions),
    )


def paced_statistics(prompt_tokens: int, rounds: list[Round], seconds: float) -> Statistics:
    """What these rounds come to over some seconds."""
    tokens = sum(len(run.tokens) for round_ in rounds for run in round_.runs)
    return Statistics(
        prompt_tokens=prompt_tokens,
        reused_tokens=0,
        prefill_ms=3,
        first_token_ms=4,
        answer_tokens=tokens,
        decode_ms=seconds * 1000,
        tokens_per_second=tokens / seconds if tokens else 0,
        rounds=len(rounds),
        tokens_per_round=tokens / len(rounds) if rounds else 0,
        draft_ms=sum(round_.draft_ms for round_ in rounds),
        verify_ms=sum(round_.verify_ms for round_ in rounds),
        drafters={
            name: drafter_statistics([round_ for round_ in rounds if round_.drafter == name])
            for name in dict.fromkeys(round_.drafter for round_ in rounds)
        },
    )


def loaded(source: str, draft: str | None) -> Ready:
    """What the engine says of a target with a draft."""
    return Ready(
        target=source,
        draft=draft,
        dtype="float32",
        device="cpu",
        threads=1,
        context=CONTEXT,
        exact=True,
        exact_reason="fixed rows cost 3%",
        load_ms=1,
        memory_bytes=2_000_000 if draft else 1_000_000,
        warnings=(WARNING,),
    )


def measured(method: Method, temperature: float, prompt: BenchPrompt, repeat: int) -> Measured:
    """An answer of eight tokens: one a round without a drafter; with one two a round, of four drafted the first accepted."""
    drafts = method.drafting.draft != "off"
    rounds = 4 if drafts else 8
    counts = DrafterStatistics(
        rounds=rounds, drafted=4 * rounds, tested=2 * rounds, accepted=rounds, tested_by_position=(4, 4), accepted_by_position=(4, 0)
    )
    own = drafts and method.engine == "specdec"
    decode_ms = 50.0 if drafts else 80.0
    statistics = Statistics(
        prompt_tokens=5,
        reused_tokens=0,
        prefill_ms=3,
        first_token_ms=4,
        answer_tokens=8,
        decode_ms=decode_ms,
        tokens_per_second=8000 / decode_ms,
        rounds=rounds,
        tokens_per_round=8 / rounds,
        draft_ms=2.0 * rounds if own else 0,
        verify_ms=9.0 * rounds if method.engine == "specdec" else 0,
        drafters={method.drafting.draft: counts} if own else {},
    )
    tokens = tuple(range(8))
    return Measured(
        method=method.name,
        temperature=temperature,
        prompt=prompt.id,
        category=prompt.category,
        repeat=repeat,
        tokens=tokens,
        text="".join(f"w{token} " for token in tokens),
        finish="max_tokens",
        statistics=statistics,
        round_tokens=(8 // rounds,) * rounds,
        round_ms=(decode_ms / rounds,) * rounds,
        memory_bytes=3_000_000,
    )


def measurements(plan: BenchPlan, methods: list[Method]) -> Iterator[Measured]:
    """Every answer of a benchmark, the warm-up first."""
    for repeat, temperature, prompt, method in product(range(plan.repeats + 1), plan.temperatures, plan.prompts, methods):
        yield measured(method, temperature, prompt, repeat)


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
                case Count() as request:
                    say(Counted(id=request.id, tokens=TOKENS_PER_MESSAGE * len(request.messages), context=CONTEXT))
                case Bench() as request:
                    self.stopped.clear()
                    self.bench(request)
                case Inspect() as request:
                    say(Inspected(id=request.id, facts=FACTS))
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
        if self.mode == "slow-load-progress":
            for percent in range(0, 101, 5):
                say(Progress(id=request.id, stage="target", done=percent, total=100))
                time.sleep(0.05)
        if self.mode == "memory-short" and request.options.dtype != "int8":
            cause = "The pair needs 17.9 GB and the GPU has 12.0 GB free."
            say(Error(id=request.id, kind="memory", cause=cause, next_step="What would fit: no model draft with a context of 512 tokens."))
            return
        draft, problem = request.options.draft, ""
        if draft and self.mode == "lost-draft":
            draft, problem = None, f"The draft {draft} does not fit its target: The tokenizers differ."
        say(
            Ready(
                id=request.id,
                target=request.options.target,
                draft=draft,
                draft_problem=problem,
                dtype="int8" if request.options.dtype == "int8" else "float32",
                device="cpu",
                threads=1,
                context=request.options.context or CONTEXT,
                exact=True,
                exact_reason="fixed rows cost 3%",
                thinking=self.mode == "thinking",
                load_ms=1,
                memory_bytes=1,
                warnings=(WARNING, f"Running without the draft model. {problem}") if problem else (WARNING,),
            )
        )

    def chat(self, chat: Chat) -> None:
        if self.mode == "refuse":
            say(Error(id=chat.id, kind="context", cause="The prompt has 9000 tokens.", next_step="Shorten it."))
            return
        if self.mode == "context-full":
            try:
                require_room(9000, CONTEXT)
            except ContextFullError as error:
                say(Error.of(error, chat.id))
            return
        sampling = chat.sampling if chat.sampling.seed is not None else chat.sampling.model_copy(update={"seed": 7})
        say(Started(id=chat.id, prompt_tokens=5, reused_tokens=2, prefill_ms=3, sampling=sampling))
        match self.mode:
            case "echo" | "lost-draft" | "slow-load-progress" | "memory-short":
                self.echo(chat)
            case "paced":
                self.paced(chat)
            case "thinking":
                self.echo(chat, () if chat.thinking is False else THOUGHT)
            case "oom":
                self.begin(chat)
                cause = "Out of GPU memory: tried to allocate 2.00 GiB."
                say(Error(id=chat.id, kind="memory", cause=cause, next_step="Load with a smaller context or draft."))
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

    def bench(self, request: Bench) -> None:
        say(Progress(id=request.id, stage="target", done=1, total=2))
        if self.mode == "refuse":
            say(Error(id=request.id, kind="context", cause="Prompt 1: The prompt has 9000 tokens.", next_step="Shorten it."))
            return
        plan = request.plan
        left_out = {self.argument: "The tokenizers differ."} if self.mode == "bench-without" else {}
        methods = [method for method in plan.methods if method.name not in left_out]
        drafts: list[str | None] = [None, *dict.fromkeys(method.draft for method in methods if method.draft)]
        answers = list(measurements(plan, methods))
        say(
            BenchStarted(
                id=request.id,
                environment=ENVIRONMENT,
                loaded={draft or "": loaded(plan.load.target, draft) for draft in drafts},
                left_out=left_out,
                answers=len(answers),
            )
        )
        count, _, reached = self.argument.partition(":")
        last = int(count) if self.mode in ("bench-stall", "bench-ignore-stop", "bench-crash") else len(answers)
        for answer in answers[:last]:
            if self.mode == "bench-differ" and answer.method == self.argument and answer.repeat == 1:
                answer = answer.model_copy(update={"tokens": (*answer.tokens[:5], 99), "text": "w0 w1 w2 w3 w4 \nother"})
            say(answer.model_copy(update={"id": request.id}))
        if self.mode == "bench-crash":
            die()
        if self.mode in ("bench-stall", "bench-ignore-stop"):
            Path(reached).touch()
            self.wait()
        say(BenchDone(id=request.id, stopped=last < len(answers)))

    def begin(self, chat: Chat) -> None:
        for index in range(3):
            say_round(chat, index, f"w{index} ")

    def echo(self, chat: Chat, thought: tuple[str, ...] = ()) -> None:
        for index, text in enumerate((*thought, f"[{len(chat.messages)}] {chat.messages[-1].content}")):
            say_round(chat, index, text)
        say_done(chat, len(thought) + 1, "eos")

    def paced(self, chat: Chat) -> None:
        count, per_second = map(float, (self.argument or "40:20").split(":"))
        words = re.findall(r"\S+\s*", MARKDOWN)
        rounds: list[Round] = []
        began = time.monotonic()
        finish: Finish = "eos"
        for index in range(int(count)):
            if self.stopped.wait(max(0.0, began + index / per_second - time.monotonic())):
                finish = "stopped"
                break
            texts = [words[at % len(words)] for at in range(3 * index, 3 * index + 3)]
            rounds.append(paced_round(chat, index, texts, 1000 / per_second))
            say(rounds[-1])
        statistics = paced_statistics(TOKENS_PER_MESSAGE * len(chat.messages), rounds, time.monotonic() - began)
        say(Done(id=chat.id, finish=finish, statistics=statistics))

    def wait(self) -> None:
        if self.mode in ("ignore-stop", "bench-ignore-stop"):
            time.sleep(600)
        self.stopped.wait()


def main() -> None:
    mode = sys.argv[1]
    if mode == "mute":
        time.sleep(600)
    if mode == "chatty":
        print("loading kernels ...", flush=True)
    say(Hello(protocol=99 if mode == "old" else PROTOCOL_VERSION, version="0.0-fake", pid=os.getpid()))
    Engine(mode, sys.argv[2] if len(sys.argv) > 2 else "").run()


if __name__ == "__main__":
    main()
