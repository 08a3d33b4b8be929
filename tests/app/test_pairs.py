"""The listing promises: for every pair what is on disk, what it needs, whether it fits and what is in the way, in 100 columns."""

import json
import shutil
from pathlib import Path

import pytest
from tests.hub_server import point_at
from tests.model_files import cache_repository, model_files, tokenizer, write_files

from specchat.pairs import DraftRow, PairRow, Survey, Variant, need, pair_row, rows, survey, variants
from specchat.pairs_table import HEADER, table
from specdec.architecture import read_config
from specdec.memory import INT4, INT4_SHARED_HEAD, Memory, PairShape, Way, estimate_need, judge, pair_need
from specdec.registry import DraftSpec, PairSpec, load_registry

GB = 10**9
ROOMY = Memory("gpu", 80 * GB, 80 * GB)
CRAMPED = Memory("cpu", 10**6, GB)
DRAFTS = (
    DraftSpec(name="small", kind="sibling", source="owner/small", download_bytes=1000),
    DraftSpec(name="int4", kind="int4"),
)
PAIR = PairSpec(
    name="mine", title="Mine", target="owner/large", drafts=DRAFTS, context=1024, license="mit", download_bytes=4000, note="For tests."
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub address where nothing listens."""
    point_at("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    return tmp_path / "cache"


def listed(pair: PairSpec = PAIR, memory: Memory = ROOMY) -> PairRow:
    (row,) = rows({pair.name: pair}, memory)
    return row


def sibling(row: PairRow) -> DraftRow:
    return next(draft for draft in row.drafts if draft.kind == "sibling")


def test_a_pair_that_is_not_on_disk_is_estimated_and_not_usable() -> None:
    row = listed()
    assert not row.on_disk
    assert not row.usable
    assert row.bytes_to_fetch == 4000
    assert row.need.estimated
    assert row.need.total_bytes == estimate_need(4000, 0, 1024, "float16", "gpu").total
    assert row.need.largest_context is None
    draft = sibling(row)
    assert (draft.bytes_to_fetch, draft.compatible, draft.usable) == (1000, "unknown until downloaded", False)
    assert [draft.need.estimated for draft in row.drafts] == [True, True]


def test_a_pair_on_disk_has_real_figures_and_is_usable(cache: Path) -> None:
    target = cache_repository(cache, "owner/large", model_files())
    draft = cache_repository(cache, "owner/small", model_files({"num_hidden_layers": 1}))
    row = listed()
    assert row.on_disk
    assert row.usable
    assert row.bytes_to_fetch == 0
    known = pair_need(PairShape(read_config(target), read_config(draft), "float16", "gpu"), 1024)
    assert sibling(row).need.total_bytes == known.total
    assert sibling(row).need.spare_bytes == ROOMY.free - known.total
    assert sibling(row).need.fit == judge(known, ROOMY)
    assert sibling(row).need.largest_context == 2048
    assert not sibling(row).need.estimated
    assert all(draft.usable and draft.compatible == "yes" for draft in row.drafts)


def test_a_target_alone_can_be_used_with_its_int4_copy_but_not_the_sibling(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    row = listed()
    assert [(draft.name, draft.usable) for draft in row.drafts] == [("small", False), ("int4", True)]
    assert row.usable
    assert sibling(row).need.estimated


def test_bytes_to_fetch_shrink_as_a_download_goes_on(cache: Path) -> None:
    write_files(cache / "models--owner--large" / "blobs", {"0f.incomplete": b"x" * 1500})
    assert listed().bytes_to_fetch == 2500


def test_an_incompatible_draft_says_why(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    cache_repository(cache, "owner/small", model_files(tokens=tokenizer(["b", "a"])))
    row = listed()
    draft = sibling(row)
    assert (draft.compatible, draft.usable) == ("no", False)
    assert "'a' is 0 in the target and 1 in the draft" in " ".join(draft.reasons)
    text = table([row])
    assert "incompatible" in text
    assert "The tokenizers differ" in text


def test_a_pair_too_large_says_by_how_much(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    row = listed(memory=CRAMPED)
    assert not row.usable
    assert row.need.fit == "does not fit"
    assert row.need.spare_bytes == CRAMPED.free - row.need.total_bytes
    assert not any(draft.usable for draft in row.drafts)
    text = table([row])
    assert "short by" in text
    assert "too large" in text


def test_an_unsupported_target_says_so_once(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files({"architectures": ["MambaForCausalLM"]}))
    cache_repository(cache, "owner/small", model_files())
    row = listed()
    assert "MambaForCausalLM" in row.problem
    assert not row.usable
    assert table([row]).count("no decoder") == 1


def test_the_listing_survives_a_round_trip_through_json() -> None:
    for row in rows(load_registry(), ROOMY):
        assert PairRow.model_validate(json.loads(row.model_dump_json())) == row


@pytest.mark.parametrize("memory", [ROOMY, CRAMPED])
def test_the_table_of_all_shipped_pairs_fits_into_100_columns(memory: Memory) -> None:
    listing = rows(load_registry(), memory)
    text = table(listing)
    lines = text.splitlines()
    assert lines[0] == HEADER
    assert max(map(len, lines)) <= 100
    for row in listing:
        assert any(line.startswith(row.name) for line in lines)
        assert row.license in text


def test_the_table_says_what_is_ready_and_what_an_estimate_is(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    first, second = table([listed()]).splitlines()[2:4]
    assert first.split()[:3] == ["mine", "small", "~"]
    assert first.endswith("not on disk")
    assert "1.0 kB" in first
    assert "~" not in second
    assert second.endswith("ready")


def test_a_pair_without_drafts_has_a_line_too(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    assert table([listed(PAIR.model_copy(update={"drafts": ()}))]).splitlines()[2].endswith("ready")


def test_names_from_a_users_file_cannot_break_the_table() -> None:
    wild = PAIR.model_copy(update={"name": "x" * 300, "title": "\x1b[31mred\x07", "note": "word " * 100})
    text = table([listed(wild)])
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_survey_gives_rows_at_any_context_without_looking_again(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    found = survey(PAIR)
    shutil.rmtree(cache)
    short, long = (pair_row(found, ROOMY, context) for context in (256, 2048))
    assert (short.context, long.context) == (256, 2048)
    assert short.need.total_bytes < long.need.total_bytes
    assert short.drafts[1].need.spare_bytes > long.drafts[1].need.spare_bytes
    assert rows({PAIR.name: PAIR}, ROOMY) != [short]


def test_the_need_is_broken_down_by_what_takes_the_bytes(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files())
    found = survey(PAIR)
    row = pair_row(found, ROOMY, 1024)
    small, int4 = found.drafts
    for draft, listed_need in ((None, row.need), (small, row.drafts[0].need), (int4, row.drafts[1].need)):
        parts, estimated = need(found, Variant(draft), ROOMY, 1024)
        assert (parts.total, estimated) == (listed_need.total_bytes, listed_need.estimated)
    assert need(found, Variant(None), ROOMY, 1024)[0].draft == 0
    assert need(found, Variant(int4), ROOMY, 1024)[0].draft > 0


LARGE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "vocab_size": 64_000,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "max_position_embeddings": 32768,
}


def total(found: Survey, draft: str | None, int8: bool = False) -> int:
    """The bytes of the pair as the engine works them out."""
    assert found.config is not None
    config = found.drafts[0].config if draft == "small" else INT4_SHARED_HEAD if draft == INT4_SHARED_HEAD else INT4 if draft else None
    return pair_need(PairShape(found.config, config, "float16", "gpu", int8), 1024).total


@pytest.fixture
def large(cache: Path) -> Survey:
    """A pair on disk whose sibling is as large as its target."""
    for name in ("owner/large", "owner/small"):
        cache_repository(cache, name, model_files(LARGE))
    return survey(PAIR)


def names(row: PairRow) -> list[str]:
    return [draft.name for draft in row.drafts]


def test_the_copy_without_a_head_follows_the_int4_copy_only_where_that_does_not_fit(large: Survey) -> None:
    for free, listed_names in ((total(large, INT4), ["small", "int4"]), (total(large, INT4) - 1, ["small", "int4", "int4-shared-head"])):
        row = pair_row(large, Memory("gpu", free, 2 * free), 1024)
        assert names(row) == listed_names
    lighter = row.drafts[2]
    assert (lighter.kind, lighter.source, lighter.usable, lighter.on_disk) == ("int4-shared-head", None, True, True)
    assert lighter.need.total_bytes == total(large, INT4_SHARED_HEAD) < total(large, INT4)
    assert "int4-shared-head" in table([row])


def test_8_bits_a_weight_are_offered_where_a_draft_or_the_target_itself_does_not_fit(large: Survey) -> None:
    assert pair_row(large, Memory("gpu", total(large, "small"), 80 * GB), 1024).int8 is None
    for free, draft in (
        (total(large, "small") - 1, "small"),
        (total(large, "small", True) - 1, "int4"),
        (total(large, INT4, True) - 1, INT4_SHARED_HEAD),
        (total(large, INT4_SHARED_HEAD, True) - 1, "none"),
        (total(large, None, True), "none"),
    ):
        row = pair_row(large, Memory("gpu", free, 80 * GB), 1024)
        assert row.int8 is not None
        assert (row.int8.name, row.int8.usable) == (draft, True)
        assert row.int8.need.total_bytes == total(large, None if draft == "none" else draft, True)
    assert not row.usable
    text = table([row])
    assert "int8, with no model draft, has 8 bits a weight: other text than full precision." in text
    assert any(line.split()[:1] == ["int8"] and line.endswith("ready") for line in text.splitlines())
    assert PairRow.model_validate(json.loads(row.model_dump_json())) == row


def test_what_is_too_large_even_with_8_bits_a_weight_says_so(large: Survey) -> None:
    row = pair_row(large, CRAMPED, 1024)
    assert row.int8 is not None
    assert (row.int8.kind, row.int8.usable) == ("none", False)


def test_a_draft_that_cannot_serve_is_not_offered_with_8_bits_a_weight(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files(LARGE))
    cache_repository(cache, "owner/small", model_files(tokens=tokenizer(["b", "a"])))
    found = survey(PAIR)
    row = pair_row(found, Memory("gpu", total(found, INT4, True), 80 * GB), 1024)
    assert row.int8 is not None
    assert row.int8.name == "int4"


def test_a_pair_of_8_bits_a_weight_by_its_own_choice_is_counted_so_and_needs_no_other_row(large: Survey) -> None:
    row = pair_row(survey(PAIR.model_copy(update={"dtype": "int8"})), Memory("gpu", 10**6, GB), 1024)
    assert row.int8 is None
    assert row.need.total_bytes == total(large, None, True)


def test_sizes_of_lighter_ways_are_estimated_while_nothing_is_on_disk() -> None:
    pair = PAIR.model_copy(update={"download_bytes": 16 * GB})
    row = listed(pair, Memory("gpu", 12 * GB, 16 * GB))
    lighter, rounded = row.drafts[2].need, row.int8
    assert rounded is not None
    assert (lighter.estimated, rounded.need.estimated) == (True, True)
    assert lighter.total_bytes == estimate_need(16 * GB, INT4_SHARED_HEAD, 1024, "float16", "gpu").total
    assert rounded.need.total_bytes == estimate_need(16 * GB, 1000, 1024, "float16", "gpu", int8=True).total
    assert rounded.need.fit != "does not fit"


def test_a_target_that_cannot_be_loaded_has_no_lighter_ways(cache: Path) -> None:
    cache_repository(cache, "owner/large", model_files({"architectures": ["MambaForCausalLM"]}))
    row = listed(memory=CRAMPED)
    assert (names(row), row.int8) == (["small", "int4"], None)


def test_what_is_picked_stays_listed_where_all_fits(large: Survey) -> None:
    def kept(picked: Way) -> list[tuple[str, bool]]:
        return [(variant.name, variant.int8) for variant in variants(large, ROOMY, 1024, picked)]

    full = [("small", False), ("int4", False), ("none", False)]
    assert kept(Way("small")) == full
    assert kept(Way("int4", int8=True)) == [*full, ("int4", True)]
    assert kept(Way("", int8=True)) == [*full, ("small", True)]
    assert kept(Way(None, int8=True)) == [*full, ("none", True)]
    assert kept(Way(INT4_SHARED_HEAD)) == [*full[:2], (INT4_SHARED_HEAD, False), full[2]]
