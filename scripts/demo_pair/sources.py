"""Public data sets as clean chats, each with its licence, so that the model cards can name what was used."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demo_pair.chats import Chat, CorpusError, Message, chat_of, json_lines
from demo_pair.questions import read_questions

ANSWERS_PER_CHITCHAT_REPLY = 12
UNSUITABLE_TOPICS = {f"chatterbot/{topic}.yml" for topic in ("gossip", "politics", "emotion", "psychology", "humor")}
PLACEHOLDER = re.compile(r"\[|\([^)]*\b(name|user|your|location)\b[^)]*\)|\buser ?[12]\b", re.IGNORECASE)
TYPEWRITER = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2028\u00a0", "''\"\"-  ", "\r")
UNSUITABLE_REPLIES = {
    "I'm digital.",
    "Eh, I like how I look.",
    "That doesn't really apply to me.",
    "I can't see you, but I like you!",
    "That's not one of my talents.",
}


@dataclass(frozen=True)
class Source:
    """A data set: how to choose among its chats, and how often one epoch repeats it."""

    file: str
    title: str
    licence: str
    choose: Callable[[list[Chat]], Iterable[Chat]]
    repeats: int = 1


def read_source(path: Path, source: Source) -> list[Chat]:
    """The chosen chats of one file, cleaned and without duplicates."""
    chats = []
    for record in json_lines(path):
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
    """Every second chat or so: the set is large for what a model of this size can learn from it."""
    return (chat for chat in chats if chat.digest >> 32 & 1)


def _balanced_replies(chats: list[Chat]) -> Iterator[Chat]:
    """A few questions for each suitable reply; where a question of ours takes a reply's place, all its phrasings and our answer."""
    ours = {reply: question.answer for question in read_questions() for reply in question.replaces}
    seen: Counter[str] = Counter()
    for chat in sorted(chats, key=lambda chat: chat.digest):
        question, reply = (message["content"] for message in chat.messages)
        seen[reply] += 1
        if reply in ours:
            yield chat_of(chat.source, question, ours[reply])
        elif seen[reply] <= ANSWERS_PER_CHITCHAT_REPLY and reply not in UNSUITABLE_REPLIES:
            yield chat


SOURCES = (
    Source("synthetic_persona_chat_valtest.jsonl", "Synthetic-Persona-Chat (Google)", "CC-BY-4.0", _without_placeholders),
    Source("gsm8k_train.jsonl", "GSM8K, training split (OpenAI)", "MIT", _half),
    Source("taskmaster4.jsonl", "Taskmaster-4 (Google)", "CC-BY-4.0", _all),
    Source("taskmaster3_partial.jsonl", "Taskmaster-3, a part (Google)", "CC-BY-4.0", _half),
    Source("ms_chitchat_friendly.jsonl", "Personality chat, friendly (Microsoft)", "MIT", _balanced_replies, repeats=2),
    Source("rasbt_instruction.jsonl", "Instruction examples (Sebastian Raschka)", "Apache-2.0", _all, repeats=6),
    Source("chatterbot_english.jsonl", "ChatterBot corpus, English", "BSD-3-Clause", _suitable_first_exchanges, repeats=3),
)
