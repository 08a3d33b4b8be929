"""A small local server that speaks enough of the Hugging Face hub's protocol to list and download repositories."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".gguf")
CHUNK = 16 * 1024


@dataclass
class Sent:
    """One answer with a file's content: from which byte on, how many bytes went out, and the token it was asked with."""

    name: str
    start: int
    count: int = 0
    token: str | None = None


@dataclass
class Hub:
    """What the server holds and how it behaves; tests change it while it runs.

    `sent` lists every transfer of a file. `cuts` transfers of weights are
    broken off after `cut_after` bytes each, and `busy` requests for files are answered 503. `seconds_per_chunk` slows weights
    down to 16 KiB in that time, `silent` sends their headers and then nothing, and files in `damaged` arrive as zeros.
    With `storage` the weights lie at that other address, as the hub's do, and are answered with a redirection.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    gated_status: int = 401
    missing_status: int = 404
    sent: list[Sent] = field(default_factory=list)
    cuts: int = 0
    cut_after: int = 0
    seconds_per_chunk: float = 0.0
    silent: bool = False
    ignore_range: bool = False
    damaged: set[str] = field(default_factory=set)
    busy: int = 0
    storage: str = ""
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)


def point_at(hub_url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make huggingface_hub in this process use a hub and a cache folder, as HF_ENDPOINT and HF_HUB_CACHE do in a fresh one."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", hub_url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub_url + "/{repo_id}/resolve/{revision}/{filename}")


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free loopback port for the length of a `with` block."""
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if listing := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
            self._list(listing[1])
        elif file := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(file[1], file[3])
        else:
            self._fail(404, "EntryNotFound", "No such page.")

    def _list(self, repository: str) -> None:
        files = self.hub.repositories.get(repository)
        if files is None:
            self._fail(self.hub.missing_status, "RepoNotFound", "Repository not found")
            return
        siblings = [_sibling(name, content) for name, content in files.items()]
        body = json.dumps({"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _resolve(self, repository: str, name: str) -> None:
        content = self.hub.repositories.get(repository, {}).get(name)
        if content is None:
            self._fail(404, "EntryNotFound", "Entry not found")
        elif repository in self.hub.gated:
            self._fail(self.hub.gated_status, "GatedRepo", f"Access to model {repository} is restricted.")
        elif self.command == "GET" and self.hub.busy > 0:
            self.hub.busy -= 1
            self._fail(503, "", "Service unavailable")
        else:
            self._send(name, content)

    def _send(self, name: str, content: bytes) -> None:
        large = {"X-Linked-ETag": f'"{_etag(name, content)}"', "X-Linked-Size": str(len(content))} if name.endswith(LARGE) else {}
        if large and self.hub.storage:
            self._head(302, {"Location": self.hub.storage + self.path, "X-Repo-Commit": COMMIT, "Content-Length": "0"} | large)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and not self.hub.ignore_range:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        headers = {"ETag": f'"{_etag(name, content)}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content) - start)} | large
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if asked and not self.hub.ignore_range else 200, headers)
        if self.command == "HEAD":
            return
        sent = Sent(name, start, token=self.headers.get("Authorization"))
        self.hub.sent.append(sent)
        self._send_body(sent, b"\0" * len(content) if name in self.hub.damaged else content)

    def _send_body(self, sent: Sent, content: bytes) -> None:
        large = sent.name.endswith(LARGE)
        end = len(content)
        cut = large and self.hub.cuts > 0
        if cut:
            self.hub.cuts -= 1
            end = min(end, sent.start + self.hub.cut_after)
        if large and self.hub.silent:
            self.hub.closing.wait()
            self.close_connection = True
            return
        try:
            for offset in range(sent.start, end, CHUNK):
                chunk = content[offset : min(offset + CHUNK, end)]
                self.wfile.write(chunk)
                sent.count += len(chunk)
                if large and self.hub.seconds_per_chunk:
                    time.sleep(self.hub.seconds_per_chunk)
        except OSError:
            cut = True
        self.close_connection = cut

    def _fail(self, status: int, code: str, message: str) -> None:
        self._head(status, {"X-Error-Code": code, "X-Error-Message": message, "Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _etag(name: str, content: bytes) -> str:
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sibling(name: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}
    if name.endswith(LARGE):
        entry["lfs"] = {"sha256": _etag(name, content), "size": len(content), "pointerSize": 134}
    return entry
