"""Measure what the app costs its engine: tokens per second with the app attached, against the engine alone, in one interleaved run.

    python scripts/measure_app.py [--repeats 6] [--tokens 300] [--json FILE]

Two engine processes load the same pair. One is driven by a bare client, the other belongs to the real app in a terminal of 120x40
cells, which is driven by its keys. Both answer the same prompts by the same seeds in turn. A rate is the engine's own, from the end
of the prefill; the app's is read from its session store. Two processes of the same engine differ by some percent as long as they
live, so each repeat starts both anew. Pairs of answers during which other programs used the processor are shown and not counted,
unless they are nearly all. Linux only. Prints a Markdown table on stdout.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from specchat.choices import choose_models
from specchat.client import EngineClient
from specchat.paths import find_paths
from specchat.store import Store
from specdec.events import Chat, Done, Load, Ready, Round, Statistics
from specdec.machine import processor
from specdec.options import Drafting, LoadOptions, Message, Sampling

PROMPTS = ("Tell me a very long story.", "Tell me a long story about a dog.", "Write a story about a girl named Lily and her cat.")
COLUMNS, LINES = 120, 40
TICKS = os.sysconf("SC_CLK_TCK")
NEW_CONVERSATION, ENTER, QUIT = b"\x0e", b"\r", b"\x11"
SETTLING_SECONDS = 0.3
LIMIT_SECONDS = 300.0
DISTURBED_CORES = 0.1
FEWEST = 4
PASSES = 2


@dataclass(frozen=True)
class Answer:
    """What one answer came to; `cpu_seconds` are those of the app's process, 0 where there is none."""

    text: str
    statistics: Statistics
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Pair:
    """One prompt answered both ways, by the processes of one repeat; `others` tells how many cores other programs used meanwhile."""

    repeat: int
    prompt: str
    alone: Answer
    app: Answer
    others: float

    @property
    def ratio(self) -> float:
        """The engine's speed with the app as a part of that without."""
        return self.app.statistics.tokens_per_second / self.alone.statistics.tokens_per_second


class Alone:
    """An engine whose events are read and dropped."""

    def __init__(self, client: EngineClient, load: LoadOptions, drafting: Drafting, tokens: int) -> None:
        self._client = client
        self._drafting = drafting
        self._tokens = tokens
        *_, last = client.events(client.send(Load(options=load)))
        if not isinstance(last, Ready):
            raise SystemExit(f"The pair cannot be loaded: {last}")
        self.ready = last

    def answer(self, prompt: str, seed: int) -> Answer:
        """Decode one answer."""
        message = Message(role="user", content=prompt)
        chat = Chat(messages=(message,), sampling=Sampling(seed=seed), drafting=self._drafting, max_tokens=self._tokens)
        text = ""
        for event in self._client.events(self._client.send(chat)):
            if isinstance(event, Round):
                text += "".join(run.text for run in event.runs)
        if not isinstance(event, Done):
            raise SystemExit(f"The engine gave no answer: {event}")
        return Answer(text, event.statistics)


class App:
    """The app in a terminal whose screen nobody sees."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self._shown = threading.Event()
        threading.Thread(target=self._drop_output, daemon=True).start()
        if not self._shown.wait(60):
            raise SystemExit("The app does not show itself.")
        time.sleep(SETTLING_SECONDS)
        self._store = Store(find_paths().database)

    def answer(self, prompt: str, seed: int) -> Answer:
        """Type a prompt into an empty conversation, and take its answer from the store once it has ended."""
        before = len(self._store.sessions())
        for keys in (f"/seed {seed}".encode() + ENTER, NEW_CONVERSATION, prompt.encode()):
            os.write(self._terminal, keys)
            time.sleep(SETTLING_SECONDS)
        began = _cpu_seconds(self._process.pid)
        os.write(self._terminal, ENTER)
        limit = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < limit:
            time.sleep(SETTLING_SECONDS)
            rows = self._store.sessions()
            last = self._store.load(rows[0].id).branch()[-1] if len(rows) > before else None
            if last is not None and last.statistics is not None:
                time.sleep(SETTLING_SECONDS)
                return Answer(last.text, last.statistics, _cpu_seconds(self._process.pid) - began)
            if self._process.poll() is not None or (last is not None and last.error):
                break
        raise SystemExit(f"The app gave no answer to {prompt!r}; its log is {find_paths().engine_log}.")

    def quit(self) -> None:
        """Leave by the key, or by force."""
        os.write(self._terminal, QUIT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _drop_output(self) -> None:
        with suppress(OSError):
            while os.read(self._terminal, 65536):
                self._shown.set()


@contextmanager
def opened_app(*options: str) -> Iterator[App]:
    """The app with options of its command line."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "specchat", *options],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )
    os.close(inside)
    try:
        app = App(process, terminal)
        yield app
        app.quit()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@contextmanager
