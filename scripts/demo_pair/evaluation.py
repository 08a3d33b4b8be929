"""What the finished pair is worth: loss on held-out text, agreement of the two models, and answers to look at."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair.training import logits_of, pack
from demo_pair.vocabulary import ASSISTANT, END, byte_lengths, token_ids

PROMPTS = (
    "Hello! How are you?",
    "Who are you?",
    "What is speculative decoding?",
    "Tell me a story about a little dog.",
    "Tom has 5 apples. He buys 7 more and eats 3. How many apples does he have?",
    "What is the capital of France?",
    "I would like a large latte with oat milk, please.",
    "Write a sentence with the word 'garden'.",
)
LONGEST_ANSWER = 200


@dataclass(frozen=True)
class HeldOutLoss:
    """How well a model predicts text that it has not seen."""

    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True)
class Figures:
    """What is measured on the held-out text; agreement is the share of assistant tokens where both models' first choice is the same."""

    tokens: int
    target: HeldOutLoss
    sibling: HeldOutLoss
    agreement: float


@torch.no_grad()
def measure(target: LlamaForCausalLM, sibling: LlamaForCausalLM, documents: list[Tensor], tokenizer: PreTrainedTokenizerFast) -> Figures:
    """Score both models, teacher-forced, on the held-out documents."""
    windows = pack(documents).to(target.device, torch.int64)
    spoken = pack([_spoken_by_assistant(document, tokenizer) for document in documents])[:, 1:].to(target.device)
    followers = windows[:, 1:]
    target_nats = sibling_nats = agreed = 0.0
    for rows, mask in zip(windows, spoken, strict=True):
        by_target, by_sibling = logits_of(target, rows[None]), logits_of(sibling, rows[None])
        target_nats += F.cross_entropy(by_target, rows[1:], reduction="sum").item()
        sibling_nats += F.cross_entropy(by_sibling, rows[1:], reduction="sum").item()
        agreed += ((by_target.argmax(-1) == by_sibling.argmax(-1)) & mask).sum().item()
    tokens = followers.numel()
    bits = math.log(2) * byte_lengths(tokenizer).to(followers.device)[followers].sum().item()
    return Figures(
        tokens=tokens,
        target=HeldOutLoss(target_nats / tokens, target_nats / bits),
        sibling=HeldOutLoss(sibling_nats / tokens, sibling_nats / bits),
        agreement=agreed / max(int(spoken.sum()), 1),
    )


def sample_answers(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> list[tuple[str, str]]:
    """One sampled answer for each prompt, with the settings that the model recommends."""
    torch.manual_seed(seed)
    answers = []
    for prompt in PROMPTS:
        chat = [{"role": "user", "content": prompt}]
        ids = tokenizer(str(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))).input_ids
        output = model.generate(torch.tensor([ids], device=model.device), max_new_tokens=LONGEST_ANSWER)  # type: ignore[misc]
        answers.append((prompt, str(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))))
    return answers


def _spoken_by_assistant(document: Tensor, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """[tokens] whether the assistant would write this token: its words and the mark that ends its turn."""
    assistant, end = token_ids(tokenizer, ASSISTANT, END)
    spoken = torch.zeros(len(document), dtype=torch.bool)
    starts = (document == assistant).nonzero().flatten().tolist()
    ends = (document == end).nonzero().flatten()
    for start in starts:
        spoken[start + 2 : int(ends[ends > start][0]) + 1] = True
    return spoken
