"""Decoding an answer again: without drafts to see that they changed nothing, and both ways in turn to see what they gain."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from specchat.answer import error_of
from specchat.client import EngineClient
from specchat.live import LiveFigures
from specchat.transcript import Setup, Turn
from specchat.visible import visible
from specdec.benchmark.parting import parting
from specdec.benchmark.summary import OVERALL, Figures, Key, summarise
from specdec.errors import UsageError
from specdec.events import Chat, Done, Error, Measured, Round, Started, Statistics
from specdec.options import Drafting, Message

Side = Literal["plain", "speculative"]
SIDES: tuple[Side, Side] = ("plain", "speculative")
SHORT_ANSWER = 200
WATCH_SECONDS = 1 / 15
MUST_NOT_HAPPEN = "In exact mode this must not happen: please report it with the seed."
PLAIN = Drafting(draft="off")


@dataclass(frozen=True)
class Step:
    """How far a replay is: decoding number `run` of `runs`, which is to give `expected` tokens; the figures are a copy."""

    side: Side
    run: int
    runs: int
    expected: int
    figures: LiveFigures
    text: str


Watch = Callable[[Step], None]


@dataclass(frozen=True)
class Difference:
    """Where two texts part: the token's number, from 1, and the text around it on either side."""

    token: int
    plain: str
    speculative: str

    @property
    def lines(self) -> tuple[str, str]:
        """Both texts, one above the other."""
        return f"plain        …{_one_line(self.plain)}…", f"speculative  …{_one_line(self.speculative)}…"


@dataclass(frozen=True)
class Verdict:
    """What plain decoding made of an answer, and what it cost; `answer` is `None` where that was not kept.

    `reason` says why a difference was to be expected; it is empty where there must be none.
    """

    difference: Difference | None
    reason: str
    answer: Statistics | None
    plain: Statistics

    @property
    def same(self) -> bool:
        """Whether every token is the same."""
        return self.difference is None

    @property
    def summary(self) -> str:
        """The verdict in words, the texts where they part on lines of their own."""
        times = f"plain decoding took {self.plain.decode_ms:.0f} ms"
        if self.answer is not None:
            times += f", the answer {self.answer.decode_ms:.0f} ms"
        if self.difference is None:
            return f"Same text, token by token ({self.plain.answer_tokens}): {times}."
        parting = f"The texts part at token {self.difference.token}; {times}. {self.reason or MUST_NOT_HAPPEN}"
        return "\n".join([parting, *self.difference.lines])


@dataclass(frozen=True)
class Replay:
    """One decoding of an answer from its first to its last round."""

    rounds: tuple[Round, ...]
    statistics: Statistics

    def measured(self, method: str, repeat: int) -> Measured:
        """The same as a measurement of a benchmark whose one prompt this is."""
        return Measured(
            method=method,
            temperature=0.0,
            prompt="",
            category="",
            repeat=repeat,
            tokens=tuple(_tokens(self.rounds)),
            text=_text(self.rounds),
            finish="max_tokens",
            statistics=self.statistics,
            round_tokens=(),
            round_ms=(),
            memory_bytes=0,
        )


@dataclass(frozen=True)
class Comparison:
    """An answer decoded plain and speculatively, as often; `reason` is that of a Verdict."""

    plain: tuple[Replay, ...]
    speculative: tuple[Replay, ...]
    difference: Difference | None
    reason: str

    @cached_property
    def figures(self) -> dict[Side, Figures]:
        """The figures of both, drawn from the runs as a benchmark draws them."""
        sides: dict[Side, tuple[Replay, ...]] = {"plain": self.plain, "speculative": self.speculative}
        found = summarise([replay.measured(side, repeat) for side, runs in sides.items() for repeat, replay in enumerate(runs, 1)])
        return {side: found[Key(0.0, side, OVERALL)] for side in SIDES}

    @property
    def ratio(self) -> float:
        """How many times as fast as plain decoding: the median over the repeats."""
        speedup = self.figures["speculative"].speedup
        assert speedup is not None
        return speedup.median

    @property
    def predicted(self) -> float | None:
        """The same by the book, from the measured acceptance and costs; None where nothing was drafted."""
        speculative = self.figures["speculative"]
        return speculative.predicted_speedup if speculative.acceptance is not None else None

    @property
    def plain_rate(self) -> float:
        """Tokens per second of plain decoding."""
        return self.figures["plain"].tokens_per_second.median

    @property
    def speculative_rate(self) -> float:
        """Tokens per second of speculative decoding."""
        return self.figures["speculative"].tokens_per_second.median


