"""Compatibility promises: a draft is usable exactly if the same text gives the same ids, and the reasons name the tokens."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.model_files import WORDS, model_files, tokenizer, write_files
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from specdec.compatibility import Compatibility, check_pair


def pair(directory: Path, target: dict[str, bytes], draft: dict[str, bytes]) -> Compatibility:
    return check_pair(write_files(directory / "target", target), write_files(directory / "draft", draft))


def with_tokens(directory: Path, tokens: dict[str, Any], target_tokens: dict[str, Any] | None = None) -> Compatibility:
    return pair(directory, model_files(tokens=target_tokens), model_files(tokens=tokens))


def test_the_same_tokenizer_is_usable(tmp_path: Path) -> None:
    assert pair(tmp_path, model_files(), model_files()) == Compatibility(True, (), 128)


def test_padded_vocabularies_may_differ_in_size(tmp_path: Path) -> None:
    verdict = pair(tmp_path, model_files({"vocab_size": 152064}), model_files({"vocab_size": 151936}))
    assert verdict == Compatibility(True, (), 151936)


def test_two_spellings_of_one_tokenizer_are_the_same(tmp_path: Path) -> None:
    respelt = tokenizer(merges=[["a", "b"], ["ab", "c"]], byte_fallback=False, dropout=None, decoder={"type": "ByteLevel"})
    assert with_tokens(tmp_path, respelt).usable


def test_a_saved_and_reloaded_tokenizer_is_the_same_and_encodes_the_same(tmp_path: Path) -> None:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(["the cat sat on the mat"] * 5, trainers.BpeTrainer(vocab_size=300, special_tokens=["<end>"]))
    original = json.loads(trained.to_str())
    older = json.loads(trained.to_str())
    older["model"]["merges"] = [" ".join(merge) for merge in older["model"]["merges"]]
    assert with_tokens(tmp_path, older, original).usable
    text = "the cat on a mat<end>"
    assert Tokenizer.from_str(json.dumps(older)).encode(text).ids == trained.encode(text).ids


def test_differing_tokens_are_named_with_both_ids(tmp_path: Path) -> None:
    verdict = with_tokens(tmp_path, tokenizer(["b", "a", "c", "ab", "abc", " cat"]))
    assert not verdict.usable
    (reason,) = verdict.reasons
    assert "' cat' is missing in the target and 5 in the draft" in reason
    assert "' the' is 5 in the target and missing in the draft" in reason
    assert "'a' is 0 in the target and 1 in the draft" in reason
    assert "and 1 more" in reason


def test_special_tokens_count(tmp_path: Path) -> None:
    verdict = with_tokens(tmp_path, tokenizer(specials={"<end>": 101}))
    assert verdict.reasons == ("The tokenizers differ: '<end>' is 100 in the target and 101 in the draft.",)


def test_tokens_the_draft_cannot_embed_are_named(tmp_path: Path) -> None:
    verdict = pair(tmp_path, model_files(), model_files({"vocab_size": 100}))
    assert not verdict.usable
    assert verdict.reasons == ("The draft has no embedding for 1 of the tokens, the first of them '<end>' (id 100).",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "WordPiece"}, "BPE in the target and WordPiece"),
        ({"merges": ["ab c", "a b"]}, "other rules"),
        ({"ignore_merges": True}, "other rules"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer"),
        ({"normalizer": {"type": "NFC"}}, "normaliser"),
        ({"added_tokens": [{"id": 100, "content": "<end>", "lstrip": True}]}, "added tokens"),
    ],
)
def test_the_same_tokens_split_another_way_are_not_usable(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    verdict = with_tokens(tmp_path, tokenizer(**change))
    assert not verdict.usable
    assert len(verdict.reasons) == 1
    assert words in verdict.reasons[0]


def test_unigram_scores_are_rules(tmp_path: Path) -> None:
    scored = [tokenizer(type="Unigram", merges=[], vocab=[[word, -rank] for rank, word in enumerate(words)]) for words in (WORDS, WORDS)]
    assert with_tokens(tmp_path, *scored).usable
    scored[1]["model"]["vocab"][2][1] = -9.5
    assert with_tokens(tmp_path, *scored).reasons == ("The tokenizers merge the same tokens by other rules.",)


def test_fewer_positions_are_a_warning(tmp_path: Path) -> None:
    verdict = pair(tmp_path, model_files(), model_files({"max_position_embeddings": 512}))
    assert verdict.usable
    assert verdict.reasons == ("The draft knows 512 positions of the target's 2048; it stops drafting there.",)
    assert pair(tmp_path, model_files(), model_files({"max_position_embeddings": 8192})).reasons == ()


def test_an_unsupported_draft_is_a_reason(tmp_path: Path) -> None:
    verdict = pair(tmp_path, model_files(), model_files({"architectures": ["MambaForCausalLM"]}))
    assert not verdict.usable
    assert "MambaForCausalLM" in verdict.reasons[0]
    assert verdict.shared_vocabulary == 0


@pytest.mark.parametrize("damage", [b"{", b"[]", b"{}", b'{"model": {"vocab": 3}}', b'{"model": {"vocab": {}, "merges": [1]}}'])
def test_a_damaged_tokenizer_is_a_reason(tmp_path: Path, damage: bytes) -> None:
    files = model_files() | {"tokenizer.json": damage}
    for target, draft in ((model_files(), files), (files, model_files()), (files, files)):
        verdict = pair(tmp_path, target, draft)
        assert not verdict.usable
        assert verdict.reasons


def test_a_missing_tokenizer_is_a_reason(tmp_path: Path) -> None:
    files = model_files()
    del files["tokenizer.json"]
    verdict = pair(tmp_path, model_files(), files)
    assert not verdict.usable
    assert "tokenizer.json is missing" in verdict.reasons[0]
