"""Model cards: what the pair is, what it was trained on, what it measured, and answers to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaForCausalLM

from demo_pair.chats import Chat
from demo_pair.training import Progress
from pair_quality import report
from pair_quality.answering import Answer
from pair_quality.evaluation import GREEDY, Plan, Results, evaluate
from pair_quality.models import Models
from pair_quality.prompts import held_out_prompts

PROMPTS_OF_A_CATEGORY = 10
DRAFT_TOKENS = 4
LONGEST_ANSWER = 300

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
| trained on | {tokens:,} tokens in {minutes:.1f} minutes on {device} |

## Data

| source | licence | chats after cleaning |
|---|---|---|
{sources}

About one chat in fifty of each public source is held out, chosen by a hash of its text, and never trained on. Nor is the
held-out phrasing of each hand-written question.

{figures}
"""
ANSWERS = """## Greedy answers

To {count} prompts that were never trained on; unedited, good and bad.

{answers}
"""
ROLES = {
    "target": "the model whose answers you read.",
    "sibling": "the draft, distilled from the target's soft labels, on the same text and on the target's own answers.",
}


@dataclass(frozen=True)
class Training:
    """How a model was made; `sources` are (title, licence, chats)."""

    model: LlamaForCausalLM
    progress: Progress
    sources: Sequence[tuple[str, str, int]]


def measure(target: Path, sibling: Path, corpus: dict[str, list[Chat]], seed: int, threads: int) -> Results:
    """What the cards tell of a pair: loss on held-out chats, and acceptance and answers on the project's own held-out prompts."""
    models = Models("demo", str(target), {"sibling": str(sibling), "int4": "int4"})
    prompts = held_out_prompts({}, [], seed)
    plan = Plan(PROMPTS_OF_A_CATEGORY, False, DRAFT_TOKENS, LONGEST_ANSWER, seed, threads)
    return evaluate(models, corpus, prompts, plan)


def write_card(folder: Path, name: str, training: Training, results: Results) -> None:
    """Write README.md, with the metadata that model hubs read; the target's has its answers too."""
    config = training.model.config
    sections = [report.losses_table(results), report.acceptance_table(results), report.endings_table(results)]
    if name == "target":
        greedy = next(iter(results.answers.values()))[GREEDY]
        sections.append(ANSWERS.format(count=len(greedy), answers="\n\n".join(map(_told, greedy))))
    text = TEMPLATE.format(
        name=name,
        role=ROLES[name],
        parameters=training.model.num_parameters(),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        tokens=training.progress.tokens,
        minutes=training.progress.seconds / 60,
        device="a GPU" if training.model.device.type == "cuda" else "a CPU",
        sources="\n".join(f"| {title} | {licence} | {count:,} |" for title, licence, count in training.sources),
        figures="\n\n".join(sections),
    )
    (folder / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")


def _told(answer: Answer) -> str:
    """A prompt and its answer as a Markdown quotation, line by line."""
    prompt = answer.prompt.messages[-1].content
    return f"**{' '.join(prompt.split())}**\n\n" + "\n".join(f"> {line}".rstrip() for line in answer.text.split("\n"))
