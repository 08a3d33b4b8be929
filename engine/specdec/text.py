"""Text to tokens and back: the tokenizer's own chat template, and detokenising that never shows half a character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from specdec.architecture import read_json
from specdec.errors import CheckpointError, ContextFullError, UsageError
from specdec.options import Message

REPLACEMENT = "\ufffd"
CHARACTER_TOKENS = 4
CONTEXT_TOKENS = 6
THOUGHT = "<think>"
PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


class TextCodec:
    """A model's tokenizer, chat template and generation config.

    `warnings` holds sentences for the user; `thinking` tells whether the template has a switch for it. Raises CheckpointError
    when the tokenizer cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        from transformers import PreTrainedTokenizerFast  # a third of the import time of AutoTokenizer

        self.warnings: list[str] = []
        if not (directory / "tokenizer.json").exists():
            raise CheckpointError(f"{directory} lacks tokenizer.json.", "Download the model again.")
        try:
            self._tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"The tokenizer in {directory} cannot be read ({reason}).", "Download the model again.") from error
        self._fast: Any = self._tokenizer.backend_tokenizer
        generation = directory / "generation_config.json"
        self.generation_config = read_json(generation) if generation.exists() else {}
        self.eos = self._eos_ids()
        self.thinking = self._has_switch()
        if self._tokenizer.chat_template is None:
            self.warnings.append("This tokenizer has no chat template; a plain User:/Assistant: layout is used, so answers may be poor.")

    def _eos_ids(self) -> frozenset[int]:
        """Every id that ends an answer: those of the generation config, else the tokenizer's own."""
        ids = self.generation_config.get("eos_token_id")
        if ids is None:
            ids = self._tokenizer.eos_token_id
        listed = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if not all(isinstance(i, int) for i in listed):
            raise CheckpointError(f"generation_config.json garbles eos_token_id ({ids!r}).", "Download the model again.")
        return frozenset(listed)

    def _has_switch(self) -> bool:
        """Whether the template reads `enable_thinking`, as Qwen3's does."""
        from jinja2 import Environment, TemplateError

        try:
            tokens = list(Environment().lex(self._tokenizer.get_chat_template()))
        except (TemplateError, ValueError):
            return False
        return any(kind == "name" and value == "enable_thinking" for _, kind, value in tokens)

    def render(self, messages: Sequence[Message], thinking: bool | None = None) -> list[int]:
        """The token ids of a conversation, up to where the assistant is to write; `thinking` sets the switch, if there is one.

        A conversation that ends with the assistant's own message is continued in mid-message. Raises UsageError when the
        template refuses the order of roles.
        """
        continues = messages[-1].role == "assistant"
        if self._tokenizer.chat_template is None:
            text = "\n".join(f"{PLAIN_NAMES[message.role]}: {message.content}" for message in messages)
            return self.encode(text if continues else f"{text}\nAssistant:", special=True)
        from jinja2 import TemplateError

        begun = ""
        if continues and self.thinking and messages[-1].content.lstrip().startswith(THOUGHT):
            # A template takes a thought that is not finished for the answer, and puts an empty thought before it.
            *messages, last = messages
            continues, thinking, begun = False, True, last.content
        switch = {"enable_thinking": thinking} if self.thinking and thinking is not None else {}
        try:
            text = self._tokenizer.apply_chat_template(
                [message.model_dump() for message in messages],
                tokenize=False,
                add_generation_prompt=not continues,
                continue_final_message=continues,
                **switch,
            )
        except (TemplateError, ValueError) as error:
            raise UsageError(
                f"The model's chat template refuses this conversation: {error}.", "Change the order of the messages."
            ) from error
        return self.encode(text + begun, special=False)

    def encode(self, text: str, special: bool) -> list[int]:
        """Token ids of a text; `special` adds what the tokenizer puts around a plain text."""
        ids: list[int] = self._fast.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens, special ones left out."""
        text: str = self._fast.decode(tokens, skip_special_tokens=True)
        return text


class Detokeniser:
    """Text of a growing answer, token by token; bytes of an unfinished character wait for the rest of it."""

    def __init__(self, codec: TextCodec, prompt: Sequence[int]) -> None:
        self._codec = codec
        self._tokens = list(prompt[-CONTEXT_TOKENS:])
        while codec.decode(self._tokens).startswith(REPLACEMENT):
            del self._tokens[0]
        self._readable = len(self._tokens)
        self._shown = len(codec.decode(self._tokens))

    def push(self, token: int) -> str:
        """The text this token completes, often empty or more than its own."""
        self._tokens.append(token)
        text = self._codec.decode(self._tokens)
        if not text.endswith(REPLACEMENT):
            fresh = text[self._shown :]
            self._tokens = self._tokens[self._readable :]
            self._readable = len(self._tokens)
            self._shown = len(self._codec.decode(self._tokens))
            return fresh
        if len(self._tokens) - self._readable <= CHARACTER_TOKENS:
            return ""
        return self._show(text[:-1])

    def flush(self) -> str:
        """What is left at the answer's end, U+FFFD for bytes that never became a character."""
        return self._show(self._codec.decode(self._tokens))

    def _show(self, text: str) -> str:
        fresh = text[self._shown :]
        self._shown += len(fresh)
        return fresh


class StopStrings:
    """Cuts an answer where the first of some strings is complete, holding back text that may be the beginning of one."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The text that is safe to show now; sets `found` when a stop string is complete."""
        if not self._stops:
            return text
        self._held += text
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.found = True
            _, start = min(found)
            shown, self._held = self._held[:start], ""
            return shown
        keep = max((n for stop in self._stops for n in range(1, len(stop)) if self._held.endswith(stop[:n])), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """The text still held back, at the answer's end."""
        held, self._held = self._held, ""
        return held


def require_room(prompt_tokens: int, context: int) -> None:
    """Raises ContextFullError, with both counts, if no token could be answered."""
    if prompt_tokens >= context:
        raise ContextFullError(
            f"The conversation has {prompt_tokens} tokens and the context holds {context}, so there is no room for an answer.",
            "Shorten it, start a new conversation, or load the pair with a larger context.",
        )
