"""The whole measurement of a pair: one draft after the other beside the same target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo_pair.chats import Chat
from pair_quality.answering import Answer, Way, answer_all, differences
from pair_quality.loss import Conversation, Loss, bits_per_byte, draft_scorer, target_scorer
from pair_quality.models import Models, load
from pair_quality.prompts import EXERCISES, QUESTIONS, Prompt, Selection, conversation, question_prompts, select
from specdec.events import Ready
from specdec.exactness import Exactness
from specdec.loading import Pair
from specdec.options import DraftChoice, Drafting, Message

GREEDY, SAMPLED = 0.0, 0.7
TEMPERATURES = (GREEDY, SAMPLED)
TARGET = "target"
NGRAM: DraftChoice = "ngram"


@dataclass(frozen=True)
class Plan:
    """How much is measured; `all_questions` asks every question and exercise for its right answer, not only the selected ones."""

    per_category: int
    all_questions: bool
    draft_tokens: int
    max_tokens: int
    seed: int
    threads: int | None


@dataclass
class Results:
    """Everything measured; `answers` are by drafter and temperature, `losses` by model and source.

    `expected` are the greedy answers, by category, that can be compared with right ones; `drafts` says how each runs, or why not.
    """

    ready: Ready
    selections: dict[str, Selection]
    losses: dict[str, dict[str, Loss]] = field(default_factory=dict)
    answers: dict[str, dict[float, list[Answer]]] = field(default_factory=dict)
    expected: dict[str, list[Answer]] = field(default_factory=dict)
    drafts: dict[str, Ready] = field(default_factory=dict)

    @property
    def prompts(self) -> list[Prompt]:
        """All selected prompts."""
        return [prompt for selection in self.selections.values() for prompt in selection.prompts]

    @property
    def differences(self) -> list[str]:
        """Answers in which drafters differ, each a sentence; there must be none."""
        return [
            f"At temperature {temperature}, {difference}"
            for temperature in TEMPERATURES
            for difference in differences({drafter: own[temperature] for drafter, own in self.answers.items()})
        ]


def evaluate(models: Models, corpus: Mapping[str, Sequence[Chat]], prompts: Mapping[str, Sequence[Prompt]], plan: Plan) -> Results:
    """Measure the target, n-gram lookup and every draft; raises SpecError for a target that cannot be loaded.

    One draft is in memory at a time. One that cannot be loaded is left out, and the results say why.
    """
    texts = conversations(corpus)
    results, exactness = _measure_target(models, texts, prompts, plan)
    for name, source in models.drafts.items():
        _measure_draft(name, load(models, source, results.ready.threads, exactness), texts, plan, results)
    return results


def conversations(corpus: Mapping[str, Sequence[Chat]]) -> dict[str, list[Conversation]]:
    """What the loss is measured on: the held-out chats by source, and the project's questions with their right answers."""
    texts: dict[str, list[Conversation]] = {QUESTIONS: []}
    for prompt in question_prompts():
        assert prompt.expected is not None
        texts[QUESTIONS].append((*prompt.messages, Message(role="assistant", content=prompt.expected)))
    for title, chats in corpus.items():
        texts[title] = [conversation(chat.messages) for chat in chats]
    return texts


def _measure_target(
    models: Models, texts: Mapping[str, Sequence[Conversation]], prompts: Mapping[str, Sequence[Prompt]], plan: Plan
) -> tuple[Results, Exactness]:
    """All that needs no draft model, and the execution to use from here on."""
    pair = load(models, None, plan.threads)
    room = pair.target.context - plan.max_tokens

    def fits(prompt: Prompt) -> bool:
        return len(pair.codec.render(prompt.messages, thinking=False)) <= room

    results = Results(pair.ready, {category: select(own, plan.per_category, plan.seed, fits) for category, own in prompts.items()})
    results.losses[TARGET] = bits_per_byte(target_scorer(pair), texts, TARGET)
    results.answers[NGRAM] = _answers(pair, NGRAM, NGRAM, plan, results)
    for category in (QUESTIONS, EXERCISES):
        asked = prompts[category] if plan.all_questions else results.selections[category].prompts
        way = Way(Drafting(), GREEDY, plan.max_tokens, plan.seed)
        results.expected[category] = answer_all(pair, asked, way, f"right answers, {category}")
    return results, pair.exactness


def _measure_draft(name: str, pair: Pair, texts: Mapping[str, Sequence[Conversation]], plan: Plan, results: Results) -> None:
    """Add a draft model's loss and what was accepted of it."""
    results.drafts[name] = pair.ready
    if pair.drafter is None:
        return
    results.losses[name] = bits_per_byte(draft_scorer(pair, pair.drafter), texts, name)
    results.answers[name] = _answers(pair, name, "model", plan, results)


def _answers(pair: Pair, name: str, draft: DraftChoice, plan: Plan, results: Results) -> dict[float, list[Answer]]:
    """The answers to all selected prompts with a forced draft, at each temperature."""
    drafting = Drafting(draft=draft, draft_tokens=plan.draft_tokens)
    return {
        temperature: answer_all(
            pair, results.prompts, Way(drafting, temperature, plan.max_tokens, plan.seed), f"{name}, temperature {temperature}"
        )
        for temperature in TEMPERATURES
    }
