"""From clean chats to conversations as the app has them: several subjects in one chat, and sometimes a system message."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo_pair import stories
from demo_pair.chats import Chat, CorpusError, Message
from demo_pair.exercises import exercises
from demo_pair.questions import plain, read_conversations, read_questions
from demo_pair.sources import read_folder

HELD_OUT_ONE_IN = 50
QUESTION_REPEATS = 3
CONVERSATION_REPEATS = 8
EXERCISES = 30_000
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
class SourceChats:
    """The chats of one public source that fit in with the hand-written questions, and how often one epoch repeats them."""

    title: str
    licence: str
    training: list[Chat]
    held_out: list[Chat]
    repeats: int


@dataclass(frozen=True)
class Data:
    """Conversations to train on, and (title, licence, chats) of every source."""

    conversations: list[list[Message]]
    sources: list[tuple[str, str, int]]


def gather(folder: Path, seed: int) -> Data:
    """Everything that there is to train on, mixed. Raises CorpusError if the folder holds no chat."""
    chance = random.Random(seed)
    public = read_public(folder)
    questions = read_questions()
    own = [chat for question in questions for _ in range(QUESTION_REPEATS) for chat in question.retyped_chats(chance)]
    conversations = read_conversations()
    drills = [Chat("exercises", tuple(exercise.messages)) for exercise in exercises(EXERCISES, seed, held_out=False)]
    chats = [*own, *conversations * CONVERSATION_REPEATS, *drills]
    chats += [chat for source in public for chat in source.training * source.repeats]
    hand_written = sum(len(question.questions) for question in questions) + len(conversations)
    sources = [
        ("Hand-written questions and conversations about specchat and simple things", "Apache-2.0", hand_written),
        ("Generated exercises: repeating, sorting, counting, small sums and the like", "Apache-2.0", len(drills)),
        *((source.title, source.licence, len(source.training) + len(source.held_out)) for source in public),
    ]
    return Data(compose(chats, seed), sources)


def held_out(folder: Path) -> dict[str, list[Chat]]:
    """The chats of each public source, by title, that are never trained on. Raises CorpusError if the folder holds no chat."""
    return {source.title: [_in_character(chat) for chat in source.held_out] for source in read_public(folder)}


def read_public(folder: Path) -> list[SourceChats]:
    """Every public source in a folder, less chats that ask a question of ours with another answer or in its held-out phrasing."""
    sets = [(source.title, source.licence, chats, source.repeats) for source, chats in read_folder(folder)]
    told = stories.read_stories(folder)
    if told:
        sets.append((stories.TITLE, stories.LICENCE, told, 1))
    questions = read_questions()
    answers = {plain(phrasing): question.answer for question in questions for phrasing in question.questions}
    never = {plain(question.held_out) for question in questions}

    def suits(chat: Chat) -> bool:
        asked, answer = plain(chat.messages[0]["content"]), chat.messages[1]["content"]
        return asked not in never and (len(chat.messages) > 2 or answers.get(asked, answer) == answer)

    found = [
        SourceChats(title, licence, *split([chat for chat in chats if suits(chat)]), repeats) for title, licence, chats, repeats in sets
    ]
    if not any(source.held_out for source in found):
        raise CorpusError(f"the corpus files in {folder} hold no usable chat")
    return found


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


def _in_character(chat: Chat) -> Chat:
    """The chat behind its system message, where one of its source never comes without."""
    if SYSTEM_SHARES.get(chat.source, 0.0) < 1:
        return chat
    return Chat(chat.source, (Message(role="system", content=SYSTEMS[chat.source][0]), *chat.messages))


def _characters(messages: Iterable[Message]) -> int:
    """The length of the text."""
    return sum(len(message["content"]) for message in messages)
