"""Whether the texts are plain decoding's: which differences break the promise, and how they are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from specchat.bench.planning import repeats_plain
from specchat.bench.sections import Listing
from specdec.benchmark.plan import BenchPlan, Method
from specdec.benchmark.summary import PLAIN, TextDifference, differences
from specdec.events import Measured

MOST_SHOWN = 10


@dataclass(frozen=True)
class Texts:
    """Answers compared with plain decoding's to the same prompt.

    `changed` are the engine's own answers that had to be the same and are not. `foreign` are greedy ones of transformers that differ.
    `compared` and `foreign_compared` count the answers behind each.
    """

    changed: tuple[TextDifference, ...]
    compared: int
    foreign: tuple[TextDifference, ...]
    foreign_compared: int
    other_samples: tuple[str, ...]


def compare(plan: BenchPlan, measured: Sequence[Measured]) -> Texts:
    """The texts of a benchmark; `other_samples` names the methods that draw another sample above temperature 0."""
    methods = {method.name: method for method in plan.methods}
    own = [answer for answer in measured if repeats_plain(methods[answer.method], answer.temperature)]
    foreign = [answer for answer in measured if _greedy_foreign(methods[answer.method], answer)]
    plain = [answer for answer in own if answer.method == PLAIN]
    sampled = {
        answer.method for answer in measured if answer.temperature > 0 and not repeats_plain(methods[answer.method], answer.temperature)
    }
    return Texts(
        changed=tuple(differences(own)),
        compared=len(own) - len(plain),
        foreign=tuple(difference for difference in differences([*plain, *foreign]) if difference.method != PLAIN),
        foreign_compared=len(foreign),
        other_samples=tuple(name for name in methods if name in sampled),
    )


def listing(texts: Texts) -> Listing:
    """The comparison in sentences; of many changed answers the first ten."""
    items = []
    if texts.changed:
        items += [sentence(difference) for difference in texts.changed[:MOST_SHOWN]]
        if len(texts.changed) > MOST_SHOWN:
            items.append(f"{len(texts.changed) - MOST_SHOWN} more answers differ.")
    elif texts.compared:
        items.append(f"No drafter changed a text: all {texts.compared} answers have the tokens of plain decoding.")
    if texts.foreign:
        items.append(
            f"transformers: {len(texts.foreign)} of {texts.foreign_compared} greedy answers differ from plain decoding's. "
            f"{sentence(texts.foreign[0])}"
        )
    elif texts.foreign_compared:
        items.append(f"transformers: all {texts.foreign_compared} greedy answers have the tokens of plain decoding.")
    if texts.other_samples:
        items.append(f"Above temperature 0 these draw other random numbers and are not compared: {'; '.join(texts.other_samples)}.")
    return Listing("Texts", tuple(items))


def sentence(difference: TextDifference) -> str:
    """One difference: where, and both texts around it."""
    where = f"{difference.method}, prompt {difference.prompt}, temperature {difference.temperature:g}"
    return f"{where}: token {difference.token} differs: {_quoted(difference.other)} instead of {_quoted(difference.plain)}."


def _greedy_foreign(method: Method, answer: Measured) -> bool:
    return method.engine == "transformers" and answer.temperature == 0


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
