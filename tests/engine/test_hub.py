"""Locating promises: only complete safetensors models are found, names never leave their folder, and the network is never used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hub_server import point_at
from tests.model_files import cache_repository, model_files, write_files

from specdec import hub
from specdec.errors import CheckpointError, HubError
from specdec.hub import disk_state, inventory, locate
from specdec.weight_files import INDEX


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub address where nothing listens."""
    point_at("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    return tmp_path / "cache"


def sharded(names: list[str]) -> dict[str, bytes]:
    files = model_files()
    del files["model.safetensors"]
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    return files | {INDEX: json.dumps(index).encode()}


def test_a_directory_is_found_as_it_is_named(tmp_path: Path, cache: Path) -> None:
    directory = write_files(tmp_path / "model", model_files())
    assert locate(str(directory)) == directory
    assert disk_state(str(directory)).complete


def test_a_home_directory_may_be_abbreviated(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = write_files(tmp_path / "model", model_files())
    assert locate("~/model") == directory


def test_a_cached_repository_is_found(cache: Path) -> None:
    snapshot = cache_repository(cache, "owner/name", model_files())
    assert locate("owner/name") == snapshot


def test_every_shard_the_index_names_must_be_there(cache: Path) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    files = sharded(shards)
    snapshot = cache_repository(cache, "owner/name", files | {shards[0]: b"x"})
    with pytest.raises(HubError, match=r"lacks model-00002-of-00002\.safetensors"):
        locate("owner/name")
    write_files(snapshot, {shards[1]: b"y"})
    assert locate("owner/name") == snapshot


def test_a_link_to_a_blob_that_is_gone_counts_as_missing(cache: Path) -> None:
    snapshot = cache_repository(cache, "owner/name", model_files())
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/gone")
    with pytest.raises(HubError, match="incomplete"):
        locate("owner/name")


def test_what_is_not_there_is_said_with_what_is(cache: Path) -> None:
    cache_repository(cache, "owner/here", model_files())
    cache_repository(cache, "owner/half", {"config.json": b"{}"})
    with pytest.raises(HubError) as raised:
        locate("owner/absent")
    assert "owner/absent is not on this disk" in raised.value.cause
    assert "specchat pull" in raised.value.next_step
    assert "owner/here" in raised.value.next_step
    assert "owner/half" not in raised.value.next_step


def test_an_empty_cache_is_said_to_be_empty(cache: Path) -> None:
    assert inventory() == "No repository is on disk yet."


@pytest.mark.parametrize("index", [{"weight_map": {"a": "../../secret.safetensors"}}, {"weight_map": {"a": 3}}, {"weight_map": []}, {}])
def test_an_index_cannot_name_files_outside_its_directory(cache: Path, index: object) -> None:
    cache_repository(cache, "owner/name", model_files() | {INDEX: json.dumps(index).encode()})
    with pytest.raises(CheckpointError, match="names no weight files"):
        locate("owner/name")
    assert not disk_state("owner/name").complete
    assert inventory() == "No repository is on disk yet."


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_refused_wherever_they_lie(tmp_path: Path, cache: Path, name: str) -> None:
    files = {"config.json": b"{}", name: b"\x80\x04"}
    for source in (str(write_files(tmp_path / "model", files)), "owner/name"):
        cache_repository(cache, "owner/name", files)
        with pytest.raises(CheckpointError) as raised:
            locate(source)
        assert "never loaded" in raised.value.cause
        assert "safetensors" in raised.value.next_step


def test_a_directory_without_a_model_says_what_it_lacks(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks config\.json, model\.safetensors"):
        locate(str(tmp_path))


@pytest.mark.parametrize("source", ["", "name", "/no/such/place", "../up", "a/b/c", "a/../b", "owner/na--me", "owner/x\n", "-x/y", "ö/x"])
def test_what_is_neither_directory_nor_repository_is_said_to_be_neither(cache: Path, source: str) -> None:
    with pytest.raises(HubError, match="neither a directory nor a repository name"):
        locate(source)
    assert disk_state(source) == hub.DiskState(None, 0)


def test_a_builtin_lies_in_the_package(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "__file__", str(tmp_path / "specdec" / "hub.py"))
    directory = write_files(tmp_path / "specdec" / "demo" / "target", model_files())
    assert locate("builtin:demo/target") == directory
    write_files(tmp_path / "outside", model_files())
    for source in ("builtin:../outside", f"builtin:{tmp_path}/outside", "builtin:demo/absent"):
        with pytest.raises(HubError, match="ships with specchat"):
            locate(source)
        assert not disk_state(source).complete


def test_a_garbled_ref_cannot_lead_out_of_the_cache(tmp_path: Path, cache: Path) -> None:
    cache_repository(cache, "owner/name", model_files())
    write_files(tmp_path / "outside", model_files())
    (cache / "models--owner--name" / "refs" / "main").write_text("../../../outside")
    with pytest.raises(HubError, match="not on this disk"):
        locate("owner/name")


def test_bytes_on_disk_count_wanted_and_partial_files_only(cache: Path) -> None:
    assert disk_state("owner/name") == hub.DiskState(None, 0)
    files = {"config.json": b"12", "pytorch_model.bin": b"123456", "model.safetensors": b"1234"}
    snapshot = cache_repository(cache, "owner/name", files)
    assert disk_state("owner/name") == hub.DiskState(snapshot, 6)
    write_files(cache / "models--owner--name" / "blobs", {"0f.incomplete": b"123"})
    assert disk_state("owner/name").bytes_on_disk == 9


def test_locating_imports_no_http_client(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom specdec.hub import disk_state\ndisk_state('owner/name')\n"
        "print([name for name in ('httpx', 'httpx2', 'requests', 'torch', 'huggingface_hub.hf_api') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
