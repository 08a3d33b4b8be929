"""Downloads promise: only what was asked for, one pair after the other, and whatever ends one, it goes on from where it was."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.hub_server import Hub, point_at, running_hub
from tests.model_files import cache_repository, model_files

from specchat.downloads import Download, Downloads
from specdec import download as transfer
from specdec.errors import RegistryError
from specdec.hub import disk_state
from specdec.registry import DraftSpec, PairSpec

WEIGHTS = 4_000_000
LARGE, SMALL, OTHER = "owner/large", "owner/small", "owner/other"
PAIR = PairSpec(
    name="mine",
    title="Mine",
    target=LARGE,
    drafts=(DraftSpec(name="small", kind="sibling", source=SMALL, download_bytes=1000), DraftSpec(name="int4", kind="int4")),
    context=1024,
    license="mit",
    download_bytes=WEIGHTS,
)
NEXT = PairSpec(name="next", title="Next", target=OTHER, context=1024, license="mit")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a large target, which takes seconds to send, a small draft and another small target."""
    monkeypatch.setattr(transfer, "RETRY_SECONDS", (0.01,))
    with running_hub() as running:
        running.repositories[LARGE] = model_files(weights=bytes(WEIGHTS))
        running.repositories[SMALL] = model_files(weights=b"small")
        running.repositories[OTHER] = model_files(weights=b"other")
        running.seconds_per_chunk = 0.02
        point_at(running.url, tmp_path / "cache", monkeypatch)
        yield running


@pytest.fixture
def downloads() -> Iterator[Downloads]:
    """Downloads that end with the test."""
    started = Downloads()
    yield started
    started.close()


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until something is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def reach(downloads: Downloads, state: str, pair: PairSpec = PAIR) -> Download:
    """The download of a pair once it is in a state."""
    wait_until(lambda: downloads.all()[pair.name].state == state)
    return downloads.all()[pair.name]


def pause_midway(downloads: Downloads) -> Download:
    """Pause the pair in its weights, and wait for the transfer to end."""
    wait_until(lambda: downloads.all()["mine"].done > 100_000)
    downloads.pause("mine")
    wait_until(lambda: all(thread.name != "download" for thread in threading.enumerate()))
    return downloads.all()["mine"]


def test_nothing_is_fetched_unasked(hub: Hub, downloads: Downloads) -> None:
    assert downloads.all() == {}
    with pytest.raises(RegistryError, match="no draft named huge"):
        downloads.start(PAIR, "huge")
    assert hub.sent == []


def test_a_pair_is_fetched_with_the_draft_asked_for(hub: Hub, downloads: Downloads) -> None:
    hub.seconds_per_chunk = 0
    downloads.start(PAIR, "small")
    done = reach(downloads, "done")
    assert disk_state(LARGE).complete
    assert disk_state(SMALL).complete
    assert (done.done, done.error, done.live) == (done.total, None, False)
    assert done.total > WEIGHTS


@pytest.mark.parametrize("draft", ["", "int4"])
def test_without_a_sibling_the_target_is_fetched_alone(hub: Hub, downloads: Downloads, draft: str) -> None:
    hub.seconds_per_chunk = 0
    downloads.start(PAIR, draft)
    reach(downloads, "done")
    assert disk_state(LARGE).complete
    assert not disk_state(SMALL).complete


def test_what_is_on_disk_is_neither_fetched_nor_counted(hub: Hub, downloads: Downloads, tmp_path: Path) -> None:
    cache_repository(tmp_path / "cache", LARGE, model_files(weights=bytes(WEIGHTS)))
    downloads.start(PAIR, "small")
    assert reach(downloads, "done").total < 10_000
    assert {sent.count for sent in hub.sent if sent.name == "model.safetensors"} == {len(b"small")}


def test_progress_has_file_bytes_speed_and_time_left(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "small")
    wait_until(lambda: downloads.all()["mine"].seconds_left is not None)
    running = downloads.all()["mine"]
    assert (running.state, running.file) == ("running", f"{LARGE} model.safetensors")
    assert 0 < running.done < running.total
    assert running.bytes_per_second > 0
    assert running.seconds_left == pytest.approx((running.total - running.done) / running.bytes_per_second)


