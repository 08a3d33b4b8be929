"""Downloading promises: only what is needed is fetched and nothing twice, it can be ended and goes on, and failures say why."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.hub_server import CHUNK, Hub, Sent, point_at, running_hub
from tests.model_files import cache_repository, model_files, write_files

from specdec import download as module
from specdec.download import DownloadCancelled, download
from specdec.errors import CheckpointError, HubError
from specdec.hub import disk_state, locate

WEIGHTS = os.urandom(40 * CHUNK + 123)
REPOSITORY = "owner/name"
CHILD = """
import sys
from specdec.download import download
from specdec.errors import SpecError
try:
    download(sys.argv[1], lambda file, done, total: print(done, total, flush=True), lambda: False)
except SpecError as error:
    sys.exit(f"{error.kind}: {error.cause} {error.next_step}")
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one small repository, an empty cache, and no long waits."""
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.01, 0.01))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running_hub() as running:
        running.repositories[REPOSITORY] = model_files(weights=WEIGHTS)
        point_at(running.url, tmp_path / "cache", monkeypatch)
        yield running


def fetch(source: str = REPOSITORY) -> Path:
    return download(source, lambda file, done, total: None, lambda: False)


def partial_size(tmp_path: Path) -> int:
    return sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/blobs/*.incomplete"))


def cancel_after(hub: Hub, amount: int) -> DownloadCancelled:
    """Download slowly and cancel once so many bytes are there."""
    seen: list[int] = [0]
    hub.seconds_per_chunk = 0.02
    with pytest.raises(DownloadCancelled) as raised:
        download(REPOSITORY, lambda file, done, total: seen.append(done), lambda: seen[-1] >= amount)
    hub.seconds_per_chunk = 0.0
    return raised.value


def test_a_repository_arrives_whole_and_is_located(hub: Hub) -> None:
    directory = fetch()
    assert (directory / "model.safetensors").read_bytes() == WEIGHTS
    assert locate(REPOSITORY) == directory
    assert disk_state(REPOSITORY).bytes_on_disk == sum(map(len, hub.repositories[REPOSITORY].values()))


def test_only_config_tokenizer_and_safetensors_are_fetched(hub: Hub) -> None:
    unwanted = ("pytorch_model.bin", "model.gguf", "consolidated.safetensors", "original/model.safetensors", "modeling_x.py", "README.md")
    wanted = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja", "merges.txt")
    hub.repositories[REPOSITORY] |= dict.fromkeys((*unwanted, *wanted), b"{}")
    directory = fetch()
    assert {path.name for path in directory.iterdir()} == {*wanted, "config.json", "tokenizer.json", "model.safetensors"}
    assert not {sent.name for sent in hub.sent} & set(unwanted)


def test_shards_are_fetched_by_their_index(hub: Hub) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    files = model_files()
    del files["model.safetensors"]
    index = b'{"weight_map": {"a": "%s", "b": "%s"}}' % (names[0].encode(), names[1].encode())
    hub.repositories[REPOSITORY] = files | {"model.safetensors.index.json": index, names[0]: WEIGHTS, names[1]: WEIGHTS[::-1]}
    assert (fetch() / names[1]).read_bytes() == WEIGHTS[::-1]


def test_progress_counts_all_bytes_and_the_total_is_known_before_the_weights(hub: Hub) -> None:
    hub.seconds_per_chunk = 0.01
    reports: list[tuple[str, int, int]] = []
    download(REPOSITORY, lambda file, done, total: reports.append((file, done, total)), lambda: False)
    whole = sum(map(len, hub.repositories[REPOSITORY].values()))
    weights = [(done, total) for file, done, total in reports if file == "model.safetensors"]
    assert {total for _, total in weights} == {whole}
    assert [done for done, _ in weights] == sorted(done for done, _ in weights)
    assert reports[-1][1:] == (whole, whole)


def test_what_is_complete_is_not_fetched_again(hub: Hub) -> None:
    fetch()
    hub.sent.clear()
    fetch()
    assert hub.sent == []


def test_a_cancelled_download_goes_on_from_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    error = cancel_after(hub, 10 * CHUNK)
    kept = partial_size(tmp_path)
    assert 10 * CHUNK - 1000 <= kept < len(WEIGHTS)
    assert "kept" in error.cause
    assert not disk_state(REPOSITORY).complete
    assert disk_state(REPOSITORY).bytes_on_disk >= kept
    hub.sent.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent == [Sent("model.safetensors", kept, len(WEIGHTS) - kept)]


def test_a_cancelled_download_reports_its_old_bytes_as_done_at_once(hub: Hub, tmp_path: Path) -> None:
    cancel_after(hub, 10 * CHUNK)
    kept = partial_size(tmp_path)
    hub.seconds_per_chunk = 0.02
    reports: list[tuple[int, int]] = []
    download(REPOSITORY, lambda file, done, total: reports.append((done, total)), lambda: False)
    assert min(done for done, total in reports if total) >= kept


def test_a_silent_server_does_not_delay_a_cancellation(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.silent = True
    monkeypatch.setattr(module, "STALL_SECONDS", 30.0)
    begun = time.monotonic()
    with pytest.raises(DownloadCancelled):
        download(REPOSITORY, lambda file, done, total: None, lambda: hub.sent[-1:] == [Sent("model.safetensors", 0)])
    assert time.monotonic() - begun < 10


def test_a_reader_that_fails_ends_the_transfer(hub: Hub) -> None:
    hub.seconds_per_chunk = 0.02
    before = set(threading.enumerate())

    def broken(file: str, done: int, total: int) -> None:
        if done > CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(REPOSITORY, broken, lambda: False)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "download"]


def test_a_killed_process_leaves_a_download_that_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.seconds_per_chunk = 0.02
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    child = subprocess.Popen([sys.executable, "-c", CHILD, REPOSITORY], env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line.split()[0]) > 10 * CHUNK:
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    kept = partial_size(tmp_path)
    assert kept >= 9 * CHUNK
    hub.seconds_per_chunk = 0.0
    hub.sent.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent == [Sent("model.safetensors", kept, len(WEIGHTS) - kept)]


def test_a_cut_connection_is_taken_up_again_by_itself(hub: Hub) -> None:
    hub.cuts, hub.cut_after = 3, 5 * CHUNK
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    weights = [sent for sent in hub.sent if sent.name == "model.safetensors"]
    assert [sent.start for sent in weights] == [count * 5 * CHUNK for count in range(4)]
    assert sum(sent.count for sent in weights) == len(WEIGHTS)


def test_weights_kept_elsewhere_are_resumed_there_and_never_shown_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with running_hub() as storage:
        storage.repositories = hub.repositories
        hub.storage = storage.url
        storage.cuts, storage.cut_after = 1, 5 * CHUNK
        assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert {sent.token for sent in hub.sent} == {"Bearer hf_secret"}
    assert [(sent.start, sent.token) for sent in storage.sent] == [(0, None), (5 * CHUNK, None)]


def test_a_busy_hub_is_asked_again(hub: Hub) -> None:
    cancel_after(hub, CHUNK)
    hub.busy = 2
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_stays_cut_keeps_what_came_and_says_so(hub: Hub, tmp_path: Path) -> None:
    cache_repository(tmp_path / "cache", "owner/here", model_files())
    hub.cuts, hub.cut_after = 1, 5 * CHUNK
    seen: list[int] = []

    def then_nothing(file: str, done: int, total: int) -> None:
        seen.append(done)
        hub.cuts, hub.cut_after = 99, 0

    hub.seconds_per_chunk = 0.05
    with pytest.raises(HubError) as raised:
        download(REPOSITORY, then_nothing, lambda: False)
    assert "cannot be reached" in raised.value.cause
    assert "are kept" in raised.value.cause
    assert "owner/here" in raised.value.next_step


def test_a_server_that_ignores_ranges_still_yields_the_right_file(hub: Hub) -> None:
    cancel_after(hub, 10 * CHUNK)
    hub.ignore_range = True
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_damaged_file_is_deleted_and_never_located(hub: Hub, tmp_path: Path) -> None:
    hub.damaged.add("model.safetensors")
    with pytest.raises(HubError, match="damaged"):
        fetch()
    assert partial_size(tmp_path) == 0
    assert not disk_state(REPOSITORY).complete
    hub.damaged.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_failed_update_leaves_the_old_version_usable(hub: Hub, tmp_path: Path) -> None:
    old = cache_repository(tmp_path / "cache", REPOSITORY, model_files(weights=b"old"))
    hub.damaged.add("model.safetensors")
    with pytest.raises(HubError):
        fetch()
    assert locate(REPOSITORY) == old
    hub.damaged.clear()
    assert fetch() != old


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_says_how_to_get_in(hub: Hub, status: int) -> None:
    hub.gated.add(REPOSITORY)
    hub.gated_status = status
    with pytest.raises(HubError) as raised:
        fetch()
    assert "gated" in raised.value.cause
    assert f"https://huggingface.co/{REPOSITORY}" in raised.value.next_step
    assert "hf auth login" in raised.value.next_step


@pytest.mark.parametrize("status", [401, 404])
def test_a_missing_repository_is_said_to_be_missing(hub: Hub, status: int) -> None:
    hub.missing_status = status
    with pytest.raises(HubError) as raised:
        fetch("owner/absent")
    assert "no repository owner/absent" in raised.value.cause
    assert "Check the name" in raised.value.next_step


def test_no_network_names_what_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    cache_repository(tmp_path / "cache", "owner/here", model_files())
    with pytest.raises(HubError) as raised:
        fetch()
    assert "cannot be reached" in raised.value.cause
    assert "On disk: owner/here." in raised.value.next_step


def test_offline_mode_is_respected(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        fetch()


@pytest.mark.parametrize("files", [{"config.json": b"{}", "pytorch_model.bin": b"x"}, {"consolidated.safetensors": b"x"}])
def test_a_repository_without_safetensors_is_refused_before_anything_is_fetched(hub: Hub, files: dict[str, bytes]) -> None:
    hub.repositories[REPOSITORY] = files
    with pytest.raises(CheckpointError, match="no safetensors"):
        fetch()
    assert hub.sent == []


def test_a_disk_too_small_is_noticed_before_the_start(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(HubError) as raised:
        fetch()
    assert "1.0 kB free" in raised.value.cause
    assert "HF_HUB_CACHE" in raised.value.next_step
    assert hub.sent == []


def test_a_disk_that_fills_up_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    limit = 20 * CHUNK
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n{CHILD}"
    child = subprocess.run([sys.executable, "-c", limited, REPOSITORY], env=environment, capture_output=True, text=True)
    assert child.returncode == 1
    assert "hub: The disk is full" in child.stderr
    assert f"{(len(WEIGHTS) - limit) / 1000:.1f} kB are still needed" in child.stderr
    assert partial_size(tmp_path) == limit
    hub.sent.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent == [Sent("model.safetensors", limit, len(WEIGHTS) - limit)]


def test_two_downloads_of_one_repository_do_not_mix(hub: Hub) -> None:
    hub.seconds_per_chunk = 0.01
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(fetch())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert (results[0] / "model.safetensors").read_bytes() == WEIGHTS
    assert [sent.name for sent in hub.sent].count("model.safetensors") == 1


def test_a_directory_has_nothing_to_download(tmp_path: Path) -> None:
    directory = write_files(tmp_path / "model", model_files())
    assert fetch(str(directory)) == directory


def test_a_name_that_is_no_repository_never_reaches_the_hub(hub: Hub) -> None:
    with pytest.raises(HubError, match="neither a directory nor a repository"):
        fetch("no/such/place")
