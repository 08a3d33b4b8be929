"""The quality of a pair is measured right: loss, acceptance, loops, the choice of prompts, and the script that prints them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from demo_pair.questions import plain, read_questions
from pair_quality.acceptance import Acceptance
from pair_quality.answering import Answer, differences
from pair_quality.expected import judge
from pair_quality.loops import loops, repeated_run
from pair_quality.loss import Scorer, bits_per_byte, draft_scorer, target_scorer
from pair_quality.models import from_registry, load
from pair_quality.prompts import QUESTIONS, Prompt, PromptFileError, conversation, file_prompts, held_out_prompts, question_prompts, select
from pair_quality.records import write
from specdec.events import Round, Run
from specdec.hub import locate
from specdec.loading import Pair
from specdec.options import Message
from specdec.statistics import Tally

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate_pair.py"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def said(*turns: str) -> tuple[Message, ...]:
    return conversation({"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns))


def answered(text: str, tokens: Sequence[int] = (), expected: str | None = None) -> Answer:
    return Answer(Prompt("any", said("Hello?"), "kind", expected), text, tuple(tokens), "eos", Tally(1, 0, 0.0).statistics(1.0))


def round_of(drafted: int, tested: int, accepted: int) -> Round:
    run = Run(source="target", text="", tokens=tuple(range(accepted + 1)))
    drafter = "sibling" if drafted else "off"
    return Round(index=0, drafter=drafter, drafted=drafted, tested=tested, accepted=accepted, runs=(run,), draft_ms=1.0, verify_ms=1.0)


def test_acceptance_is_counted_by_position_up_to_the_first_refusal() -> None:
    tally = Tally(prompt_tokens=1, reused_tokens=0, prefill_ms=0.0)
    for round_ in (round_of(3, 3, 3), round_of(3, 2, 1), round_of(3, 1, 0), round_of(0, 0, 0)):
        tally.add(round_)
    acceptance = Acceptance.of(tally.statistics(1.0))
    assert acceptance.tested == (3, 2, 1)
    assert acceptance.accepted == (2, 1, 1)
    assert acceptance.by_position == [2 / 3, 1 / 2, 1.0]
    assert acceptance.rate == 4 / 6
    assert acceptance.mean_accepted_length == (4 + 2 + 1 + 1) / 4


def test_acceptance_adds_up_over_answers_of_unequal_drafts() -> None:
    total = Acceptance(2, 5, (2, 1), (1, 1)) + Acceptance(1, 1, (1,), (0,))
    assert total == Acceptance(3, 6, (3, 1), (1, 1))
    assert Acceptance().rate is None


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("It is very, very, very good.", ""),
        ("no " * 9, ""),
        ("no " * 10, "no"),
        ("Well, she went home and she went home and she went home and she", "went home and she"),
        ("One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten. Eleven. Twelve.", ""),
    ],
)
def test_a_run_counts_from_its_third_time_and_ten_words_on(text: str, run: str) -> None:
    found = " ".join(repeated_run(text.split(), 10))
    assert sorted(found.split()) == sorted(run.split())


def test_random_words_never_loop() -> None:
    chance = random.Random(0)
    for _ in range(50):
        assert not repeated_run(chance.choices(LETTERS, k=300), 10)


def test_a_loop_inside_one_long_word_is_found() -> None:
    assert loops("Yes! " + "ha" * 15, True, "Is it funny?")
    assert not loops("ha" * 10, True, "Is it funny?")
    assert loops("我爱你们大家呀" * 5, True, "你好")


def test_what_the_prompt_asked_for_is_no_loop_unless_it_never_ends() -> None:
    request = "Say the word apple 12 times."
    assert not loops("apple " * 12, True, request)
    assert loops("apple " * 300, False, request)
    assert loops("pear " * 12, True, request)
    assert loops("apple " * 12, True, "Do you like the apple?")


def test_differing_answers_are_named() -> None:
    same, other = answered("Hi.", [5, 6]), answered("Ho.", [5, 7])
    assert differences({"ngram": [same], "sibling": [same]}) == []
    (sentence,) = differences({"ngram": [same], "sibling": [other]})
    assert all(part in sentence for part in ("ngram", "sibling", "Hello?", "Hi.", "Ho."))


def test_answers_are_right_however_their_words_are_spaced() -> None:
    verdict = judge([answered(" one\n two ", expected="one two"), answered("one, two", expected="one two")])["kind"]
    assert [len(verdict.right), len(verdict.others)] == [1, 1]


def test_prompts_depend_on_the_seed_alone_and_were_never_trained_on() -> None:
    first, again, other = (held_out_prompts({}, [], seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    picks = [[select(prompts, 12, seed, lambda prompt: True).prompts for prompts in first.values()] for seed in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]
    assert [prompt.seed(0) for prompt in first[QUESTIONS]] == [prompt.seed(0) for prompt in again[QUESTIONS]]
    trained = {plain(phrasing) for question in read_questions() for phrasing in question.questions}
    assert not trained & {plain(message.content) for prompt in first[QUESTIONS] for message in prompt.messages}


def test_prompts_that_do_not_fit_are_counted() -> None:
    selection = select(question_prompts()[:10], 4, 0, lambda prompt: len(prompt.messages[0].content) < 30)
    assert len(selection.prompts) == 4
    assert selection.skipped == sum(len(prompt.messages[0].content) >= 30 for prompt in question_prompts()[:10])


@pytest.mark.parametrize("text", ["", "{", '{"category": "qa", "turns": []}\n', '{"turns": ["Hi"]}\n', '["Hi"]\n'])
def test_a_bad_prompt_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(PromptFileError, match=str(path)):
        file_prompts(path)


def test_json_is_put_in_place_whole(tmp_path: Path) -> None:
    write(tmp_path / "out.json", {"a": 1})
    with pytest.raises(TypeError):
        write(tmp_path / "out.json", {"a": object()})
    assert json.loads((tmp_path / "out.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["out.json"]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return load(from_registry("demo"), "builtin:demo/sibling", threads=1)


CHATS = [
    said("Hello!", "Hi! How are you?", "Fine. Ça va?", "I'm naïve and happy, thanks for asking."),
    said("Tell me a story.", " ".join(f"Once there was a dog that saw {number} cats." for number in range(60)), "And then?", "They slept."),
]


@pytest.mark.parametrize("model", ["target", "sibling"])
def test_bits_per_byte_are_those_of_transformers(pair: Pair, model: str) -> None:
    scorer = target_scorer(pair)
    if model == "sibling":
        assert pair.drafter is not None
        scorer = draft_scorer(pair, pair.drafter)
    losses = bits_per_byte(scorer, {"chats": CHATS}, model)
    directory = locate(f"builtin:demo/{model}")
    reference = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    starts, ends = (tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", "<|end|>"))
    eos = reference.generation_config.eos_token_id
    nats, tokens = 0.0, 0
    for chat in CHATS:
        ids = tokenizer(tokenizer.apply_chat_template([message.model_dump() for message in chat], tokenize=False)).input_ids
        assert len(ids) < pair.target.context
        with torch.no_grad():
            likely = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
        for start in (position for position, token in enumerate(ids) if token == starts):
            end = ids.index(ends, start)
            for position in range(start + 2, end):
                nats -= likely[position - 1, ids[position]].item()
            nats -= likely[end - 1, eos].logsumexp(0).item()
            tokens += end - start - 1
    text = sum(len(message.content.encode()) for chat in CHATS for message in chat if message.role == "assistant")
    overall = losses["overall"]
    assert (overall.turns, overall.tokens, overall.bytes) == (4, tokens, text)
    quantised = model == "sibling" and pair.ready.draft_backend
    assert overall.nats == pytest.approx(nats, rel=0.02 if quantised else 1e-5)


def test_a_chat_longer_than_the_context_is_cut_between_turns(pair: Pair) -> None:
    target = pair.target
    begun = len(pair.codec.render(CHATS[0][:2]))
    scorer = Scorer(target.decoder, pair.codec, target.cache, begun, target.decoder.config.vocab_size)
    assert scorer.loss(CHATS[0]) == scorer.loss(CHATS[0][:2])
    assert scorer.loss(CHATS[0]).turns == 1


def evaluate(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=200, env=environment)


def test_the_script_measures_the_demo_pair(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.json"
    turns = [["What is a dog?", "Why?"], ["Please read this: " + "word " * 2000]]
    prompts.write_text("".join(json.dumps({"question_id": 1, "category": "animals", "turns": each}) + "\n" for each in turns))
    arguments = ["demo", "--per-category", "1", "--no-all-questions", "--max-tokens", "40", "--threads", "1"]
    done = evaluate(*arguments, "--prompts", str(prompts), "--json", str(out))
    assert done.returncode == 0, done.stderr
    assert "No corpus was given" in done.stdout
    assert "| animals | 1 (1 too long) |" in done.stdout
    record = json.loads(out.read_text())
    assert list(record["losses"]) == ["target", "sibling", "int4"]
    assert 0 < record["losses"]["target"]["questions"]["bits_per_byte"] < 8
    assert list(record["answers"]) == ["ngram", "sibling", "int4"]
    texts = [[answer["text"] for answer in own["0.7"]] for own in record["answers"].values()]
    assert texts[0] == texts[1] == texts[2]
    categories = {answer["category"]: answer["prompt"] for answer in record["answers"]["int4"]["0.7"]}
    assert list(categories) == ["questions", "exercises", "small talk", "requests", "animals"]
    assert "not shown" in categories["animals"], "only the project's own prompts may be copied"
    assert categories["requests"][0]["role"] == "user"
    overall = record["acceptance"]["int4"]["0.0"]["overall"]
    assert len(overall["by_position"]) == 4
    assert 1 <= overall["mean_accepted_length"] <= 5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "PAIR"),
        (["nosuch"], "nosuch"),
        (["demo", "--draft", "int4"], "--draft"),
        (["demo", "--draft-tokens", "16"], "at most 15"),
        (["demo", "--prompts", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (["demo", "--corpus", "/nowhere"], "/nowhere"),
        (["demo", "--json", "/nowhere/out.json"], "/nowhere"),
        (["--target", "builtin:demo/target", "--draft", "no/such"], "no/such"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments: list[str], named: str) -> None:
    done = evaluate(*arguments)
    assert done.returncode == 2
    assert not done.stdout
    error = done.stderr.splitlines()[-1]
    assert "error: " in error
    assert named in error
