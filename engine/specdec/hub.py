"""Where model files lie: shipped with the package, in a directory, or in the Hugging Face cache. Never uses the network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from specdec.errors import CheckpointError, HubError, SpecError
from specdec.weight_files import refuse_pickles, weight_names

BUILTIN = "builtin:"
REPOSITORY = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
TEXTS = (
    "config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|model\\.safetensors\\.index"
)
WANTED = re.compile(rf"{WEIGHTS.pattern}|({TEXTS})\.json|merges\.txt|chat_template\.jinja")


@dataclass(frozen=True)
class DiskState:
    """What of a source is on disk; `path` is its directory once it is complete."""

    path: Path | None
    bytes_on_disk: int

    @property
    def complete(self) -> bool:
        """Whether it can be loaded as it is."""
        return self.path is not None


def locate(source: str) -> Path:
    """The directory of a source that is on disk: `builtin:NAME`, a directory, or `owner/name` in the Hugging Face cache.

    Raises HubError for what is not there, CheckpointError for a directory that cannot be loaded.
    """
    directory = local_directory(source)
    if directory is not None:
        refuse_pickles(directory)
        missing = _missing(directory)
        if missing:
            raise CheckpointError(f"{directory} lacks {_few(missing)}.", "Point at a complete Hugging Face model directory.")
        return directory
    snapshot = _snapshot(check_repository(source))
    if snapshot is None:
        raise HubError(f"{source} is not on this disk.", f"Fetch it with `specchat pull PAIR`. {inventory()}")
    refuse_pickles(snapshot)
    missing = _missing(snapshot)
    if missing:
        rest = f"`specchat pull PAIR` fetches the rest. {inventory()}"
        raise HubError(f"{source} is incomplete on this disk: it lacks {_few(missing)}.", rest)
    return snapshot


def disk_state(source: str) -> DiskState:
    """How much of a source is on disk, for listings; what is unknown, damaged or not there is simply not complete."""
    try:
        path = locate(source)
    except SpecError:
        path = None
    return DiskState(path, _bytes_on_disk(source))


def local_directory(source: str) -> Path | None:
    """The directory a source names outright, or None if it can only be a repository; raises HubError for an unknown builtin."""
    if source.startswith(BUILTIN):
        shipped = Path(__file__).parent
        directory = (shipped / source.removeprefix(BUILTIN)).resolve()
        if not directory.is_relative_to(shipped.resolve()) or not directory.is_dir():
            raise HubError(f"Nothing named {source} ships with specchat.", "`specchat pairs` lists what there is.")
        return directory
    directory = Path(source).expanduser()
    return directory if source and directory.is_dir() else None


def check_repository(source: str) -> str:
    """The source itself if it can name a repository, `owner/name`; raises HubError otherwise."""
    if not REPOSITORY.fullmatch(source):
        raise HubError(f"{source!r} is neither a directory nor a repository name.", "Name a directory, or a repository as owner/name.")
    return source


def repository_folder(repository: str) -> Path:
    """Where the Hugging Face cache (HF_HUB_CACHE, HF_HOME) keeps a repository: `blobs`, `snapshots` and `refs`."""
    return _cache() / f"models--{repository.replace('/', '--')}"


def inventory() -> str:
    """One sentence naming the repositories of the Hugging Face cache that can be loaded as they are."""
    folders = sorted(folder.name.removeprefix("models--").replace("--", "/", 1) for folder in _cache().glob("models--*--*"))
    names = [name for name in folders if REPOSITORY.fullmatch(name) and _is_complete(name)]
    return f"On disk: {', '.join(names)}." if names else "No repository is on disk yet."


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def _snapshot(repository: str) -> Path | None:
    folder = repository_folder(repository)
    ref = folder / "refs" / "main"
    commit = ref.read_text(encoding="ascii", errors="replace").strip() if ref.is_file() else ""
    snapshot = folder / "snapshots" / commit
    return snapshot if COMMIT.fullmatch(commit) and snapshot.is_dir() else None


def _is_complete(repository: str) -> bool:
    snapshot = _snapshot(repository)
    try:
        return snapshot is not None and not _missing(snapshot)
    except CheckpointError:
        return False


def _missing(directory: Path) -> list[str]:
    """The names of the files a model directory lacks: its config, and the weights its index names or the single file."""
    return sorted(name for name in ("config.json", *weight_names(directory)) if not (directory / name).is_file())


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")


def _bytes_on_disk(source: str) -> int:
    """Bytes of the wanted files of a source, those of interrupted downloads included."""
    try:
        directory = local_directory(source)
        found: Iterable[Path] = directory.iterdir() if directory is not None else ()
        partial: Iterable[Path] = ()
        if directory is None:
            folder = repository_folder(check_repository(source))
            found = (folder / "snapshots").glob("*/*")
            partial = (folder / "blobs").glob("*.incomplete")
    except SpecError:
        return 0
    files = {path.resolve() for path in found if WANTED.fullmatch(path.name)} | set(partial)
    return sum(path.stat().st_size for path in files if path.is_file())
