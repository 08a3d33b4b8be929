"""Everything behind the screen: the settings in force, the open conversation, and what the engine is asked to do with it."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel

from specchat.choices import options_for
from specchat.conversation import Conversation
from specchat.engine_thread import ChatJob, CountJob, EngineThread, LoadJob
from specchat.paths import Paths
from specchat.settings import Settings
from specchat.settings_file import save_settings
from specchat.store import SessionRow, Store
from specchat.transcript import Setup, Turn
from specdec.errors import RegistryError, SpecError
from specdec.events import Count, Ready
from specdec.memory import INT8
from specdec.options import LoadOptions, Message
from specdec.registry import PairSpec, find_pair, load_registry

SPARE = {"spare_cores": 1}


class Desk:
    """What a screen works with. `complain` gets the errors that stop nothing: something could not be saved.

    `settings` are those in force: the file's, changed by the command line and by commands such as /seed, which the file never sees.
    `deleted` are the conversations that can be brought back. `ready` is what the engine said of the loaded pair, `None` until then.
    """

    def __init__(self, paths: Paths, store: Store, settings: Settings, engine: EngineThread, complain: Callable[[SpecError], None]) -> None:
        self.paths = paths
        self.store = store
        self.settings = settings
        self.engine = engine
        self.complain = complain
        self.ready: Ready | None = None
        self.deleted: list[SessionRow] = []
        self.last_load: LoadJob | None = None
        self.own_models: LoadOptions | None = None
        self.conversation = self._fresh()

    @property
    def pair_name(self) -> str:
        """The pair in use, or the target of one's own."""
        return self.own_models.target if self.own_models else self.settings.pair

    def registry(self) -> dict[str, PairSpec]:
        """All pairs; where the user's own file cannot be read, that is complained of and the shipped ones are there."""
        try:
            return load_registry(self.paths.user_registry)
        except RegistryError as error:
            self.complain(error)
            return load_registry()

    def load_options(self, settings: Settings | None = None) -> LoadOptions:
        """What the settings, by default those in force, say to load.

        Raises RegistryError for a pair or draft that is not listed, and UsageError for choices that contradict each other.
        """
        if self.own_models is not None:
            return self.own_models.model_copy(update=SPARE)
        chosen = settings or self.settings
        spec = find_pair(self.registry(), chosen.pair)
        options = options_for(spec, chosen.draft_model, chosen.context, chosen.exact, chosen.drafting, chosen.dtype)
        return options.model_copy(update=SPARE)

    def other_dtype(self, setup: Setup) -> str:
        """The dtype that is loaded or about to be, where it is surely not the one that an answer was made in; else empty."""
        loaded, made = (self.ready or self.load_options()).dtype, setup.dtype
        unknown = "auto" in (loaded, made) and INT8 not in (loaded, made)
        return "" if unknown or made in ("", loaded) else loaded

    def load(self, restart: bool = False) -> None:
        """Load the pair of the settings; raises RegistryError and UsageError."""
        job = LoadJob(self.load_options(), restart)
        self.ready = None
        self.last_load = job
        self.engine.submit(job)

    def choose(self, pair: str, draft_model: str, context: int, dtype: str = "") -> None:
        """Take another pair, remember it, and load it unless that is under way; raises RegistryError and leaves things as they were."""
        own_models, self.own_models = self.own_models, None
        settings = self.settings
        self.keep(pair=pair, draft_model=draft_model, context=context, dtype=dtype)
        try:
            if self.last_load is None or self.last_load.options != self.load_options():
                self.load()
        except SpecError:
            self.own_models = own_models
            self.replace(settings)
            raise

    def change(self, **values: object) -> None:
        """Set some of the settings in force, until the app ends."""
        self.settings = _changed(self.settings, values)

    def keep(self, **values: object) -> None:
        """Set some of the settings, in the file too."""
        self.replace(_changed(self.settings, values))

    def replace(self, settings: Settings) -> None:
        """Take all settings anew; what differs from those in force is written to the file."""
        before, self.settings = self.settings, settings
        try:
            save_settings(self.paths.settings, settings, before)
        except SpecError as error:
            self.complain(error)

    def open(self, session_id: str) -> None:
        """Show another conversation; raises StoreError."""
        self.conversation = Conversation(self.store, self.store.load(session_id), self.complain)

    def open_new(self) -> None:
        """Begin an empty conversation."""
        self.conversation = self._fresh()

    def ask(self, text: str, instead_of: Turn | None = None) -> tuple[Turn, Turn, ChatJob]:
        """Put a prompt to the engine; returns prompt, answer and the job that fills it."""
        prompt, answer = self.conversation.ask(text, self._setup(), instead_of)
        return prompt, answer, self._submit(answer)

    def retry(self, prompt: Turn) -> tuple[Turn, ChatJob]:
        """Ask for another answer to a prompt, by another seed unless one is fixed."""
        answer = self.conversation.retry(prompt, self._setup())
        return answer, self._submit(answer)

    def resume(self, answer: Turn) -> ChatJob:
        """Go on with an interrupted answer, as it was begun."""
        self.conversation.reopen(answer)
        if answer.setup is None:
            answer.setup = self._setup()
        return self._submit(answer)

    def count(self, text: str, instead_of: Turn | None = None) -> CountJob:
        """Let the engine count, if it is free, the tokens that the conversation would have with a prompt; the job reports them."""
        session = self.conversation.session
        last = instead_of.parent if instead_of else session.head
        before = session.messages(last) if last else []
        chat = self._setup().chat([*before, Message(role="user", content=text)])
        job = CountJob(Count(messages=chat.messages, thinking=chat.thinking))
        self.engine.submit(job)
        return job

    def close(self) -> None:
        """End the engine and the store."""
        self.engine.close()
        self.store.close()

    def _fresh(self) -> Conversation:
        return Conversation.fresh(self.store, self.pair_name, self.settings.system, self.complain)

    def _setup(self) -> Setup:
        settings, ready = self.settings, self.ready
        loaded = ready or self.load_options()
        return Setup(
            pair=self.pair_name,
            target=loaded.target,
            draft=loaded.draft,
            dtype=loaded.dtype,
            device=loaded.device,
            exact=ready.exact if ready else False,
            context=loaded.context or 0,
            sampling=settings.sampling,
            drafting=settings.drafting,
            system=self.conversation.session.system,
            thinking=settings.thinking,
            max_tokens=settings.max_tokens,
        )

    def _submit(self, answer: Turn) -> ChatJob:
        assert answer.setup is not None
        last = answer.id if answer.text else answer.parent
        job = ChatJob(answer.setup.chat(self.conversation.session.messages(last)), self.conversation.recorder(answer))
        self.engine.submit(job)
        return job


def _changed(settings: Settings, values: dict[str, object]) -> Settings:
    plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in values.items()}
    return Settings.model_validate(settings.model_dump() | plain)