def own_folders() -> Iterator[None]:
    """Settings and conversations of this run only; downloaded models stay where they are."""
    os.environ.setdefault("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    with tempfile.TemporaryDirectory(prefix="measure_app_") as folder:
        os.environ |= {"HOME": folder} | {f"XDG_{name}_HOME": f"{folder}/{name.lower()}" for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        yield


def _cpu_seconds(pid: int) -> float:
    """What all threads of a process have used so far; 0 for one that is gone."""
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return (int(user) + int(system)) / TICKS


def _family(pid: int) -> Iterator[int]:
    """A process and all that it started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _others_seconds() -> float:
    """What everything but this program and its children has used of the processor so far."""
    user, nice, system, _idle, _wait, *interrupts = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / TICKS - sum(map(_cpu_seconds, _family(os.getpid())))


def measure(alone: Alone, app: App, repeat: int) -> Iterator[Pair]:
    """The pairs in the order of asking, after one that warms up."""
    for number, prompt in enumerate([PROMPTS[0], *PROMPTS * PASSES]):
        seed = 1000 * repeat + number
        began, before = time.monotonic(), _others_seconds()
        answers = alone.answer(prompt, seed), app.answer(prompt, seed)
        others = max(_others_seconds() - before, 0.0) / (time.monotonic() - began)
        if number:
            yield Pair(repeat, prompt, *answers, others)


def table(found: list[Pair]) -> str:
    """A row for each pair of answers."""
    lines = ["| repeat | prompt | tokens | alone, tok/s | with the app, tok/s | ratio | app, CPU s | others, cores |", "|---" * 8 + "|"]
    for pair in found:
        rates = (f"{answer.statistics.tokens_per_second:.1f}" for answer in (pair.alone, pair.app))
        tokens = pair.app.statistics.answer_tokens
        figures = (f"{pair.ratio:.3f}", f"{pair.app.cpu_seconds:.2f}", f"{pair.others:.2f}")
        lines.append(f"| {' | '.join([str(pair.repeat), pair.prompt, str(tokens), *rates, *figures])} |")
    return "\n".join(lines)


def summary(found: list[Pair]) -> tuple[float, str]:
    """The median ratio, and a sentence on it."""
    quiet = [pair for pair in found if pair.others < DISTURBED_CORES]
    counted = quiet if len(quiet) >= FEWEST else found
    ratios = [pair.ratio for pair in counted]
    low, middle, high = statistics.quantiles(ratios, n=4)
    repeats = {pair.repeat: [other.ratio for other in counted if other.repeat == pair.repeat] for pair in counted}
    medians = ", ".join(f"{statistics.median(of_one):.3f}" for of_one in repeats.values())
    spread = f"quartiles {low:.3f} to {high:.3f}; by repeat {medians}"
    share = sum(pair.app.cpu_seconds for pair in counted) / sum(pair.app.statistics.decode_ms / 1000 for pair in counted)
    return middle, (
        f"Median ratio {middle:.3f} ({spread}) of {len(counted)} pairs; {len(quiet)} of {len(found)} were undisturbed by other programs. "
        f"The app used {share:.2f} cores while an answer was decoded."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--pair", default="demo")
    parser.add_argument("--draft", choices=("auto", "off", "ngram", "model"), default="auto")
    parser.add_argument("--exact", choices=("on", "off"), default="on")
    parser.add_argument(
        "--threads", type=int, help="of each engine on a CPU [default: each chooses, the app's leaves a core to the screen]"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    drafting = Drafting(draft=options.draft)
    settings = ("--pair", options.pair, "--draft", options.draft, "--exact", options.exact, "--max-tokens", str(options.tokens))
    found: list[Pair] = []
    for repeat in range(1, options.repeats + 1):
        with own_folders(), EngineClient(find_paths().engine_log.with_name("alone.log")) as client:
            user_registry = find_paths().user_registry
            load = choose_models(user_registry, drafting, options.pair, None, None, dtype=None, context=None, exact=options.exact)
            alone = Alone(client, load, drafting, options.tokens)
            with opened_app(*settings) as app:
                found += measure(alone, app, repeat)
        print(f"repeat {repeat} of {options.repeats}", file=sys.stderr)
    ready = alone.ready
    machine = f"{processor()}, {os.cpu_count()} cores, {ready.device}, {ready.dtype}, {ready.threads} threads"
    versions = {name: version(name) for name in ("specchat", "textual", "torch", "pydantic")} | {"python": sys.version.split()[0]}
    middle, sentence = summary(found)
    print(f"{machine}; {', '.join(f'{name} {number}' for name, number in versions.items())}; {' '.join(settings)}\n")
    print(table(found))
    same = sum(pair.alone.text == pair.app.text for pair in found)
    print(f"\n{sentence}\n{same} of {len(found)} texts are the same with and without the app.")
    if options.json:
        result = {"machine": machine, "versions": versions, "ready": ready.model_dump(), "settings": settings, "median_ratio": middle}
        pairs = [{**asdict(pair), "ratio": pair.ratio} for pair in found]
        options.json.write_text(json.dumps(result | {"pairs": pairs}, indent=1, default=Statistics.model_dump) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
