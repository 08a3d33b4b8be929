"""Measure what speculation gains on this machine, against plain decoding and against transformers, in one interleaved run.

    python scripts/measure_speed.py [--repeats 5] [--tokens 128] [--json FILE]

Every way of decoding answers the same prompts greedily with the same weights, dtype and number of threads; a figure is the
median over the repeats of milliseconds a token, prompt included. Prints Markdown tables on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from specdec import Chat, ChatSession, Done, Drafting, LoadOptions, Message, Pair, Round, Sampling, load_pair
from specdec.hub import locate
from specdec.machine import processor
from specdec.options import ExactChoice

TARGET, SIBLING = "builtin:demo/target", "builtin:demo/sibling"
PROMPTS = {
    "chat": ["Hi! How was your weekend?", "What do you like to do for fun?", "Can I get a large latte, please?"],
    "story": ["Tell me a story.", "Tell me a story about a dog.", "Write a short story about a girl named Lily."],
    "maths": [
        "Tom has 12 apples. He buys 5 more bags with 4 apples each. How many apples does he have?",
        "A book costs $8. Anna buys 3 books and pays with $50. How much change does she get?",
        "A train travels 60 miles an hour for 3 hours. How far does it go?",
    ],
    "asked again": [
        "What is speculative decoding?",
        "What is specchat?",
        "Who are you and what can you do?",
        "Tell me a story about a cat.",
    ],
    "continued": ["Say it again and again.", "Count the sheep.", "List the order."],
}
BEGUN = [
    "The sun is warm and the sky is blue. " * 4,
    "One sheep jumps over the fence. Two sheep jump over the fence. " * 3,
    "a large latte with oat milk, a small mocha with whole milk, " * 4,
]
Answer = tuple[float, int, str]
Method = Callable[[list[Message]], Answer]


def conversations(answer: Method) -> dict[str, list[list[Message]]]:
    """What is asked, by category.

    In the two repetitive ones each question was answered once and is asked again, or a repetitive answer is to be continued.
    """

    def again(question: list[Message]) -> list[Message]:
        return [*question, Message(role="assistant", content=answer(question)[2]), *question]

    asked = {category: [[Message(role="user", content=question)] for question in questions] for category, questions in PROMPTS.items()}
    begun = [Message(role="assistant", content=text.rstrip()) for text in BEGUN]
    return asked | {
        "asked again": [again(question) for question in asked["asked again"]],
        "continued": [[*question, text] for question, text in zip(asked["continued"], begun, strict=True)],
    }


def native(pair: Pair, drafting: Drafting, tokens: int) -> Method:
    """This engine, each answer from an empty cache."""

    def answer(messages: list[Message]) -> Answer:
        text = ""
        for event in ChatSession(pair).chat(
            Chat(messages=tuple(messages), sampling=Sampling(temperature=0), drafting=drafting, max_tokens=tokens)
        ):
            if isinstance(event, Round):
                text += "".join(run.text for run in event.runs)
            elif isinstance(event, Done):
                counts = event.statistics
        return counts.prefill_ms + counts.decode_ms, counts.answer_tokens, text

    return answer


def reference(pair: Pair, model: Any, tokens: int, **options: Any) -> Method:
    """transformers' generate."""

    def answer(messages: list[Message]) -> Answer:
        prompt = torch.tensor([pair.codec.render(messages)])
        began = time.perf_counter()
        output = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, do_sample=False, temperature=None, top_p=None, **options
        )
        spent = (time.perf_counter() - began) * 1000
        ids = output[0, prompt.shape[1] :].tolist()
        return spent, len(ids), pair.codec.decode(ids)

    return answer


