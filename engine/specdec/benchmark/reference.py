"""The yardstick: the same files answered by transformers' `generate`: plain, with a static cache, assisted or with prompt lookup."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig, StaticCache
from transformers.generation.streamers import BaseStreamer

from specdec.architecture import read_config
from specdec.benchmark.answering import Answer, Answerer, Question, milliseconds_between
from specdec.benchmark.plan import Method
from specdec.compatibility import check_pair
from specdec.errors import CheckpointError, IncompatibleDraftError, UsageError
from specdec.free_memory import free_memory
from specdec.hub import locate
from specdec.loading import Pair, Report, require_beside, stored_name
from specdec.memory import is_copy, kv_bytes, model_bytes
from specdec.sampling import SamplingPlan, plan
from specdec.statistics import Tally
from specdec.text import Detokeniser

LOOKUP_TOKENS = 10  # generate() has no default; this is that of transformers' PromptLookupCandidateGenerator
STATIC_STEP = 512


class Reference:
    """transformers on a loaded pair's files, device, dtype and threads; models are loaded when a method first needs them."""

    def __init__(self, pair: Pair, report: Report) -> None:
        self._pair = pair
        self._report = report
        self._directory = locate(pair.ready.target)
        self._models: dict[Path, Any] = {}
        self._static_cache: Any = None

    def answerer(self, method: Method) -> Answerer:
        """How transformers answers by a method.

        Raises UsageError for a method it does not have, and the typed errors of loading.
        """
        drafting = method.drafting
        if drafting.draft == "auto" or drafting.draft_tokens == 0:
            raise UsageError(
                "transformers drafts with a model (model), by prompt lookup (ngram) or not at all (off), and at least one token."
            )
        draft = None
        if drafting.draft == "model":
            draft = self._draft(method.draft)
        target = self._model(self._directory)
        assistant = None if draft is None else self._model(draft)
        lookup = drafting.draft_tokens or LOOKUP_TOKENS if drafting.draft == "ngram" else None

        def answer(question: Question) -> Answer:
            if assistant is not None:
                assistant.generation_config = _assisting(drafting.draft_tokens)
            cache = self._emptied_cache(target, question) if method.static_cache else None
            return self._answer(target, assistant, lookup, cache, question)

        return answer

    def _emptied_cache(self, target: Any, question: Question) -> Any:
        """A static cache that holds the question and its answer, the one of the last answer if it is large enough.

        A compiled step is tied to the cache's place and size; `generate` by itself would make a new one for each answer.
        """
        needed = len(question.tokens) + question.max_tokens
        if self._static_cache is None or self._static_cache.get_max_length() < needed:
            self._static_cache = StaticCache(config=target.config, max_cache_len=-(-needed // STATIC_STEP) * STATIC_STEP)
        self._static_cache.reset()
        return self._static_cache

    def _draft(self, source: str | None) -> Path:
        """The directory of a draft that transformers can assist with."""
        if source is None:
            raise UsageError("The method drafts with a model but names none.")
        if is_copy(source):
            raise UsageError("transformers has no INT4 copy of the target that shares its cache.")
        directory = locate(source)
        compatibility = check_pair(self._directory, directory)
        if not compatibility.usable:
            raise IncompatibleDraftError(" ".join(compatibility.reasons))
        sizes = read_config(self._directory).vocab_size, read_config(directory).vocab_size
        if sizes[0] != sizes[1]:
            raise IncompatibleDraftError(
                f"transformers wants equal vocabularies, but the target has {sizes[0]} ids and the draft {sizes[1]}."
            )
        return directory

    def _model(self, directory: Path) -> Any:
        if directory not in self._models:
            self._models[directory] = self._load(directory)
        return self._models[directory]

    def _load(self, directory: Path) -> Any:
        target = self._pair.target
        device, dtype = target.decoder.device, target.decoder.dtype
        config, place, stored = read_config(directory), free_memory(str(device)), stored_name(dtype)
        size = model_bytes(config, stored, place.device) + kv_bytes(config, target.context, stored)
        require_beside(f"transformers with {directory.name}", size, place)
        self._report("transformers", 0, 1)
        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                directory, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(f"transformers cannot load {directory}: {error}.", "Measure without transformers.") from error
        model.generation_config = GenerationConfig()
        return model.to(device).eval()

    def _answer(self, target: Any, assistant: Any, lookup: int | None, cache: Any, question: Question) -> Answer:
        codec = self._pair.codec
        sampling = plan(question.sampling, codec.generation_config)
        prompt = torch.tensor([question.tokens], device=target.device)
        read_ms = _read_ms([target] if assistant is None else [target, assistant], prompt)
        clock = _Clock()
        torch.manual_seed(sampling.seed)
        began = time.perf_counter()
        target.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=_configuration(sampling, question.max_tokens, sorted(codec.eos), lookup),
            assistant_model=assistant,
            **({} if cache is None else {"past_key_values": cache}),
            streamer=clock,
        )
        handed = clock.handed
        first_token_ms = (handed[0][0] - began) * 1000
        prefill_ms = min(read_ms, first_token_ms)
        decoding = began + prefill_ms / 1000
        tokens = tuple(token for _, tokens in handed for token in tokens)
        detokeniser = Detokeniser(codec, question.tokens)
        text = "".join(detokeniser.push(token) for token in tokens) + detokeniser.flush()
        tally = Tally(
            prompt_tokens=len(question.tokens),
            reused_tokens=0,
            prefill_ms=prefill_ms,
            first_token_ms=first_token_ms,
            answer_tokens=len(tokens),
            rounds=len(handed),
        )
        return Answer(
            tokens=tokens,
            text=text,
            finish="eos" if tokens[-1] in codec.eos else "max_tokens",
            statistics=tally.statistics((handed[-1][0] - decoding) * 1000),
            round_tokens=tuple(len(tokens) for _, tokens in handed),
            round_ms=milliseconds_between([decoding, *(moment for moment, _ in handed)]),
        )


@dataclass
class _Clock(BaseStreamer):
    """When `generate` handed over which tokens; the prompt, which comes first, is not kept."""

    handed: list[tuple[float, list[int]]] = field(default_factory=list)
    _begun: bool = False

    def put(self, value: Tensor) -> None:
        if self._begun:
            self.handed.append((time.perf_counter(), value.flatten().tolist()))
        self._begun = True

    def end(self) -> None:
        pass


@torch.no_grad()
def _read_ms(models: Sequence[Any], prompt: Tensor) -> float:
    """How long the models take to read a prompt [1, tokens] but for its last token, where this engine's prefill ends as well.

    `generate` reads the whole prompt in its first round and does not say how long that took.
    """
    began = time.perf_counter()
    for model in models if prompt.shape[1] > 1 else ():
        model(prompt[:, :-1], use_cache=True, logits_to_keep=1).logits[0, -1, 0].item()
    return (time.perf_counter() - began) * 1000


def _configuration(sampling: SamplingPlan, max_tokens: int, eos: Sequence[int], lookup: int | None) -> GenerationConfig:
    """The whole of what transformers is told, so that nothing is left to its defaults or to the files."""
    warping = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p, "min_p": sampling.min_p or None}
    return GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=sampling.temperature > 0,
        repetition_penalty=sampling.repetition_penalty,
        eos_token_id=list(eos) or None,
        pad_token_id=eos[0] if eos else None,
        prompt_lookup_num_tokens=lookup,
        **(warping if sampling.temperature > 0 else {}),
    )


def _assisting(draft_tokens: int | None) -> GenerationConfig:
    """How the assistant drafts: as transformers does by default, or always that many tokens."""
    if draft_tokens is None:
        return GenerationConfig()
    return GenerationConfig(num_assistant_tokens=draft_tokens, num_assistant_tokens_schedule="constant", assistant_confidence_threshold=0.0)
