"""Whether a draft model can serve a target: the same text must give the same token ids in both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specdec.architecture import ModelConfig, read_config, read_json
from specdec.errors import CheckpointError

Vocabulary = dict[str, int]

STAGES = {"normalizer": "normaliser", "pre_tokenizer": "pre-tokenizer"}
MATCHING = ("single_word", "lstrip", "rstrip", "normalized")


@dataclass(frozen=True)
class Compatibility:
    """The verdict on a draft; `reasons` are sentences: why it is unusable, or what to know about one that is usable.

    `shared_vocabulary` is the number of ids both models have a logit for (0 when that is unknown).
    """

    usable: bool
    reasons: tuple[str, ...] = ()
    shared_vocabulary: int = 0


def check_pair(target_dir: Path, draft_dir: Path) -> Compatibility:
    """Compare the configs and tokenizers of two model directories.

    Logits may be padded to different widths; the token of every id may not differ, nor may anything else that decides how text
    becomes ids. Post-processing and decoding do not matter: a draft is only ever given the target's ids. A damaged or
    unsupported model is a reason, not an exception.
    """
    try:
        target, draft = read_config(target_dir), read_config(draft_dir)
        blockers = _tokenizer_differences(target_dir, draft_dir, draft)
    except CheckpointError as error:
        return Compatibility(False, (error.cause,))
    notes = []
    if draft.max_positions < target.max_positions:
        notes.append(f"The draft knows {draft.max_positions} positions of the target's {target.max_positions}; it stops drafting there.")
    return Compatibility(not blockers, (*blockers, *notes), min(target.vocab_size, draft.vocab_size))


def _tokenizer_differences(target_dir: Path, draft_dir: Path, draft: ModelConfig) -> list[str]:
    path, other = target_dir / "tokenizer.json", draft_dir / "tokenizer.json"
    ours, theirs = read_json(path), read_json(other)
    try:
        ids, their_ids = _vocabulary(ours), _vocabulary(theirs)
        differences = _token_differences(ids, their_ids)
        if not differences:
            differences = _unknown_ids(ids, draft) + _rule_differences(ours, theirs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} or {other} is not a tokenizer: {error!r}.", "Download the models again.") from error
    return differences


def _vocabulary(tokenizer: dict[str, Any]) -> Vocabulary:
    """Every token of a tokenizer.json with its id, added tokens included."""
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: int(token["id"]) for token in tokenizer.get("added_tokens") or ()}}


def _token_differences(target: Vocabulary, draft: Vocabulary) -> list[str]:
    if target == draft:
        return []
    differing = sorted(token for token in target.keys() | draft.keys() if target.get(token) != draft.get(token))
    shown = ", ".join(f"{token!r} is {_id(target, token)} in the target and {_id(draft, token)} in the draft" for token in differing[:3])
    rest = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
    return [f"The tokenizers differ: {shown}{rest}."]


def _id(vocabulary: Vocabulary, token: str) -> str:
    return str(vocabulary[token]) if token in vocabulary else "missing"


def _unknown_ids(target: Vocabulary, draft: ModelConfig) -> list[str]:
    beyond = sorted((index, token) for token, index in target.items() if index >= draft.vocab_size)
    if not beyond:
        return []
    index, token = beyond[0]
    return [f"The draft has no embedding for {len(beyond)} of the tokens, the first of them {token!r} (id {index})."]


def _rule_differences(target: dict[str, Any], draft: dict[str, Any]) -> list[str]:
    """What splits or merges text differently although the tokens are the same."""
    kinds = target["model"].get("type"), draft["model"].get("type")
    if kinds[0] != kinds[1]:
        return [f"The tokenizers are of different kinds: {kinds[0]} in the target and {kinds[1]} in the draft."]
    differences = [f"The tokenizers have another {words}." for field, words in STAGES.items() if target.get(field) != draft.get(field)]
    if _merge_rules(target["model"]) != _merge_rules(draft["model"]):
        differences.append("The tokenizers merge the same tokens by other rules.")
    if _added_rules(target) != _added_rules(draft):
        differences.append("The tokenizers look for their added tokens in other places.")
    return differences


def _merge_rules(model: dict[str, Any]) -> dict[str, Any]:
    """The model's rules without its vocabulary; merges are written as `"a b"` or as `["a", "b"]`.

    A false, an empty and an absent setting mean the same. Scores of a Unigram vocabulary are rules too.
    """
    rules = {name: value for name, value in model.items() if name not in ("vocab", "merges") and value}
    rules["merges"] = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model.get("merges") or ()]
    rules["scores"] = model["vocab"] if isinstance(model["vocab"], list) else None
    return rules


def _added_rules(tokenizer: dict[str, Any]) -> dict[str, list[bool]]:
    added = tokenizer.get("added_tokens") or ()
    return {token["content"]: [bool(token.get(name)) for name in MATCHING] for token in added}
