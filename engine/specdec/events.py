"""The wire: requests the app sends and events the engine answers with, one JSON object a line.

Every request has an `id`; the events it causes carry the same one. Floats named `*_ms` are milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from specdec.benchmark.plan import BenchPlan, Environment
from specdec.errors import ProtocolError, SpecError
from specdec.machine_facts import MachineFacts
from specdec.options import Drafting, LoadOptions, Message, Sampling

PROTOCOL_VERSION = 3
T = TypeVar("T")

Source = Literal["draft", "ngram", "corrected", "bonus", "target"]
Finish = Literal["eos", "stop_string", "max_tokens", "context", "stopped"]


class Wire(BaseModel):
    """Base of everything on the pipe: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = 0


class Load(Wire):
    """Load a target and, if named, its draft; answered by `progress` lines, then `ready`."""

    type: Literal["load"] = "load"
    options: LoadOptions


class Chat(Wire):
    """Answer a whole conversation; answered by `started`, `round` lines, then `done`.

    `thinking` sets the template's switch, where `ready` says that there is one; `None` leaves it as the template has it.
    """

    type: Literal["chat"] = "chat"
    messages: tuple[Message, ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    drafting: Drafting = Drafting()
    max_tokens: int | None = Field(default=None, ge=1)
    stop: tuple[str, ...] = ()
    thinking: bool | None = None


class Count(Wire):
    """Count the tokens a `chat` with these messages would read; answered by `counted`."""

    type: Literal["count"] = "count"
    messages: tuple[Message, ...] = Field(min_length=1)
    thinking: bool | None = None


class Bench(Wire):
    """Measure; answered by `progress` lines, `bench_started`, a `measured` for each answer, then `bench_done`."""

    type: Literal["bench"] = "bench"
    plan: BenchPlan


class Inspect(Wire):
    """Say what the machine offers; answered by `inspected`."""

    type: Literal["inspect"] = "inspect"
    device: str = "auto"


class Stop(Wire):
    """End the answer under way within one round, its `done` says `stopped`; or a benchmark after the answer under way."""

    type: Literal["stop"] = "stop"


class Unload(Wire):
    """Free the loaded pair; answered by `unloaded`."""

    type: Literal["unload"] = "unload"


class Shutdown(Wire):
    """End the process with exit code 0."""

    type: Literal["shutdown"] = "shutdown"


class Hello(Wire):
    """The first line of every engine process."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    version: str = ""
    pid: int = 0


class Progress(Wire):
    """How far a slow step is; `total` 0 means unknown."""

    type: Literal["progress"] = "progress"
    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""


class Ready(Wire):
    """What was loaded, by the sources that were asked for, and how it will run; `warnings` are sentences for the user.

    `draft_problem` says why the draft asked for is not there, which is one of the warnings too. `thinking` tells whether the
    target's template has a switch for thinking.
    """

    type: Literal["ready"] = "ready"
    target: str
    draft: str | None = None
    draft_kind: Literal["int4", "sibling"] | None = None
    draft_backend: str | None = None
    draft_problem: str = ""
    dtype: str
    device: str
    threads: int
    context: int
    exact: bool
    exact_reason: str
    thinking: bool = False
    load_ms: float
    memory_bytes: int
    warnings: tuple[str, ...] = ()


class Unloaded(Wire):
    """The pair is gone and its memory with it."""

    type: Literal["unloaded"] = "unloaded"


class Counted(Wire):
    """How many tokens a conversation has, and how many the context holds."""

    type: Literal["counted"] = "counted"
    tokens: int
    context: int


class Started(Wire):
    """The prompt is in the cache and decoding begins; `sampling` is what is really used, seed included."""

    type: Literal["started"] = "started"
    prompt_tokens: int
    reused_tokens: int
    prefill_ms: float
    sampling: Sampling


class Run(BaseModel):
    """Neighbouring tokens of one source; `text` may be empty while a character is incomplete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    text: str
    tokens: tuple[int, ...]


class Round(Wire):
    """One target forward pass: what was drafted, tested and accepted, and the text it emitted.

    `tested` counts drafted tokens compared until the first refusal, that one included; `rejected` is the text of the drafted
    tokens that were not kept.
    """

    type: Literal["round"] = "round"
    index: int
    drafter: str
    drafted: int
    tested: int
    accepted: int
    runs: tuple[Run, ...]
    rejected: str = ""
    draft_ms: float
    verify_ms: float


class DrafterStatistics(BaseModel):
    """Counts of one drafter over an answer; the position lists start with the first drafted token of a round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int
    drafted: int
    tested: int
    accepted: int
    tested_by_position: tuple[int, ...]
    accepted_by_position: tuple[int, ...]


class Statistics(BaseModel):
    """What an answer cost, and what speculation saved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_tokens: int
    reused_tokens: int
    prefill_ms: float
    first_token_ms: float
    answer_tokens: int
    decode_ms: float
    tokens_per_second: float
    rounds: int
    tokens_per_round: float
    draft_ms: float
    verify_ms: float
    drafters: dict[str, DrafterStatistics]


class Done(Wire):
    """The answer ended, and why."""

    type: Literal["done"] = "done"
    finish: Finish
    statistics: Statistics


class BenchStarted(Wire):
    """Where the benchmark runs, what was loaded for it by draft source ("" is plain), and why a method is left out.

    `cut` names the prompts that were too long for the context and lost their middle.
    """

    type: Literal["bench_started"] = "bench_started"
    environment: Environment
    loaded: dict[str, Ready]
    left_out: dict[str, str]
    cut: tuple[str, ...] = ()
    answers: int


class Measured(Wire):
    """One answer of a benchmark, from an empty cache; repeat 0 is the warm-up.

    `round_tokens` and `round_ms` are how many tokens each round gave and how long after the one before it (the first: after
    decoding began); for transformers a round is what its streamer is handed at once. `memory_bytes` is the process's peak so far
    on the device it runs on.
    """

    type: Literal["measured"] = "measured"
    method: str
    temperature: float
    prompt: str
    category: str
    repeat: int
    tokens: tuple[int, ...]
    text: str
    finish: Finish
    statistics: Statistics
    round_tokens: tuple[int, ...]
    round_ms: tuple[float, ...]
    memory_bytes: int


class BenchDone(Wire):
    """The benchmark is over, or was stopped."""

    type: Literal["bench_done"] = "bench_done"
    stopped: bool


class Inspected(Wire):
    """What the machine offers."""

    type: Literal["inspected"] = "inspected"
    facts: MachineFacts


class Error(Wire):
    """A request failed; the engine lives on unless the process ends."""

    type: Literal["error"] = "error"
    kind: str
    cause: str
    next_step: str = ""

    @classmethod
    def of(cls, error: SpecError, request_id: int = 0) -> Error:
        """The wire form of a typed error."""
        return cls(id=request_id, kind=error.kind, cause=error.cause, next_step=error.next_step)


Request = Annotated[Load | Chat | Count | Bench | Inspect | Stop | Unload | Shutdown, Field(discriminator="type")]
Event = Annotated[
    Hello | Progress | Ready | Unloaded | Counted | Started | Round | Done | BenchStarted | Measured | BenchDone | Inspected | Error,
    Field(discriminator="type"),
]

_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def parse_request(line: str | bytes) -> Request:
    """The request on a line; raises ProtocolError for anything else."""
    return _parse(_REQUEST, line)


def parse_event(line: str | bytes) -> Event:
    """The event on a line; raises ProtocolError for anything else."""
    return _parse(_EVENT, line)


def _parse(adapter: TypeAdapter[T], line: str | bytes) -> T:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "line"
        raise ProtocolError(f"Not a valid protocol line ({where}: {first['msg']}).", "Update specchat if the two sides differ.") from None