def verify(client: EngineClient, turn: Turn, messages: Sequence[Message], watch: Watch, stopped: Callable[[], bool]) -> Verdict | None:
    """Decode an answer again with drafting off, up to the token where it ended, and compare; `None` when it was stopped.

    `messages` is the branch before the answer. The pair it was made with must be loaded. Raises UsageError for an answer that
    holds no tokens or no setup, and what the engine raises.
    """
    setup, length = _replayable(turn)

    def show(figures: LiveFigures, text: str) -> None:
        watch(Step("plain", 1, 1, length, figures, text))

    plain = _decode(client, _as(setup, PLAIN, length).chat(messages), show, stopped)
    if plain is None:
        return None
    return Verdict(_difference(plain.rounds, turn.rounds), _why_different(setup), turn.statistics, plain.statistics)


def compare(
    client: EngineClient, turn: Turn, messages: Sequence[Message], watch: Watch, stopped: Callable[[], bool], repeats: int = 2
) -> Comparison | None:
    """Decode an answer `repeats` times plain and speculatively, in turn so that both meet the same machine; `None` when stopped.

    An answer under 200 tokens is too short to leave the start behind, so one more run of each comes first and is not counted.
    An answer made with drafting off is compared with automatic drafting. `messages` and errors are as for `verify`.
    """
    setup, length = _replayable(turn)
    drafting = setup.drafting if setup.drafting.draft != "off" else setup.drafting.model_copy(update={"draft": "auto"})
    chats = {
        "plain": _as(setup, PLAIN, length).chat(messages),
        "speculative": _as(setup, drafting, length).chat(messages),
    }
    uncounted = 1 if length < SHORT_ANSWER else 0
    order = SIDES * (uncounted + repeats)
    found: dict[Side, list[Replay]] = {side: [] for side in SIDES}
    for number, side in enumerate(order, 1):

        def show(figures: LiveFigures, text: str, side: Side = side, number: int = number) -> None:
            watch(Step(side, number, len(order), length, figures, text))

        replay = _decode(client, chats[side], show, stopped)
        if replay is None:
            return None
        found[side].append(replay)
    plain, speculative = (tuple(found[side][uncounted:]) for side in SIDES)
    differences = (_difference(one.rounds, other.rounds) for one, other in zip(plain, speculative, strict=True))
    return Comparison(plain, speculative, next(filter(None, differences), None), _why_different(setup))


def _replayable(turn: Turn) -> tuple[Setup, int]:
    """How an answer was made and its number of tokens."""
    length = len(_tokens(turn.rounds))
    if turn.setup is None or not length:
        raise UsageError("This answer holds no tokens to decode again.", "Regenerate it, then try again.")
    return turn.setup, length


def _as(setup: Setup, drafting: Drafting, length: int) -> Setup:
    return setup.model_copy(update={"drafting": drafting, "max_tokens": length})


def _decode(client: EngineClient, chat: Chat, show: Callable[[LiveFigures, str], None], stopped: Callable[[], bool]) -> Replay | None:
    """Run a request to its end, showing it at most 15 times a second; `None` when it was stopped."""
    if stopped():
        return None
    figures = LiveFigures()
    rounds: list[Round] = []
    text: list[str] = []
    shown = 0.0
    asked = False
    request = client.send(chat)
    for event in client.events(request):
        now = time.monotonic()
        match event:
            case Error():
                raise error_of(event)
            case Started():
                figures.started(event, now)
            case Round():
                rounds.append(event)
                text += (run.text for run in event.runs)
                figures.rounds([event], now)
            case Done():
                figures.done(event)
        if isinstance(event, Done) or now - shown >= WATCH_SECONDS:
            show(copy.deepcopy(figures), "".join(text))
            shown = now
        if isinstance(event, Done):
            return None if asked else Replay(tuple(rounds), event.statistics)
        if not asked and stopped():
            client.stop(request)
            asked = True
    raise AssertionError("an answer ends with done or error")


def _difference(plain: Sequence[Round], speculative: Sequence[Round]) -> Difference | None:
    """The first token that is not the same."""
    apart = parting(_tokens(plain), _text(plain), _tokens(speculative), _text(speculative))
    return Difference(apart.token, apart.one, apart.other) if apart else None


def _why_different(setup: Setup) -> str:
    """Why an answer made so may differ from plain decoding; empty where it must not."""
    accept = setup.drafting.accept
    if accept.startswith("threshold"):
        return f"The accept rule {accept} is lossy: it keeps drafted tokens that the target would not have chosen."
    if accept == "rejection" and setup.sampling.temperature != 0:
        return "The rejection rule keeps the target's distribution but draws other random numbers than plain decoding does."
    if not setup.exact:
        return "Exact mode was off, so the two may round differently."
    return ""


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "↵").replace("\t", "⇥")


def _tokens(rounds: Sequence[Round]) -> list[int]:
    return [token for round_ in rounds for run in round_.runs for token in run.tokens]


def _text(rounds: Sequence[Round]) -> str:
    return "".join(run.text for round_ in rounds for run in round_.runs)
