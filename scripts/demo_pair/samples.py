"""What the target says by itself: its answers to prompts from the training text, which the sibling learns to draft.

Source: training a draft on the target's own output, as in Zhou et al., "DistillSpec" (2023).
"""

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair.chats import Message
from demo_pair.packing import Document
from demo_pair.vocabulary import END, END_OF_TEXT, prompt_ids, token_ids

PROMPTS_AT_ONCE = 96
LONGEST_PROMPT = 320
LONGEST_ANSWER = 256


def target_samples(
    target: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    conversations: Sequence[Sequence[Message]],
    seconds: float,
    seed: int,
    path: Path,
    resume: bool,
) -> list[Document]:
    """Answers of the target as documents, half greedy and half sampled, as many as the time allows.

    A run that is resumed keeps those it has.
    """
    if resume and path.is_file():
        return _load(path)
    chance = random.Random(seed)
    torch.manual_seed(seed)
    target.eval()
    found: list[Document] = []
    began = time.monotonic()
    with tqdm(total=seconds, desc="samples", bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s", file=sys.stderr) as bar:
        while (spent := time.monotonic() - began) < seconds or not found:
            bar.update(max(0.0, spent - bar.n))
            found += _answers(target, tokenizer, _prompts(tokenizer, conversations, chance), greedy=chance.random() < 0.5)
    _save(found, path)
    return found


def _prompts(tokenizer: PreTrainedTokenizerFast, conversations: Sequence[Sequence[Message]], chance: random.Random) -> list[list[int]]:
    """Prompts of about the same length, each a conversation cut before one of the assistant's turns."""
    prompts: list[list[int]] = []
    while len(prompts) < 8 * PROMPTS_AT_ONCE:
        messages = chance.choice(conversations)
        turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        ids = prompt_ids(tokenizer, messages[: chance.choice(turns)])
        if len(ids) <= LONGEST_PROMPT:
            prompts.append(ids)
    start = chance.randrange(len(prompts) - PROMPTS_AT_ONCE)
    return sorted(prompts, key=len)[start : start + PROMPTS_AT_ONCE]


@torch.no_grad()
def _answers(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[list[int]], greedy: bool) -> list[Document]:
    """Each prompt with the model's answer to it, up to the mark that ends a turn; an answer that does not end is cut."""
    end, padding = token_ids(tokenizer, END, END_OF_TEXT)
    width = max(map(len, prompts))
    padded = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    real = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    with torch.autocast(model.device.type, torch.bfloat16):
        output = model.generate(  # type: ignore[misc]
            padded,
            attention_mask=real,
            max_new_tokens=LONGEST_ANSWER,
            do_sample=not greedy,
            temperature=None if greedy else 0.7,
            top_p=None if greedy else 0.95,
            top_k=None,
            eos_token_id=[end, padding],
            pad_token_id=padding,
        )
    documents = []
    for prompt, answer in zip(prompts, torch.as_tensor(output)[:, width:].tolist(), strict=True):
        said = answer[: answer.index(end) + 1] if end in answer else answer
        ids = torch.tensor([*prompt, *said], dtype=torch.int32)
        documents.append(Document(ids, torch.arange(len(ids)) >= len(prompt)))
    return documents


def _save(documents: Sequence[Document], path: Path) -> None:
    tensors = {
        "tokens": torch.cat([document.tokens for document in documents]),
        "spoken": torch.cat([document.spoken for document in documents]),
        "lengths": torch.tensor([len(document) for document in documents]),
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)


def _load(path: Path) -> list[Document]:
    saved = load_file(path)
    tokens, spoken = (torch.split(saved[name], saved["lengths"].tolist()) for name in ("tokens", "spoken"))
    return [Document(*parts) for parts in zip(tokens, spoken, strict=True)]
