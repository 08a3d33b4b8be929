"""The open conversation: what a user does to it, kept in step with the store."""

from __future__ import annotations

import copy
from collections.abc import Callable

from specchat.answer import error_of
from specchat.store import Store
from specchat.transcript import Session, Setup, Turn, new_session, title_of
from specdec.errors import SpecError, UsageError
from specdec.events import Done, Error, Event, Ready, Round, Started

Complain = Callable[[SpecError], None]


def apply(turn: Turn, event: Event) -> None:
    """Add to an answer what the engine said."""
    match event:
        case Ready() if turn.setup is not None:
            known = {name: getattr(event, name) for name in ("draft", "dtype", "device", "exact", "context")}
            turn.setup = turn.setup.model_copy(update=known)
        case Started() if turn.setup is not None:
            turn.setup = turn.setup.model_copy(update={"sampling": event.sampling})
        case Round():
            turn.add([event])
        case Done():
            turn.finish = event.finish
            turn.statistics = event.statistics
        case Error():
            turn.error = str(error_of(event))


class Recorder:
    """Saves an answer while it streams: called with each event, on the engine's thread, before the screen sees it.

    It keeps a copy of the answer, so that the screen's own is touched by one thread only. The first failure to save goes to
    `complain`; the answer streams on.
    """

    def __init__(self, store: Store, turn: Turn, complain: Complain, saving: bool = True) -> None:
        self._store = store
        self._turn = copy.deepcopy(turn)
        self._complain = complain
        self._saving = saving

    def __call__(self, event: Event) -> None:
        known = len(self._turn.rounds)
        apply(self._turn, event)
        if not self._saving:
            return
        try:
            if isinstance(event, Round):
                self._store.add_rounds(self._turn.id, self._turn.rounds[known:])
            elif isinstance(event, Started | Done | Error):
                self._store.settle(self._turn)
        except SpecError as error:
            self._saving = False
            self._complain(error)


class Conversation:
    """A session and its place in the store. What cannot be saved stays in memory, goes to `complain`, and is tried again later."""

    def __init__(self, store: Store, session: Session, complain: Complain) -> None:
        self.session = session
        self._store = store
        self._complain = complain
        self._stored = bool(session.turns)
        self._unsaved = False

    @classmethod
    def fresh(cls, store: Store, pair: str, system: str, complain: Complain) -> Conversation:
        """An empty one; it enters the store with its first prompt."""
        return cls(store, new_session(pair, system), complain)

    def ask(self, text: str, setup: Setup, instead_of: Turn | None = None) -> tuple[Turn, Turn]:
        """Add a prompt and the answer it will get, at the head or as an alternative to an earlier prompt."""
        if not self.session.title:
            self.session.title = title_of(text)
        if instead_of is None:
            prompt = self.session.append("user", text)
        else:
            prompt = self.session.append("user", text, parent=instead_of.parent, first=instead_of.parent is None)
        answer = self._answer(prompt, setup)
        self._save(prompt, answer)
        return prompt, answer

    def retry(self, prompt: Turn, setup: Setup) -> Turn:
        """Add another answer to a prompt."""
        answer = self._answer(prompt, setup)
        self._save(answer)
        return answer

    def reopen(self, answer: Turn) -> None:
        """Make an interrupted answer one that streams again."""
        answer.finish, answer.error = None, ""
        self.session.head = answer.id
        self._save()

    def withdraw(self, answer: Turn) -> str:
        """Take back an answer that never began, with its prompt if nothing else answers it; returns the text of that prompt."""
        gone = [answer]
        if answer.parent is not None and len(self.session.children(answer.parent)) == 1:
            gone.append(self.session.turns[answer.parent])
        for turn in gone:
            del self.session.turns[turn.id]
        self._try(lambda: self._store.remove_turns([turn.id for turn in gone]))
        above = gone[-1].parent
        before = [turn for turn in self.session.children(above) if turn.created <= gone[-1].created]
        self.session.head = self.session.tip(before[-1].id) if before else above
        self._save()
        return "".join(turn.text for turn in gone)

    def step(self, turn: Turn, step: int) -> bool:
        """Show the alternative `step` places from a turn; returns whether there is one."""
        number, count = self.session.place(turn.id)
        if not 1 <= number + step <= count:
            return False
        self.session.head = self.session.tip(self.session.siblings(turn.id)[number + step - 1].id)
        self._save()
        return True

    def positions(self) -> dict[str, tuple[int, int]]:
        """For each turn of the branch: its number among its alternatives, and how many there are."""
        return {turn.id: self.session.place(turn.id) for turn in self.session.branch()}

    def rename(self, title: str) -> None:
        """Give it a title; raises UsageError for a blank one."""
        if not title.strip():
            raise UsageError("A title needs at least one letter.", "Try /rename TITLE.")
        self.session.title = " ".join(title.split())
        self._save()

    def change_system(self, system: str) -> None:
        """Set the system prompt of the answers to come."""
        self.session.system = system
        self._save()

    def fork(self, last: Turn | None = None) -> Conversation:
        """A conversation of its own that holds the branch down to a turn, or all of it."""
        copied = new_session(self.session.pair, self.session.system)
        copied.title = f"{self.session.title} (fork)"
        for turn in self.session.branch(last.id if last else None):
            following = copied.append(turn.role)
            kept = copy.deepcopy(turn)
            kept.id, kept.parent = following.id, following.parent
            copied.turns[kept.id] = kept
        self._try(lambda: self._store.save_whole(copied))
        return Conversation(self._store, copied, self._complain)

    def recorder(self, answer: Turn) -> Recorder:
        """What saves an answer while it streams, unless its beginning could not be saved: then all of it is saved at its end."""
        return Recorder(self._store, answer, self._failed, saving=not self._unsaved)

    def catch_up(self) -> None:
        """Try again to save what could not be saved."""
        if self._unsaved:
            self._save()

    def last_answer(self) -> Turn | None:
        """The last answer of the branch that has any text."""
        return next((turn for turn in reversed(self.session.branch()) if turn.role == "assistant" and turn.text), None)

    def _answer(self, prompt: Turn, setup: Setup) -> Turn:
        answer = self.session.append("assistant", parent=prompt.id)
        answer.setup = setup
        self.session.pair = setup.pair
        return answer

    def _save(self, *turns: Turn) -> None:
        """Bring the store up to date: the session itself and new turns, or everything after an earlier failure."""
        if not turns and not self._stored:
            return
        self.session.updated = max([self.session.updated, *(turn.created for turn in turns)])

        def save() -> None:
            if self._unsaved:
                self._store.save_again(self.session)
                self._unsaved = False
                return
            self._store.save(self.session)
            for turn in turns:
                self._store.add_turn(self.session.id, turn)

        self._try(save)
        self._stored = True

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SpecError as error:
            self._failed(error)

    def _failed(self, error: SpecError) -> None:
        self._unsaved = True
        self._complain(error)
