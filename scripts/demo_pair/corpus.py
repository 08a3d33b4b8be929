"""Public data sets as clean chats, each with its licence, so that the model cards can name what was used."""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ANSWERS_PER_CHITCHAT_REPLY = 12
UNSUITABLE_TOPICS = {f"chatterbot/{topic}.yml" for topic in ("gossip", "politics", "emotion", "psychology", "humor")}
PLACEHOLDER = re.compile(r"\[|\([^)]*\b(name|user|your|location)\b[^)]*\)|\buser ?[12]\b", re.IGNORECASE)
TYPEWRITER = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2028\u00a0", "''\"\"-  ", "\r")
Message = dict[str, str]
IDENTITY_FILE = Path(__file__).parent.parent / "demo_corpus" / "identity.jsonl"


class CorpusError(Exception):
    """The folder given has nothing to train on."""


@dataclass(frozen=True)
class Chat:
    """A conversation that starts with the user, alternates, and ends with the assistant."""

    source: str
    messages: tuple[Message, ...]

    @property
    def digest(self) -> int:
        """A number that depends on the text alone, for choices that must never change between runs."""
        return int.from_bytes(hashlib.sha256(json.dumps(self.messages).encode()).digest()[:8], "big")


@dataclass(frozen=True)
class Source:
    """A data set: how to choose among its chats, and how often one epoch repeats it."""

    file: str
    title: str
    licence: str
    choose: Callable[[list[Chat]], Iterable[Chat]]
    repeats: int = 1


@dataclass(frozen=True)
class Identity:
    """What the assistant says about itself: one answer to several questions, in place of one that the chit-chat data gives."""

    questions: list[str]
    answer: str
    replaces: str | None = None

    def chats(self) -> list[Chat]:
        """One chat for each way of asking."""
        return [exchange("identity", question, self.answer) for question in self.questions]


def exchange(source: str, question: str, answer: str) -> Chat:
    """A chat of one question and its answer."""
    return Chat(source, (Message(role="user", content=question), Message(role="assistant", content=answer)))


def read_identity() -> list[Identity]:
    """The hand-written answers about the model and the app."""
    return [Identity(**json.loads(line)) for line in _lines(IDENTITY_FILE)]


def read_source(path: Path, source: Source) -> list[Chat]:
    """The chosen chats of one file, cleaned and without duplicates."""
    chats = []
    for line in _lines(path):
        record = json.loads(line)
        messages = _well_formed(record["messages"])
        if messages:
            chats.append(Chat(record["source"], messages))
    distinct = {chat.digest: chat for chat in chats}
    return list(source.choose(list(distinct.values())))


def read_folder(folder: Path) -> list[tuple[Source, list[Chat]]]:
    """Every known data set in a folder; the absent ones are named on stderr. Raises CorpusError if none is there."""
    found = [source for source in SOURCES if (folder / source.file).is_file()]
    if not found:
        raise CorpusError(f"no corpus file (such as {SOURCES[0].file}) in {folder}")
    for source in SOURCES:
        if source not in found:
            print(f"left out, not in the corpus folder: {source.file}", file=sys.stderr)
    return [(source, read_source(folder / source.file, source)) for source in found]


def _lines(path: Path) -> list[str]:
    """Lines ended by a line feed only, since some texts hold other Unicode line separators."""
    return [line for line in path.read_bytes().decode("utf-8").split("\n") if line.strip()]


def _well_formed(turns: list[Message]) -> tuple[Message, ...]:
    """The turns in plain typography up to the last of the assistant, or none if roles do not alternate or a turn is empty."""
    messages = [Message(role=turn["role"], content=turn["content"].translate(TYPEWRITER).strip()) for turn in turns]
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    expected = ["user", "assistant"] * (len(messages) // 2)
    proper = [message["role"] for message in messages] == expected and all(message["content"] for message in messages)
    return tuple(messages) if proper else ()


def _all(chats: list[Chat]) -> list[Chat]:
    """Every chat: the set is clean as it is."""
    return chats


def _without_placeholders(chats: list[Chat]) -> Iterator[Chat]:
    """Chats whose people have names, not blanks such as "[user 1's name]"."""
    return (chat for chat in chats if not any(PLACEHOLDER.search(message["content"]) for message in chat.messages))


def _suitable_first_exchanges(chats: list[Chat]) -> Iterator[Chat]:
    """First exchanges on suitable topics: the later turns of this set are often other answers to the first question."""
    for chat in chats:
        first = chat.messages[:2]
        if chat.source not in UNSUITABLE_TOPICS and all(len(message["content"]) > 1 for message in first):
            yield Chat(chat.source, first)


def _half(chats: list[Chat]) -> Iterator[Chat]:
    """Every second chat or so: the set is large for its quality."""
    return (chat for chat in chats if chat.digest >> 32 & 1)


def _balanced_replies(chats: list[Chat]) -> Iterator[Chat]:
    """A few questions for each reply; those about the assistant itself keep all their phrasings and get our own answer."""
    ours = {identity.replaces: identity.answer for identity in read_identity() if identity.replaces}
    seen: Counter[str] = Counter()
    for chat in sorted(chats, key=lambda chat: chat.digest):
        question, reply = (message["content"] for message in chat.messages)
        seen[reply] += 1
        if reply in ours:
            yield exchange(chat.source, question, ours[reply])
        elif seen[reply] <= ANSWERS_PER_CHITCHAT_REPLY:
            yield chat


SOURCES = (
    Source("synthetic_persona_chat_valtest.jsonl", "Synthetic-Persona-Chat (Google)", "CC-BY-4.0", _without_placeholders),
    Source("gsm8k_train.jsonl", "GSM8K, training split (OpenAI)", "MIT", _all),
    Source("taskmaster4.jsonl", "Taskmaster-4 (Google)", "CC-BY-4.0", _all),
    Source("taskmaster3_partial.jsonl", "Taskmaster-3, a part (Google)", "CC-BY-4.0", _half),
    Source("ms_chitchat_friendly.jsonl", "Personality chat, friendly (Microsoft)", "MIT", _balanced_replies, repeats=2),
    Source("rasbt_instruction.jsonl", "Instruction examples (Sebastian Raschka)", "Apache-2.0", _all, repeats=6),
    Source("chatterbot_english.jsonl", "ChatterBot corpus, English", "BSD-3-Clause", _suitable_first_exchanges, repeats=2),
)
