"""Ordinary Hugging Face directories, each put in its place in one step."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair.evaluation import Figures
from demo_pair.training import Progress
from demo_pair.vocabulary import END, END_OF_TEXT, save_tokenizer, token_ids

TEMPLATE = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# specchat demo {name}

A small demo that makes mistakes. It lets specchat show speculative decoding without a download: the target writes the
answers, the sibling drafts for it. Both are Llama models trained from scratch with `scripts/train_demo_pair.py`; they know
little, calculate badly, and should not be relied on for anything.

This directory is the {name}: {role}

| | |
|---|---|
| parameters | {parameters:,} |
| layers, hidden size, vocabulary | {layers}, {hidden}, {vocabulary} |
| context | {context} tokens |
| weights | float16, licence Apache-2.0 |
| trained on | {tokens:,} tokens in {minutes:.1f} minutes |
| held-out loss | {loss.nats_per_token:.3f} nats per token, {loss.bits_per_byte:.3f} bits per byte ({held_out:,} tokens) |
| the sibling's first choice is the target's | {agreement:.1%} of held-out assistant tokens |

## Data

| source | licence | chats after cleaning |
|---|---|---|
{sources}

About one chat in fifty is held out, chosen by a hash of its text, and never trained on.

## Samples

Unedited, one try each, with the settings in `generation_config.json`.

{samples}
"""
ROLES = {
    "target": "the model whose answers you read.",
    "sibling": "the draft, distilled from the target with the same tokenizer.",
}


@dataclass(frozen=True)
class Card:
    """What a model card tells: the model, its training, what it measured, and its data as (title, licence, chats)."""

    name: str
    model: LlamaForCausalLM
    progress: Progress
    figures: Figures
    sources: list[tuple[str, str, int]]
    samples: list[tuple[str, str]]


@contextmanager
def staged(parent: Path, names: list[str]) -> Iterator[dict[str, Path]]:
    """New folders to fill, which take their places in the parent together at the end, so that nobody sees half of a model."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=parent) as scratch:
        folders = {name: Path(scratch) / name for name in names}
        yield folders
        for name, folder in folders.items():
            place = parent / name
            if place.exists():
                place.rename(Path(scratch) / f"{name}.old")
            folder.rename(place)


def write_model(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write weights in float16, configuration and tokenizer; the model given keeps its own precision."""
    end, end_of_text = token_ids(tokenizer, END, END_OF_TEXT)
    model = copy.deepcopy(model).cpu().half()
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.95, eos_token_id=[end, end_of_text], pad_token_id=end_of_text
    )
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    save_tokenizer(tokenizer, folder)


def load(folder: Path) -> LlamaForCausalLM:
    """An exported model as anybody would load it, in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, LlamaForCausalLM)
    return model


def write_card(folder: Path, card: Card) -> None:
    """Write README.md, with the metadata that model hubs read."""
    config, figures = card.model.config, card.figures
    text = TEMPLATE.format(
        name=card.name,
        role=ROLES[card.name],
        parameters=card.model.num_parameters(),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        tokens=card.progress.tokens,
        minutes=card.progress.seconds / 60,
        loss=figures.target if card.name == "target" else figures.sibling,
        held_out=figures.tokens,
        agreement=figures.agreement,
        sources="\n".join(f"| {title} | {licence} | {count:,} |" for title, licence, count in card.sources),
        samples="\n\n".join(f"**{prompt}**\n\n{_quoted(answer)}" for prompt, answer in card.samples),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _quoted(text: str) -> str:
    """Text as a Markdown quotation, line by line."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
