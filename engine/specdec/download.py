"""The resumable download of a repository into the Hugging Face cache: the one place that uses the network.

huggingface_hub lists the files, authorises, fetches the small ones and links the cache entries. The large ones are streamed
here over plain HTTP, because huggingface_hub deletes the partial file of a broken download, and its Xet transfers can be neither
stopped nor resumed inside a file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from specdec.errors import CheckpointError, HubError, SpecError
from specdec.hub import COMMIT, WANTED, WEIGHTS, check_repository, inventory, local_directory, locate, repository_folder
from specdec.memory import size_text

SHA256 = re.compile(r"[0-9a-f]{64}")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BUSY_STATUS = (429, 500, 502, 503, 504)
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0)
STALL_SECONDS = 10.0
BLOCK = 2**20

Report = Callable[[str, int, int], None]


class DownloadCancelled(HubError):
    """A download its user ended; what was fetched stays on disk."""


def download(source: str, report: Report, cancelled: Callable[[], bool]) -> Path:
    """Fetch a repository's config, tokenizer and safetensors, and return the directory they are in.

    `report(file, done, total)` is called about ten times a second, in bytes of the whole download; what is on disk already
    counts as done. `cancelled` is asked as often and ends the download within a second, by DownloadCancelled. Partial files
    stay, and the next download goes on from their end. Every other failure is a HubError or CheckpointError with its cause.
    """
    if local_directory(source) is not None:
        return locate(source)
    transfer = _Transfer(check_repository(source))
    thread = threading.Thread(target=transfer.run, name="download", daemon=True)
    thread.start()
    try:
        running = True
        while running:
            thread.join(0.1)
            running = thread.is_alive()
            report(transfer.file, transfer.done, transfer.total)
            if cancelled():
                raise DownloadCancelled(f"The download of {source} was cancelled; {transfer.kept}.", "Pull again to go on from there.")
    finally:
        transfer.stop.set()
        thread.join(0.5)
    if transfer.error is not None:
        raise _explained(transfer.error, transfer) from transfer.error
    return locate(source)


class _Stopped(Exception):
    """Ends the transfer thread after a cancellation."""


@dataclass(frozen=True)
class _Blob:
    """A large file: where it comes from, the folder the cache keeps it in, and what it must be."""

    name: str
    url: str
    folder: Path
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not SHA256.fullmatch(self.sha256):
            raise HubError(f"The hub lists {self.name} with a garbled digest.", "Try again later.")

    @property
    def path(self) -> Path:
        """Where it lies once it is complete."""
        return self.folder / self.sha256

    @property
    def partial(self) -> Path:
        """Where it grows until then."""
        return self.folder / f"{self.sha256}.incomplete"


@dataclass
class _Transfer:
    """One repository's download, in a thread of its own so that a silent server cannot delay a cancellation."""

    repository: str
    stop: threading.Event = field(default_factory=threading.Event)
    file: str = "list of files"
    total: int = 0
    have: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def done(self) -> int:
        """Bytes on disk of the files wanted."""
        return sum(self.have.values())

    @property
    def kept(self) -> str:
        """What stays on disk, in words."""
        return f"{size_text(self.done)} of {size_text(self.total)} are kept" if self.total else "nothing was fetched yet"

    def run(self) -> None:
        """Fetch everything; ends early when `stop` is set, and leaves a failure in `error`."""
        try:
            self._fetch()
        except _Stopped:
            pass
        except Exception as error:
            self.error = error

    def _fetch(self) -> None:
        from filelock import FileLock
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars("huggingface_hub.http_get")
        commit, small, large = self._listing()
        folder = repository_folder(self.repository)
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "specchat.lock", timeout=STALL_SECONDS):
            self.have = {name: _size(folder / "snapshots" / commit / name) for name in small}
            self.have |= {blob.name: min(blob.size, _size(blob.path) or _size(blob.partial)) for blob in large}
            self.total = sum(small.values()) + sum(blob.size for blob in large)
            self._check_free_disk(folder)
            for name, size in small.items():
                self._enter(name)
                hf_hub_download(self.repository, name, revision=commit)
                self.have[name] = size
            for blob in large:
                self._enter(blob.name)
                if not blob.path.exists():
                    self._stream(blob)
                hf_hub_download(self.repository, blob.name, revision=commit)
        _write_atomically(folder / "refs" / "main", commit)

    def _listing(self) -> tuple[str, dict[str, int], list[_Blob]]:
        """The commit that `main` is at, and its wanted files: small ones with their sizes, and large ones."""
        from huggingface_hub import HfApi, hf_hub_url

        info = HfApi().model_info(self.repository, files_metadata=True, timeout=STALL_SECONDS)
        commit = info.sha or ""
        files = [file for file in info.siblings or () if WANTED.fullmatch(file.rfilename)]
        if not COMMIT.fullmatch(commit) or not any(WEIGHTS.fullmatch(file.rfilename) for file in files):
            raise CheckpointError(f"{self.repository} has no safetensors weights; pickles are never loaded.", "Pick another repository.")
        blobs = repository_folder(self.repository) / "blobs"
        large = [
            _Blob(file.rfilename, hf_hub_url(self.repository, file.rfilename, revision=commit), blobs, file.lfs.sha256, file.lfs.size)
            for file in files
            if file.lfs is not None
        ]
        return commit, {file.rfilename: file.size or 0 for file in files if file.lfs is None}, large

    def _enter(self, name: str) -> None:
        if self.stop.is_set():
            raise _Stopped
        self.file = name

    def _check_free_disk(self, folder: Path) -> None:
        needed = self.total - self.done
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise HubError(
                f"{self.repository} needs {size_text(needed)} more on the disk of {folder.parent}, which has {size_text(free)} free.",
                "Free some space, or set HF_HUB_CACHE to a larger disk.",
            )

    def _stream(self, blob: _Blob) -> None:
        """Fetch a large file from where its partial file ends, check it against the published digest and name it."""
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

        digest = hashlib.sha256()
        with blob.partial.open("ab+", buffering=0) as partial:
            partial.seek(0)
            while block := partial.read(BLOCK):
                self._enter(blob.name)
                digest.update(block)
            failures = 0
            while (offset := partial.tell()) < blob.size:
                self._enter(blob.name)
                try:
                    self._append(blob, partial, digest.update)
                except httpx.TransportError:
                    failures = 1 if partial.tell() > offset else failures + 1
                    if failures > len(RETRY_SECONDS):
                        raise
                    self.stop.wait(RETRY_SECONDS[failures - 1])
        if digest.hexdigest() != blob.sha256:
            blob.partial.unlink()
            self.have[blob.name] = 0
            raise HubError(f"{blob.name} of {self.repository} arrived damaged and was deleted.", "Pull again to fetch that file anew.")
        os.replace(blob.partial, blob.path)

    def _append(self, blob: _Blob, partial: BinaryIO, digest: Callable[[bytes], None]) -> None:
        """Stream the rest of a file; raises httpx.TransportError when the connection, or the server's patience, ends first."""
        from huggingface_hub import get_session, hf_raise_for_status
        from huggingface_hub.utils import build_hf_headers, httpx  # type: ignore[attr-defined]

        offset = partial.tell()
        headers = build_hf_headers() | {"Range": f"bytes={offset}-", "Accept-Encoding": "identity"}
        with get_session().stream("GET", blob.url, headers=headers, timeout=STALL_SECONDS) as response:
            if response.status_code in BUSY_STATUS:
                raise httpx.RemoteProtocolError(f"the hub answered {response.status_code}")
            hf_raise_for_status(response)
            known = 0 if response.status_code == 206 else offset
            for chunk in response.iter_bytes():
                self._enter(blob.name)
                fresh = chunk[known:]
                known -= len(chunk) - len(fresh)
                while fresh:
                    written = partial.write(fresh)
                    digest(fresh[:written])
                    self.have[blob.name] += written
                    fresh = fresh[written:]
        if partial.tell() < blob.size:
            raise httpx.RemoteProtocolError("the connection was closed early")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.write_text(text, encoding="ascii")
    os.replace(fresh, path)


