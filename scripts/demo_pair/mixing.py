"""From clean chats to conversations as the app has them: several subjects in one chat, and sometimes a system message."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo_pair import stories
from demo_pair.corpus import Chat, CorpusError, Message, read_folder, read_identity

HELD_OUT_ONE_IN = 50
IDENTITY_REPEATS = 30
MOST_JOINED = 4
MOST_CHARACTERS = 2400
HELPFUL = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "Answer briefly and clearly.",
    "You are a small, local assistant.",
)
SYSTEM_SHARES = {"synthetic_persona_chat_valtest": 1.0, "taskmaster4": 0.5, "taskmaster3_partial": 0.5}
OTHER_SYSTEM_SHARE = 0.2
SYSTEMS = {
    "synthetic_persona_chat_valtest": ("You are a person who enjoys small talk.", "Make small talk as a friendly person."),
    "taskmaster4": ("You take orders in a coffee shop.", "You are a barista."),
    "taskmaster3_partial": ("You help people buy movie tickets.", "You sell movie tickets."),
}


@dataclass(frozen=True)
class Data:
    """Conversations to train on, conversations held out, and (title, licence, chats) of every source."""

    training: list[list[Message]]
    held_out: list[list[Message]]
    sources: list[tuple[str, str, int]]


def gather(folder: Path, seed: int) -> Data:
    """Everything that a corpus folder offers, mixed, less other answers to our own questions. Raises CorpusError if it holds no chat."""
    sets = [(source.title, source.licence, chats, source.repeats) for source, chats in read_folder(folder)]
    told = stories.read_stories(folder)
    if told:
        sets.append((stories.TITLE, stories.LICENCE, told, 1))
    identity = [chat for entry in read_identity() for chat in entry.chats()]
    ours = {_plain(chat) for chat in identity}
    training, held_out = identity * IDENTITY_REPEATS, []
    sources = [("Hand-written answers about specchat", "Apache-2.0", len(identity))]
    for title, licence, chats, repeats in sets:
        others = [chat for chat in chats if len(chat.messages) > 2 or _plain(chat) not in ours]
        kept, aside = split(others)
        training += kept * repeats
        held_out += aside
        sources.append((title, licence, len(others)))
    if not held_out:
        raise CorpusError(f"the corpus files in {folder} hold no usable chat")
    return Data(compose(training, seed), compose(held_out, seed), sources)


def split(chats: Iterable[Chat]) -> tuple[list[Chat], list[Chat]]:
    """The chats to train on and those held out, chosen by a hash of the text; at least one is held out."""
    ordered = sorted(chats, key=lambda chat: (chat.digest % HELD_OUT_ONE_IN, chat.digest))
    held_out = [chat for chat in ordered if chat.digest % HELD_OUT_ONE_IN == 0] or ordered[:1]
    return ordered[len(held_out) :], held_out


def compose(chats: Sequence[Chat], seed: int) -> list[list[Message]]:
    """Conversations in random order: single exchanges are joined a few at a time, longer chats stay as they are."""
    chance = random.Random(seed)
    shuffled = chance.sample(chats, len(chats))
    conversations = [_with_system(chat.source, list(chat.messages), chance) for chat in shuffled if len(chat.messages) > 2]
    exchanges = [chat for chat in shuffled if len(chat.messages) == 2]
    while exchanges:
        count = chance.choices(range(1, MOST_JOINED + 1), weights=range(MOST_JOINED, 0, -1))[0]
        first = exchanges.pop()
        joined = list(first.messages)
        while exchanges and len(joined) < 2 * count and _characters(joined) + _characters(exchanges[-1].messages) <= MOST_CHARACTERS:
            joined += exchanges.pop().messages
        conversations.append(_with_system("" if len(joined) > 2 else first.source, joined, chance))
    return chance.sample(conversations, len(conversations))


def _with_system(source: str, messages: list[Message], chance: random.Random) -> list[Message]:
    """The messages, now and then behind a system message; always where the assistant plays a person, whose life is not its own."""
    if chance.random() >= SYSTEM_SHARES.get(source, OTHER_SYSTEM_SHARE):
        return messages
    return [Message(role="system", content=chance.choice(SYSTEMS.get(source, HELPFUL))), *messages]


def _plain(chat: Chat) -> str:
    """The question in small letters without its end mark, so that ways of typing it compare equal."""
    return chat.messages[0]["content"].lower().rstrip(" .!?")


def _characters(messages: Iterable[Message]) -> int:
    """The length of the text."""
    return sum(len(message["content"]) for message in messages)
