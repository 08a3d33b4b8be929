"""The line-mode chat: for pipes, screen readers and dumb terminals; one line is one message."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from specchat.answer import Answer, ask, load
from specchat.choices import Job, checked
from specchat.client import EngineClient
from specchat.console import report, say
from specchat.prompt import decode
from specchat.writer import TextWriter, print_figures
from specdec.errors import SpecError, UsageError
from specdec.events import Event
from specdec.options import Message, Sampling

HELP = "Commands: /new /seed N /stats /quit. Begin a message with a space if it starts with a slash."


def chat_in_lines(job: Job, marks: bool, statistics: bool, engine: Sequence[str], log: Path) -> int:
    """Chat until the end of input; returns 1 if any message went unanswered because of an error, else 0."""
    at_terminal = sys.stdin.isatty()
    if at_terminal and os.environ.get("TERM") != "dumb":
        import readline  # noqa: F401  (gives input() line editing and history)
    with EngineClient(log, engine) as client:
        chat = _Chat(client, job, TextWriter(marks), statistics)
        chat.load()
        while True:
            try:
                message = _read_message(at_terminal)
                if message is None or message.strip() == "/quit":
                    break
                chat.take(message)
            except KeyboardInterrupt:
                if not at_terminal:
                    raise
                print()
    return 1 if chat.failed else 0


class _Chat:
    """A conversation with one engine, which is started again if it was lost."""

    def __init__(self, client: EngineClient, job: Job, writer: TextWriter, statistics: bool) -> None:
        self.failed = False
        self._client = client
        self._job = job
        self._writer = writer
        self._statistics = statistics
        self._sampling = job.sampling
        self._messages: list[Message] = []
        self._answer = Answer()

    def load(self) -> None:
        self._ready = load(self._client, self._job.load, self._writer.watch)

    def take(self, message: str) -> None:
        """Obey a command or answer a message; errors are reported and the conversation goes on."""
        try:
            if message.startswith("/"):
                self._obey(message)
            elif message.strip():
                self._reply(message)
        except UsageError as error:
            report(error)
        except SpecError as error:
            self.failed = True
            report(error)

    def _obey(self, line: str) -> None:
        match line.split():
            case ["/new"]:
                self._messages.clear()
            case ["/seed", number]:
                self._sampling = checked(Sampling, **self._sampling.model_dump() | {"seed": number})
            case ["/stats"]:
                print_figures(self._answer)
            case _:
                say(HELP)

    def _reply(self, message: str) -> None:
        question = Message(role="user", content=message)
        if not self._client.alive:
            self._client.restart()
            self.load()
        answer = self._answer = Answer(ready=self._ready)

        def watch(event: Event) -> None:
            answer.record(event)
            self._writer.watch(event)

        try:
            ask(self._client, self._job.chat([*self._messages, question], self._sampling), watch)
        except KeyboardInterrupt:
            say("The engine was ended; it starts again with the next message.")
        finally:
            self._writer.end(answer, self._statistics)
            if answer.text:
                self._messages += [question, Message(role="assistant", content=answer.text)]


def _read_message(at_terminal: bool) -> str | None:
    """The next line, continued while it ends in a backslash; `None` at the end of input."""
    parts: list[str] = []
    while (line := _read_line("> " if not parts else ". ", at_terminal)) is not None:
        if not line.endswith("\\"):
            return "\n".join([*parts, line])
        parts.append(line[:-1])
    return "\n".join(parts) if parts else None


def _read_line(prompt: str, at_terminal: bool) -> str | None:
    if at_terminal:
        try:
            return input(prompt)
        except EOFError:
            print()
            return None
    line = decode(sys.stdin.buffer.readline(), "A line of standard input")
    return line.removesuffix("\n") if line else None
