"""How well a model predicts what the assistant says, given the conversation before, in bits for each byte of its text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from pair_quality import OVERALL
from specdec.drafting.model import ModelDrafter
from specdec.kv_cache import KVCache
from specdec.loading import Pair
from specdec.memory import INT4
from specdec.model.decoder import Decoder
from specdec.model.rows import View
from specdec.options import Message
from specdec.prefixes import common_length
from specdec.text import TextCodec

ROWS = 256
Conversation = Sequence[Message]


@dataclass(frozen=True)
class Loss:
    """Sums over the assistant's turns; the token that ends a turn has its nats counted and adds no bytes."""

    turns: int = 0
    tokens: int = 0
    bytes: int = 0
    nats: float = 0.0

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.turns + other.turns, self.tokens + other.tokens, self.bytes + other.bytes, self.nats + other.nats)

    @property
    def bits_per_byte(self) -> float:
        """The mean over all bytes."""
        return self.nats / math.log(2) / self.bytes if self.bytes else 0.0


class Scorer:
    """A model that reads conversations; its logits are cut off at `vocabulary`, and the rows of its cache are not kept for others."""

    def __init__(self, decoder: Decoder, codec: TextCodec, cache: KVCache, context: int, vocabulary: int) -> None:
        self._decoder = decoder
        self._codec = codec
        self._cache = cache
        self._context = context
        self._vocabulary = vocabulary
        self._eos = torch.tensor(sorted(codec.eos), dtype=torch.int64, device=decoder.device)
        self._cached: list[int] = []

    def loss(self, messages: Conversation) -> Loss:
        """The loss on the assistant's turns, up to the first that the context has no room for."""
        total = Loss()
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            prompt = self._codec.render(messages[:index], thinking=False)
            tokens = self._codec.render(messages[: index + 1], thinking=False)
            if len(tokens) > self._context:
                break
            nats, predicted = self._nats(tokens, common_length(prompt, tokens))
            total += Loss(1, predicted, len(message.content.encode()), nats)
        return total

    def _nats(self, tokens: list[int], begin: int) -> tuple[float, int]:
        """Nats of the tokens from `begin` on and of ending after the last (by any end-of-sequence token), and their number."""
        device = self._decoder.device
        first = begin - 1
        reused = min(common_length(self._cached, tokens), first)
        nats = 0.0
        for start in range(reused, len(tokens), ROWS):
            stop = min(start + ROWS, len(tokens))
            rows = torch.tensor(tokens[start:stop], dtype=torch.int64, device=device)
            skipped = max(0, first - start)
            logits = self._decoder.forward(rows, start, self._cache, View(stop), logits_from=skipped)
            likely = logits[:, : self._vocabulary].float().log_softmax(-1)
            following = torch.tensor(tokens[start + skipped + 1 : stop + 1], dtype=torch.int64, device=device)
            nats -= likely[: len(following)].gather(1, following[:, None]).sum(dtype=torch.float64).item()
        ends = len(self._eos) > 0
        if ends:
            nats -= likely[-1, self._eos].logsumexp(0).item()
        self._cached = tokens
        return nats, len(tokens) - begin + ends


def target_scorer(pair: Pair) -> Scorer:
    """The target as it verifies."""
    target = pair.target
    return Scorer(target.decoder, pair.codec, target.cache, target.context, target.decoder.config.vocab_size)


def draft_scorer(pair: Pair, drafter: ModelDrafter) -> Scorer:
    """The draft model as it drafts, except that an INT4 copy reads its own rows where it would read the target's."""
    target, decoder = pair.target, drafter.decoder
    if drafter.name == INT4:
        return Scorer(decoder, pair.codec, target.cache, target.context, decoder.config.vocab_size)
    context = min(target.context, decoder.config.max_positions)
    cache = KVCache(decoder.config, context, decoder.dtype, decoder.device)
    return Scorer(decoder, pair.codec, cache, context, min(decoder.config.vocab_size, target.decoder.config.vocab_size))


def bits_per_byte(scorer: Scorer, sources: Mapping[str, Sequence[Conversation]], label: str) -> dict[str, Loss]:
    """The loss on each source and, last, overall; a progress bar of that label on stderr counts the conversations."""
    with tqdm(total=sum(map(len, sources.values())), desc=f"loss, {label}", unit="chat") as progress:

        def scored(conversation: Conversation) -> Loss:
            progress.update()
            return scorer.loss(conversation)

        losses = {source: sum(map(scored, conversations), Loss()) for source, conversations in sources.items()}
    return losses | {OVERALL: sum(losses.values(), Loss())}