def methods(sibling: Pair, int4: Pair, tokens: int) -> dict[str, Method]:
    """Every way of decoding, by the name the tables use."""
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    target, assistant = (load(locate(source), dtype=torch.float32).eval() for source in (TARGET, SIBLING))
    return {
        "plain": native(sibling, Drafting(draft="off"), tokens),
        "auto (sibling)": native(sibling, Drafting(), tokens),
        "auto (int4)": native(int4, Drafting(), tokens),
        "sibling": native(sibling, Drafting(draft="model"), tokens),
        "int4": native(int4, Drafting(draft="model"), tokens),
        "ngram": native(sibling, Drafting(draft="ngram"), tokens),
        "transformers": reference(sibling, target, tokens),
        "transformers, assisted": reference(sibling, target, tokens, assistant_model=assistant),
        "transformers, prompt lookup": reference(sibling, target, tokens, prompt_lookup_num_tokens=10),
    }


def measure(ways: dict[str, Method], repeats: int) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """Milliseconds a token by category, method and repeat, and the answers in which a method's text differs from plain's."""
    times: dict[str, dict[str, list[float]]] = {category: {name: [] for name in ways} for category in PROMPTS}
    differing: list[str] = []
    asked = conversations(ways["plain"])
    for repeat in range(repeats + 1):
        for category, prompts in asked.items():
            spent = dict.fromkeys(ways, 0.0)
            counted = dict.fromkeys(ways, 0)
            for messages in prompts:
                texts = {}
                for name, answer in ways.items():
                    milliseconds, count, texts[name] = answer(messages)
                    spent[name] += milliseconds
                    counted[name] += count
                if not repeat:
                    differing += [f"{name}: {messages[-1].content}" for name, text in texts.items() if text != texts["plain"]]
            for name in ways:
                if repeat:
                    times[category][name].append(spent[name] / counted[name])
        print(f"repeat {repeat} of {repeats}{'' if repeat else ' (warming up)'}", file=sys.stderr)
    return times, differing


def second_turn(pair: Pair) -> tuple[int, int]:
    """Prompt tokens of a second turn, and how many of them were in the cache already."""
    session = ChatSession(pair)
    messages = [Message(role="user", content="Tell me a story.")]
    said = "".join(
        run.text for event in session.chat(Chat(messages=tuple(messages), max_tokens=100)) if isinstance(event, Round) for run in event.runs
    )
    messages += [Message(role="assistant", content=said), Message(role="user", content="And then?")]
    done = next(event for event in session.chat(Chat(messages=tuple(messages), max_tokens=1)) if isinstance(event, Done))
    return done.statistics.prompt_tokens, done.statistics.reused_tokens


def table(times: dict[str, dict[str, list[float]]]) -> str:
    """Speed against plain decoding, each cell the median of the ratios of one repeat."""
    names = list(next(iter(times.values())))
    lines = ["| | " + " | ".join(times) + " |", "|---" * (len(times) + 1) + "|"]
    for name in names:
        cells = []
        for by_method in times.values():
            ratio = statistics.median(plain / own for plain, own in zip(by_method["plain"], by_method[name], strict=True))
            rate = 1000 / statistics.median(by_method[name])
            cells.append(f"{ratio:.2f}x ({rate:.0f} tok/s)")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, help="default: as the engine chooses")
    parser.add_argument("--exact", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    sibling = load_pair(LoadOptions(target=TARGET, draft=SIBLING, exact=options.exact, threads=options.threads))
    exact: ExactChoice = "on" if sibling.ready.exact else "off"
    int4 = load_pair(LoadOptions(target=TARGET, draft="int4", exact=exact, threads=sibling.ready.threads))
    times, differing = measure(methods(sibling, int4, options.tokens), options.repeats)
    prompt, reused = second_turn(sibling)
    ready = sibling.ready
    machine = f"{processor()}, {ready.threads} of {os.cpu_count()} threads, {ready.dtype}"
    exactness = f"exact mode {'on' if ready.exact else 'off'} ({ready.exact_reason})"
    print(f"{machine}, torch {torch.__version__}, transformers {transformers.__version__}, {exactness}\n")
    print(table(times))
    print(f"\nSecond turn: {reused} of {prompt} prompt tokens were in the cache already.")
    print("Texts that differ from plain decoding: " + ("; ".join(differing) or "none") + ".")
    if options.json:
        result = {"machine": machine, "ready": ready.model_dump(), "ms_per_token": times, "differing": differing}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
