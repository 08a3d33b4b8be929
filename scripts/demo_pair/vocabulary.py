"""The tokenizer that both models share: byte-level BPE with a chat template."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from demo_pair.chats import Message
from demo_pair.packing import Document

SIZE = 4096
CONTEXT = 1024
END_OF_TEXT, ASSISTANT, END = "<|endoftext|>", "<|assistant|>", "<|end|>"
SPECIAL = (END_OF_TEXT, "<|system|>", "<|user|>", ASSISTANT, END)
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
PIECES = Regex(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of at most SIZE entries; every digit is an entry of its own, which helps a small model to calculate."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(PIECES, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, min_frequency=2, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return _for_chats(tokenizer)


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of an earlier run, from its tokenizer.json."""
    return _for_chats(Tokenizer.from_file(str(path)))


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer's files under the class name that every version of transformers knows."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def encode(tokenizer: PreTrainedTokenizerFast, conversations: Sequence[Sequence[Message]]) -> list[Document]:
    """Each conversation rendered by the chat template and ended by the end-of-text token, with what the assistant says marked."""
    rendered = tokenizer.apply_chat_template([list(messages) for messages in conversations], tokenize=False)
    encodings = tokenizer.backend_tokenizer.encode_batch([f"{text}{END_OF_TEXT}" for text in rendered])
    assistant, end = token_ids(tokenizer, ASSISTANT, END)
    return [Document(torch.tensor(encoding.ids, dtype=torch.int32), _spoken(encoding.ids, assistant, end)) for encoding in encodings]


def prompt_ids(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message]) -> list[int]:
    """The tokens of a conversation that the assistant is to answer."""
    text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    return tokenizer.backend_tokenizer.encode(str(text)).ids


def _spoken(ids: list[int], assistant: int, end: int) -> Tensor:
    """[tokens] whether the assistant would write this token: its words and the mark that ends its turn."""
    spoken, speaking = [], 0
    for token in ids:
        spoken.append(speaking == 2)
        if token == assistant:
            speaking = 1
        elif token == end:
            speaking = 0
        elif speaking:
            speaking = 2
    return torch.tensor(spoken, dtype=torch.bool)


def token_ids(tokenizer: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    """The ids of the given entries."""
    return [tokenizer.get_vocab()[token] for token in tokens]


def _for_chats(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer with the chat template and the roles of its special tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END_OF_TEXT,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )
