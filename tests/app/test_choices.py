"""Choices promise: a pair, a draft and a context picked anywhere become the same load options."""

from __future__ import annotations

from pathlib import Path

import pytest

from specchat.choices import choose_models, options_for
from specdec.errors import RegistryError, UsageError
from specdec.options import Drafting
from specdec.registry import DraftSpec, PairSpec

DRAFTS = (DraftSpec(name="small", kind="sibling", source="own/small"), DraftSpec(name="four/bit", kind="int4"))
PAIR = PairSpec(name="own", title="Own", target="own/target", drafts=DRAFTS, dtype="bfloat16", context=512, license="mit")
AUTO = Drafting()


def source(draft: str, pair: PairSpec = PAIR, drafting: Drafting = AUTO) -> str | None:
    return options_for(pair, draft, 0, "auto", drafting).draft


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        ("", "own/small"),
        ("none", None),
        ("small", "own/small"),
        ("four/bit", "int4"),
        ("int4", "int4"),
        ("int4-shared-head", "int4-shared-head"),
        ("other/draft", "other/draft"),
    ],
)
def test_a_draft_is_the_pairs_first_none_a_name_or_a_source(draft: str, expected: str | None) -> None:
    assert source(draft) == expected


def test_a_pair_without_drafts_is_loaded_without_one() -> None:
    assert source("", PAIR.model_copy(update={"drafts": ()})) is None


def test_what_is_not_chosen_is_the_pairs_own() -> None:
    options = options_for(PAIR, "", 0, "auto", AUTO)
    assert (options.target, options.dtype, options.context, options.exact) == ("own/target", "bfloat16", 512, "auto")
    options = options_for(PAIR, "", 64, "on", AUTO)
    assert (options.dtype, options.context, options.exact) == ("bfloat16", 64, "on")
    assert options_for(PAIR, "", 0, "auto", AUTO, "int8").dtype == "int8"


@pytest.mark.parametrize(
    ("draft", "others"),
    [
        ("small", ("own/tiny", "int4", "int4-shared-head")),
        ("four/bit", ("own/small", "own/tiny", "int4-shared-head")),
        ("int4-shared-head", ("own/small", "own/tiny", "int4")),
        ("other/draft", ("own/small", "own/tiny", "int4", "int4-shared-head")),
        ("none", ()),
    ],
)
def test_the_engine_is_told_the_other_drafts_that_it_may_offer(draft: str, others: tuple[str, ...]) -> None:
    pair = PAIR.model_copy(update={"drafts": (DRAFTS[0], DraftSpec(name="tiny", kind="sibling", source="own/tiny"), DRAFTS[1])})
    assert options_for(pair, draft, 0, "auto", AUTO).other_drafts == others


def test_for_a_target_of_ones_own_the_engine_may_offer_its_copies() -> None:
    options = choose_models(Path("models.toml"), AUTO, None, "own/target", "own/small")
    assert options.other_drafts == ("int4", "int4-shared-head")
    assert choose_models(Path("models.toml"), AUTO, None, "own/target", None).other_drafts == ()
    assert choose_models(Path("models.toml"), AUTO, None, "own/target", "int4-shared-head").draft == "int4-shared-head"


@pytest.mark.parametrize("choice", ["ngram", "off"])
def test_a_draft_that_the_drafting_cannot_use_is_not_loaded(choice: str) -> None:
    assert source("small", drafting=Drafting.model_validate({"draft": choice})) is None


def test_what_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(RegistryError, match="no draft named huge"):
        source("huge")
    with pytest.raises(UsageError, match="needs a draft model") as caught:
        source("none", drafting=Drafting(draft="model"))
    assert "/pair" in caught.value.next_step
    assert "--" not in str(caught.value)
    with pytest.raises(UsageError, match="--draft model needs a draft model") as caught:
        choose_models(Path("models.toml"), Drafting(draft="model"), None, "own/target", None)
    assert "--draft-model" in caught.value.next_step
    with pytest.raises(UsageError, match="context"):
        options_for(PAIR, "", 1, "auto", AUTO)
