"""The registry promises: every shipped pair is sound, a user's file overlays it, and what is wrong is named with its line."""

import re
from pathlib import Path

import pytest

from specdec.errors import RegistryError
from specdec.hub import BUILTIN, REPOSITORY
from specdec.registry import DraftSpec, find_pair, load_registry

GOOD = """
[pairs.mine]
title = "Mine"
target = "~/models/mine"
context = 4096
license = "mit"

[[pairs.mine.drafts]]
name = "int4"
kind = "int4"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_pairs_have_names_a_user_can_type_and_sources_that_can_exist() -> None:
    pairs = load_registry()
    assert next(iter(pairs)) == "demo"
    for pair in pairs.values():
        for source in (pair.target, *(draft.source for draft in pair.drafts if draft.source)):
            assert source.startswith(BUILTIN) or REPOSITORY.fullmatch(source), source
        assert all((pair.title, pair.note, pair.license))
        assert len({draft.name for draft in pair.drafts}) == len(pair.drafts)
        assert re.fullmatch(r"[a-z0-9.-]+", pair.name)


def test_every_shipped_pair_can_draft_with_its_int4_copy() -> None:
    assert all(pair.draft("int4").kind == "int4" for pair in load_registry().values())


def test_only_what_ships_with_the_package_has_nothing_to_download() -> None:
    for pair in load_registry().values():
        assert (pair.download_bytes == 0) == pair.target.startswith(BUILTIN)
        for draft in pair.drafts:
            assert (draft.download_bytes == 0) == (draft.source is None or draft.source.startswith(BUILTIN))


def test_a_sibling_is_much_smaller_than_its_target() -> None:
    for pair in load_registry().values():
        for draft in pair.drafts:
            assert draft.download_bytes * 2 < pair.download_bytes or draft.download_bytes == 0


def test_the_same_repository_is_listed_with_the_same_size_everywhere() -> None:
    sizes: dict[str, int] = {}
    for pair in load_registry().values():
        listed = [(pair.target, pair.download_bytes), *((draft.source, draft.download_bytes) for draft in pair.drafts if draft.source)]
        for source, size in listed:
            assert sizes.setdefault(source, size) == size


def test_a_users_pair_joins_the_shipped_ones_and_replaces_one_of_its_name(tmp_path: Path) -> None:
    joined = load_registry(write(tmp_path, GOOD))
    assert joined["mine"].target == "~/models/mine"
    assert "demo" in joined
    replaced = load_registry(write(tmp_path, GOOD.replace("pairs.mine", "pairs.demo")))
    assert replaced["demo"].title == "Mine"
    assert len(replaced) == len(joined) - 1


def test_no_user_file_is_no_error(tmp_path: Path) -> None:
    assert load_registry(tmp_path / "absent.toml") == load_registry()


@pytest.mark.parametrize(
    ("change", "line", "field"),
    [
        (("context = 4096", "context = 3"), 5, "context"),
        (('license = "mit"', 'licence = "mit"'), 2, "license"),
        (('title = "Mine"', 'title = "Mine"\ncolour = "red"'), 4, "colour"),
        (('kind = "int4"', 'kind = "sibling"'), 8, "drafts"),
        (('kind = "int4"', 'kind = "eagle"'), 8, "drafts"),
        (("context = 4096", 'context = 4096\ndtype = "int3"'), 6, "dtype"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_field(tmp_path: Path, change: tuple[str, str], line: int, field: str) -> None:
    path = write(tmp_path, GOOD.replace(*change))
    with pytest.raises(RegistryError) as raised:
        load_registry(path)
    assert f"{path}, line {line}:" in raised.value.cause
    assert f"pairs.mine.{field}" in raised.value.cause
    assert raised.value.next_step


@pytest.mark.parametrize("text", ["[pairs.mine", "title = 1", "[pairs]\nmine = 3", "[other]\n[pairs]", "pairs = 3"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RegistryError, match=r"models\.toml"):
        load_registry(write(tmp_path, text))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RegistryError, match="cannot be read"):
        load_registry(path)


def test_an_unknown_pair_or_draft_names_the_nearest() -> None:
    pairs = load_registry()
    with pytest.raises(RegistryError) as raised:
        find_pair(pairs, "qwen3-8")
    assert "qwen3-8b" in raised.value.next_step
    with pytest.raises(RegistryError) as raised:
        find_pair(pairs, "qwen3-8b").draft("70b")
    assert "0.6b, int4" in raised.value.next_step


def test_a_draft_has_a_source_exactly_if_it_is_a_sibling() -> None:
    with pytest.raises(ValueError, match="needs a source"):
        DraftSpec(name="x", kind="sibling")
    with pytest.raises(ValueError, match="needs a source"):
        DraftSpec(name="x", kind="int4", source="a/b")