def _explained(error: BaseException, transfer: _Transfer) -> SpecError:
    """What went wrong, for the user, as a typed error."""
    from filelock import Timeout
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    name = transfer.repository
    again = "then pull again"
    match error:
        case SpecError():
            return error
        case LocalEntryNotFoundError() if error.__cause__ is not None:
            return _explained(error.__cause__, transfer)
        case GatedRepoError():
            page = f"https://huggingface.co/{name}"
            return HubError(f"{name} is gated: its licence must be accepted first.", f"Accept it at {page}, run `hf auth login`, {again}.")
        case RepositoryNotFoundError():
            login = f"if it is private, run `hf auth login`, {again}"
            return HubError(f"The hub has no repository {name}, or it is private.", f"Check the name; {login}.")
        case OfflineModeIsEnabled():
            return HubError(f"HF_HUB_OFFLINE is set, so {name} cannot be fetched.", f"Unset it, {again}. {inventory()}")
        case HfHubHTTPError():
            return HubError(f"The hub refused {name} with status {error.response.status_code}.", "Wait a little, then pull again.")
        case httpx.HTTPError():
            return HubError(f"The hub cannot be reached ({error}); {transfer.kept}.", f"Check the connection, {again}. {inventory()}")
        case Timeout():
            return HubError(f"Another specchat is fetching {name}.", "Wait for it to end.")
        case OSError() if error.errno in DISK_FULL:
            needed = size_text(transfer.total - transfer.done)
            return HubError(f"The disk is full; {transfer.kept} and {needed} are still needed.", f"Free some space, {again}.")
        case _:
            return HubError(f"{name} could not be fetched: {error}.", "Pull again; if it fails the same way, report it.")
