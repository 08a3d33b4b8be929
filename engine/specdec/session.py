"""ChatSession: whole conversations in, a stream of rounds out; what is already in the cache is not computed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from specdec.decoding import DecodedRound, DecodingPlan, decode
from specdec.drafting.base import Drafter
from specdec.errors import UsageError
from specdec.events import Chat, Count, Counted, Done, Event, Finish, Progress, Round, Run, Source, Started
from specdec.loading import Pair
from specdec.options import Drafting
from specdec.prefixes import common_length
from specdec.sampling import Sampler, plan
from specdec.statistics import Tally
from specdec.text import Detokeniser, StopStrings, require_room
from specdec.verification import Rule


def never() -> bool:
    """The `stopped` of an answer that nobody will stop."""
    return False


class ChatSession:
    """Answers conversations with one loaded pair, one at a time.

    Every request carries the whole conversation; the longest prefix that the cache already holds is reused, so editing,
    forking and regenerating need nothing special.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._cached: list[int] = []
        self._prefilled = 0

    def chat(self, request: Chat, stopped: Callable[[], bool] = never) -> Iterator[Event]:
        """Answer a conversation: `progress` while a long prompt is read, `started`, a `round` each target pass, `done`.

        `stopped` is asked between prefill chunks and once a round. Raises ContextFullError and UsageError before anything is
        computed.
        """
        pair = self.pair
        drafters, forced = self._drafters(request.drafting)
        prompt = pair.codec.render(request.messages, request.thinking)
        require_room(len(prompt), pair.target.context)
        began = time.perf_counter()
        reused = self._reusable(prompt)
        for reached in self._prefill(prompt, reused):
            if reached < len(prompt) - 1:
                yield Progress(id=request.id, stage="prompt", done=reached, total=len(prompt), unit="tokens")
            if stopped():
                break
        sampling = plan(request.sampling, pair.codec.generation_config)
        sampler = Sampler(sampling, pair.target.decoder.config.vocab_size, prompt, pair.target.decoder.device)
        if not stopped():
            for drafter in drafters:
                drafter.begin(prompt)
        prefill_ms = (time.perf_counter() - began) * 1000
        tally = Tally(len(prompt), reused, prefill_ms)
        yield Started(id=request.id, prompt_tokens=len(prompt), reused_tokens=reused, prefill_ms=prefill_ms, sampling=sampling.options)
        finish: Finish = "stopped"
        decoding_began = time.perf_counter()
        if not stopped():
            limits = DecodingPlan(
                sampler=sampler,
                rule=Rule.parse(request.drafting.accept),
                drafters=drafters,
                forced=forced,
                draft_tokens=request.drafting.draft_tokens,
                eos=pair.codec.eos,
                max_tokens=request.max_tokens or pair.target.context,
            )
            for event, ended in self._rounds(request, prompt, limits, stopped):
                tally.add(event)
                tally.first_token_ms = tally.first_token_ms or (time.perf_counter() - began) * 1000
                finish = ended or finish
                yield event
        yield Done(id=request.id, finish=finish, statistics=tally.statistics((time.perf_counter() - decoding_began) * 1000))

    def count(self, request: Count) -> Counted:
        """How many tokens a conversation has, and how many the context holds; raises UsageError as `chat` does."""
        tokens = len(self.pair.codec.render(request.messages, request.thinking))
        return Counted(id=request.id, tokens=tokens, context=self.pair.target.context)

    def _drafters(self, drafting: Drafting) -> tuple[Sequence[Drafter], bool]:
        """The drafters a request allows, and whether it insists on them."""
        pair = self.pair
        if drafting.draft == "off":
            return (), False
        if drafting.draft == "ngram":
            return (pair.ngram,), True
        if drafting.draft == "model":
            if pair.drafter is None:
                raise UsageError("This pair runs without a draft model.", "Use --draft auto, ngram or off, or name a --draft-model.")
            return (pair.drafter,), True
        return ((pair.ngram,) if pair.drafter is None else (pair.ngram, pair.drafter)), False

    def _reusable(self, prompt: Sequence[int]) -> int:
        """How many rows of the cache the prompt can keep.

        When prefill and decoding round differently, exact mode computes decoded rows again, as a fresh session would. In a padded
        prefill a row may round by its place in its chunk, so that chunks begin where they do in a fresh session.
        """
        exactness, limit = self.pair.exactness, len(prompt) - 1
        if exactness.exact and not exactness.prefill_matches:
            limit = min(limit, self._prefilled)
        reusable = min(limit, common_length(self._cached, prompt))
        if exactness.exact and exactness.execution.padded_prefill:
            reusable -= reusable % self.pair.target.prefill_tile
        return reusable

    def _prefill(self, prompt: Sequence[int], reused: int) -> Iterator[int]:
        """Bring all prompt tokens but the last into the cache; yields the length reached."""
        self._cached = list(prompt[:reused])
        for reached in self.pair.target.prefill(prompt[reused:-1], reused):
            self._cached = list(prompt[:reached])
            self._prefilled = reached
            yield reached
        self._prefilled = min(self._prefilled, len(self._cached))

    def _rounds(
        self, request: Chat, prompt: Sequence[int], limits: DecodingPlan, stopped: Callable[[], bool]
    ) -> Iterator[tuple[Round, Finish | None]]:
        """The decoded rounds, the last with the reason for the end; a stop string ends the answer in the middle of a round."""
        pair = self.pair
        detokeniser = Detokeniser(pair.codec, prompt)
        stops = StopStrings(request.stop)
        tokens = list(prompt)
        for index, round_ in enumerate(decode(pair.target, pair.controller, tokens, limits, stopped)):
            self._cached = tokens[:-1]
            runs: list[tuple[Source, str, list[int]]] = []
            for token, source in zip(round_.tokens, round_.sources, strict=True):
                text = stops.push(detokeniser.push(token))
                if runs and runs[-1][0] == source:
                    runs[-1] = (source, runs[-1][1] + text, [*runs[-1][2], token])
                else:
                    runs.append((source, text, [token]))
                if stops.found:
                    break
            finish: Finish | None = "stop_string" if stops.found else round_.finish
            if finish is not None and not stops.found:
                tail = stops.push(detokeniser.flush()) + ("" if stops.found else stops.flush())
                runs[-1] = (runs[-1][0], runs[-1][1] + tail, runs[-1][2])
            yield _event(request.id, index, round_, runs, pair.codec.decode(round_.drafted[round_.accepted :])), finish
            if finish is not None:
                return


def _event(request_id: int, index: int, round_: DecodedRound, runs: Sequence[tuple[Source, str, list[int]]], rejected: str) -> Round:
    return Round(
        id=request_id,
        index=index,
        drafter=round_.drafter,
        drafted=len(round_.drafted),
        tested=round_.tested,
        accepted=round_.accepted,
        runs=tuple(Run(source=source, text=text, tokens=tuple(tokens)) for source, text, tokens in runs),
        rejected=rejected,
        draft_ms=round_.draft_ms,
        verify_ms=round_.verify_ms,
    )
