"""Drafting with a model: a sibling with its own cache, or the target's INT4 copy on the target's cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from specdec import noise
from specdec.drafting.base import Draft
from specdec.events import Source
from specdec.kv_cache import KVCache
from specdec.model.decoder import Decoder
from specdec.model.rows import View
from specdec.passes import Passes, Record
from specdec.prefixes import common_length
from specdec.sampling import Sampler
from specdec.verification import Rule

PREFILL_ROWS = 256


class ModelDrafter:
    """Draws tokens one after the other from a draft model.

    `vocabulary` is how many token ids draft and target share; logits beyond it are cut off. With `cache` given, it is the
    target's and its rows up to the context's last token are taken as they are: draft rows go behind them and the target's
    verification overwrites them.
    """

    source: Source = "draft"
    priors: tuple[float, ...] = (0.75,)

    def __init__(
        self, name: str, decoder: Decoder, vocabulary: int, capacity: int, cache: KVCache | None = None, record: Record | None = None
    ) -> None:
        self.name = name
        self.decoder = decoder
        self._vocabulary = vocabulary
        self._shared = cache is not None
        self._cache = cache or KVCache(decoder.config, capacity, decoder.dtype, decoder.device)
        self._passes = Passes(decoder, self._cache, record)
        self._tokens: list[int] = []
        self._length = 0
        self._draft_rows = 0

    def begin(self, tokens: Sequence[int]) -> None:
        common = common_length(self._tokens, tokens)
        self._length = len(tokens) - 1 if self._shared else min(self._length, common, len(tokens) - 1)
        self._tokens = list(tokens)
        self._draft_rows = 0
        if not self._shared and len(tokens) <= self._cache.capacity:
            self._prefill(len(tokens) - 1)

    def confidence_bucket(self) -> int:
        return 0 if len(self._tokens) < self._cache.capacity else -1

    def propose(self, k: int, sampler: Sampler, rule: Rule) -> Draft:
        k = min(k, self._cache.capacity - len(self._tokens))
        if k <= 0:
            return Draft([])
        device = self.decoder.device
        context = len(self._tokens)
        rejecting = rule.name == "rejection"
        stream = noise.DRAFT if rejecting else noise.TARGET
        drafted = torch.empty(0, dtype=torch.int64, device=device)
        q: list[Tensor] = []
        logits = self._catch_up()
        for step in range(k):
            if step:
                logits = self._forward(drafted[-1:], context + step - 1)
            if rejecting:
                q.append(sampler.probabilities(logits, drafted))
            drafted = torch.cat((drafted, sampler.draw(logits, context + step, drafted, stream)))
        self._draft_rows = k - 1
        return Draft(drafted, torch.cat(q) if rejecting else None)

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        self._length += min(accepted, self._draft_rows)
        self._draft_rows = 0
        self._tokens.extend(tokens)
        if self._shared:
            self._length = len(self._tokens) - 1

    def _prefill(self, stop: int) -> None:
        """Write the cache rows of the context up to position `stop`."""
        for first in range(self._length, stop, PREFILL_ROWS):
            self._forward(self._rows(first, min(first + PREFILL_ROWS, stop)), first, logits=False)
        self._length = max(self._length, stop)

    def _catch_up(self) -> Tensor:
        """Run the context tokens that have no row yet; returns the logits after the last one, [1, shared vocabulary]."""
        context = len(self._tokens)
        self._prefill(max(self._length, context - PREFILL_ROWS))
        logits = self._forward(self._rows(self._length, context), self._length)
        self._length = context
        return logits

    def _rows(self, start: int, stop: int) -> Tensor:
        return torch.tensor(self._tokens[start:stop], dtype=torch.int64, device=self.decoder.device)

    def _forward(self, tokens: Tensor, start: int, logits: bool = True) -> Tensor:
        rows = len(tokens)
        if not logits:
            return self.decoder.forward(tokens, start, self._cache, View(start + rows), logits_from=rows)
        return self._passes.run(tokens, start, self._passes.loose_view(start, rows), rows - 1)[:, : self._vocabulary]
