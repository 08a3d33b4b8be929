"""Pulling promises: exactly what a pair lacks is fetched, with progress by name, and what ships or is there is left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub_server import Hub, point_at, running_hub
from tests.model_files import cache_repository, model_files, write_files

from specchat.pull import Pulled, pull
from specdec import hub as files
from specdec.download import DownloadCancelled
from specdec.errors import HubError, RegistryError
from specdec.hub import disk_state
from specdec.registry import DraftSpec, PairSpec

PAIR = PairSpec(
    name="mine",
    title="Mine",
    target="owner/large",
    drafts=(
        DraftSpec(name="small", kind="sibling", source="owner/small"),
        DraftSpec(name="tiny", kind="sibling", source="owner/tiny"),
        DraftSpec(name="int4", kind="int4"),
    ),
    context=1024,
    license="mit",
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a target and two drafts."""
    with running_hub() as running:
        for name in ("owner/large", "owner/small", "owner/tiny"):
            running.repositories[name] = model_files(weights=name.encode() * 1000)
        point_at(running.url, tmp_path / "cache", monkeypatch)
        yield running


def fetch(pair: PairSpec = PAIR, draft: str | None = None) -> Pulled:
    return pull(pair, draft, lambda file, done, total: None, lambda: False)


def test_the_target_and_every_sibling_are_fetched(hub: Hub) -> None:
    pulled = fetch()
    assert pulled.fetched == ("owner/large", "owner/small", "owner/tiny")
    assert all(disk_state(source).complete for source in pulled.fetched)
    assert "owner/tiny" in pulled.summary


@pytest.mark.parametrize(
    ("draft", "fetched"), [("tiny", ("owner/large", "owner/tiny")), ("int4", ("owner/large",)), ("int4-shared-head", ("owner/large",))]
)
def test_a_named_draft_is_fetched_alone(hub: Hub, draft: str, fetched: tuple[str, ...]) -> None:
    assert fetch(draft=draft).fetched == fetched
    assert not disk_state("owner/small").complete


def test_what_is_complete_is_skipped(hub: Hub, tmp_path: Path) -> None:
    cache_repository(tmp_path / "cache", "owner/large", model_files())
    pulled = fetch(draft="small")
    assert (pulled.fetched, pulled.present) == (("owner/small",), ("owner/large",))
    hub.sent.clear()
    again = fetch(draft="small")
    assert again.fetched == ()
    assert again.summary == "There is nothing to fetch: owner/large, owner/small already on disk."
    assert hub.sent == []


def test_a_builtin_pair_has_nothing_to_fetch(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "__file__", str(tmp_path / "hub.py"))
    write_files(tmp_path / "demo" / "target", model_files())
    pulled = fetch(PairSpec(name="demo", title="Demo", target="builtin:demo/target", context=1024, license="mit"))
    assert pulled.fetched == ()
    assert pulled.summary == "There is nothing to fetch: demo ships with specchat."


def test_progress_names_the_repository_and_the_file(hub: Hub) -> None:
    hub.seconds_per_chunk = 0.2
    reports: list[tuple[str, int, int]] = []
    pull(PAIR, "int4", lambda file, done, total: reports.append((file, done, total)), lambda: False)
    assert "owner/large model.safetensors" in {file for file, _, _ in reports}
    assert reports[-1][1] == reports[-1][2] > 11_000


def test_a_cancellation_stops_before_the_next_source(hub: Hub) -> None:
    with pytest.raises(DownloadCancelled):
        pull(PAIR, None, lambda file, done, total: None, lambda: disk_state("owner/large").complete)
    assert disk_state("owner/large").complete
    assert not disk_state("owner/tiny").complete


def test_an_unknown_draft_is_refused_before_anything_is_fetched(hub: Hub) -> None:
    with pytest.raises(RegistryError, match="no draft named 7b"):
        fetch(draft="7b")
    assert hub.sent == []


def test_a_directory_that_is_not_there_is_not_looked_for_on_the_hub(hub: Hub) -> None:
    with pytest.raises(HubError, match="neither a directory nor a repository"):
        fetch(PAIR.model_copy(update={"target": "/no/such/place"}))