def test_a_pause_in_mid_file_keeps_what_is_there_and_resumes_from_it(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "")
    paused = pause_midway(downloads)
    assert (paused.state, paused.bytes_per_second, paused.seconds_left) == ("paused", 0, None)
    downloads.resume("mine")
    hub.seconds_per_chunk = 0
    reach(downloads, "done")
    first, second = (sent for sent in hub.sent if sent.name == "model.safetensors")
    assert first.start == 0
    assert 100_000 < second.start <= first.count < WEIGHTS
    assert disk_state(LARGE).complete


def test_asking_again_resumes_too_and_adds_a_draft(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "")
    pause_midway(downloads)
    downloads.start(PAIR, "small")
    hub.seconds_per_chunk = 0
    reach(downloads, "done")
    assert disk_state(SMALL).complete
    assert [sent.start > 0 for sent in hub.sent if sent.count > 10_000] == [False, True]


def test_a_draft_can_join_a_running_download(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "")
    wait_until(lambda: downloads.all()["mine"].done > 100_000)
    downloads.start(PAIR, "small")
    hub.seconds_per_chunk = 0
    reach(downloads, "done")
    assert disk_state(SMALL).complete


def test_pairs_wait_for_each_other_and_a_paused_one_lets_the_next_go_ahead(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "")
    downloads.start(NEXT, "")
    pause_midway(downloads)
    assert downloads.all()["mine"].state == "paused"
    reach(downloads, "done", NEXT)
    assert not disk_state(LARGE).complete


def test_a_queued_download_can_be_paused_before_it_began(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "")
    downloads.start(NEXT, "")
    downloads.pause("next")
    hub.seconds_per_chunk = 0
    reach(downloads, "done")
    assert downloads.all()["next"].state == "paused"
    assert not disk_state(OTHER).complete
    downloads.resume("next")
    reach(downloads, "done", NEXT)


def test_a_cancelled_download_is_forgotten_and_its_bytes_stay(hub: Hub, downloads: Downloads) -> None:
    downloads.start(PAIR, "")
    wait_until(lambda: downloads.all()["mine"].done > 100_000)
    downloads.cancel("mine")
    assert downloads.all() == {}
    assert disk_state(LARGE).bytes_on_disk > 100_000
    downloads.start(NEXT, "")
    reach(downloads, "done", NEXT)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_pair_fails_with_what_to_do_and_can_be_resumed(hub: Hub, downloads: Downloads, status: int) -> None:
    hub.gated.add(LARGE)
    hub.gated_status = status
    downloads.start(PAIR, "")
    error = reach(downloads, "failed").error
    assert error is not None
    assert "licence must be accepted" in error.cause
    assert "hf auth login" in error.next_step
    hub.gated.clear()
    hub.seconds_per_chunk = 0
    downloads.resume("mine")
    assert reach(downloads, "done").error is None


def test_a_full_disk_fails_with_what_to_do(hub: Hub, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
        downloads.start(PAIR, "")
        error = reach(downloads, "failed").error
    assert error is not None
    assert "more on the disk" in error.cause
    assert "Free some space" in error.next_step
    hub.seconds_per_chunk = 0
    downloads.resume("mine")
    reach(downloads, "done")


def test_a_server_that_goes_away_fails_with_what_to_do_and_the_next_pair_is_tried(hub: Hub, downloads: Downloads) -> None:
    hub.cuts, hub.cut_after = 1000, 0
    downloads.start(PAIR, "")
    downloads.start(NEXT, "")
    error = reach(downloads, "failed").error
    assert error is not None
    assert "cannot be reached" in error.cause
    assert "Check the connection" in error.next_step
    reach(downloads, "failed", NEXT)
    hub.cuts, hub.seconds_per_chunk = 0, 0
    downloads.resume("mine")
    reach(downloads, "done")


def test_closing_ends_a_download_within_about_a_second(hub: Hub, downloads: Downloads) -> None:
    hub.silent = True
    downloads.start(PAIR, "")
    wait_until(lambda: downloads.all()["mine"].file.endswith("safetensors"))
    began = time.monotonic()
    downloads.close()
    assert time.monotonic() - began < 2
    assert downloads.all()["mine"].state == "paused"
