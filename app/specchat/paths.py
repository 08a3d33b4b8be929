"""Where specchat keeps things: the XDG folders on Linux, their counterparts elsewhere; made on demand, for the user alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs

from specdec.errors import SpecError


@dataclass(frozen=True)
class Paths:
    """The folders in use."""

    config: Path
    sessions: Path
    logs: Path

    @property
    def models(self) -> Path:
        """The Hugging Face cache, shared with every other program that uses it."""
        from huggingface_hub.constants import HF_HUB_CACHE

        return Path(HF_HUB_CACHE).expanduser()

    @property
    def user_registry(self) -> Path:
        """The user's own models.toml, which overlays the shipped one."""
        return self.config / "models.toml"

    @property
    def settings(self) -> Path:
        """What the user prefers."""
        return self.config / "settings.toml"

    @property
    def database(self) -> Path:
        """The conversations."""
        return self.sessions / "sessions.db"

    @property
    def history(self) -> Path:
        """The prompts typed before."""
        return self.logs.parent / "history.jsonl"

    @property
    def app_log(self) -> Path:
        """The app's own unexpected errors."""
        return self.logs / "app.log"

    @property
    def engine_log(self) -> Path:
        """What the engine process writes to its stderr."""
        return self.logs / "engine.log"


def find_paths() -> Paths:
    """The folders of this user, whether they exist yet or not."""
    folders = PlatformDirs("specchat", appauthor=False)
    return Paths(
        config=folders.user_config_path,
        sessions=folders.user_data_path / "sessions",
        logs=folders.user_state_path / "logs",
    )


def private_folder(folder: Path) -> Path:
    """The folder, made with mode 0700 together with its missing parents; raises SpecError where that is not allowed."""
    try:
        for missing in reversed([level for level in (folder, *folder.parents) if not level.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError(0, "it is a file")
    except OSError as error:
        raise SpecError(f"The folder {folder} cannot be made: {error.strerror}.", "`specchat paths` lists the folders in use.") from error
    return folder
