"""What the demo pair is trained on: no document sees another, only the assistant's words count fully, nothing held out leaks in."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair import mixing, models, packing, sources, stories, vocabulary
from demo_pair.chats import Chat, chat_of
from demo_pair.losses import logits_of, next_token_loss
from demo_pair.optimisers import Rates
from demo_pair.questions import OWN_PROMPTS, plain, read_conversations, read_questions, retyped
from demo_pair.training import Run, train
from pair_quality.prompts import file_prompts

TINY = models.Shape(hidden=64, layers=2, heads=1, intermediate=64)
CHATS = [chat_of("test", f"What is {number}?", f"It is {number}.", "And then?", f"Then comes {number + 1}.") for number in range(40)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return vocabulary.train_tokenizer(message["content"] for chat in CHATS for message in chat.messages)


@pytest.fixture(scope="module")
def documents(tokenizer: PreTrainedTokenizerFast) -> list[packing.Document]:
    return vocabulary.encode(tokenizer, [chat.messages for chat in CHATS])


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return models.new_model(TINY, tokenizer, seed=1)


def test_what_the_assistant_writes_is_its_words_and_the_mark_that_ends_its_turn(
    tokenizer: PreTrainedTokenizerFast, documents: list[packing.Document]
) -> None:
    document = documents[3]
    assert tokenizer.decode(document.tokens[document.spoken]) == "It is 3.<|end|>Then comes 4.<|end|>"


def test_a_document_in_a_window_is_read_as_if_it_stood_alone(model: LlamaForCausalLM, documents: list[packing.Document]) -> None:
    windows = packing.pack(documents, 96)
    whole = logits_of(
        model, windows.tokens[:1].long(), packing.attention_mask(windows.take(torch.tensor([0]), model.device), torch.float32)
    )
    first, second = len(documents[0]), len(documents[1])
    assert windows.document[0, first] == 1
    alone = documents[1].tokens[None].long()
    single = packing.Windows(alone, documents[1].spoken[None], torch.zeros_like(alone))
    apart = logits_of(model, alone, packing.attention_mask(single, torch.float32))
    assert torch.allclose(whole[first : first + second - 1], apart, atol=2e-2)
    assert not torch.allclose(whole[: second - 1], apart, atol=2e-2)


def test_the_first_token_of_a_document_is_no_label_and_others_words_count_less(documents: list[packing.Document]) -> None:
    windows = packing.pack(documents, 96)
    weights = packing.label_weights(windows, 0.25)
    starts = windows.document[:, 1:] != windows.document[:, :-1]
    assert starts.any()
    assert (weights[starts] == 0).all()
    assert (weights[windows.spoken[:, 1:] & ~starts] == 1).all()
    assert (weights[~windows.spoken[:, 1:] & ~starts] == 0.25).all()


def test_windows_hold_every_token_once_and_short_text_fills_one(documents: list[packing.Document]) -> None:
    stream = torch.cat([document.tokens for document in documents])
    windows = packing.pack(documents, 50)
    assert torch.equal(windows.tokens[:, :-1].flatten(), stream[: len(windows) * 50])
    assert len(packing.pack(documents[:1], 200)) >= 1


def test_training_lowers_the_loss_and_goes_on_from_its_checkpoint(
    tmp_path: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: list[packing.Document]
) -> None:
    def run(seconds: float) -> Run:
        return Run("test", seconds, Rates(4e-3, 4e-3), documents, 0.3, 0, tmp_path / "test.safetensors")

    def loss() -> float:
        windows = packing.pack(documents, 128)
        with torch.no_grad():
            mask = packing.attention_mask(windows, torch.float32)
            return next_token_loss(model, windows.tokens.long(), mask, packing.label_weights(windows, 1.0)).item()

    before = loss()
    first = train(model, next_token_loss, run(2), resume=False)
    assert loss() < before - 0.5
    other = models.new_model(TINY, tokenizer, seed=2)
    again = train(other, next_token_loss, run(2), resume=True)
    assert again == first
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    further = train(other, next_token_loss, run(4), resume=True)
    assert further.step > first.step
    assert further.seconds >= 4


def test_a_story_told_in_parts_is_the_whole_story_in_short_answers(tmp_path: Path) -> None:
    story = " ".join(f'Sam saw {number} birds. "Look," he said.' for number in range(60)) + " Sam was happy."
    (tmp_path / stories.FILE).write_text(f"{story}\n{stories.SEPARATOR}\nA cat sat. It was warm.")
    long, short = stories.read_stories(tmp_path)
    said = [message["content"] for message in long.messages if message["role"] == "assistant"]
    assert len(said) > 1
    assert max(map(len, said)) < 1.3 * stories.PART_CHARACTERS
    for offer in stories.OFFERS:
        said = [part.removesuffix(f" {offer}") for part in said]
    assert " ".join(said) == story
    assert len(short.messages) == 2


def test_no_held_out_prompt_is_trained_on(tmp_path: Path) -> None:
    leaked = read_questions()[5]
    rows = [chat_of("rasbt_instruction", leaked.held_out.upper(), "Somebody else's answer."), *(CHATS[number] for number in range(8))]
    lines = (json.dumps({"source": chat.source, "messages": chat.messages}) for chat in rows)
    (tmp_path / "rasbt_instruction.jsonl").write_text("\n".join(lines))
    trained = {
        plain(message["content"]) for chat in mixing.gather(tmp_path, 0).conversations for message in chat if message["role"] == "user"
    }
    assert len(trained) > 1000
    held_out = [question.held_out for question in read_questions()]
    held_out += [prompt.messages[-1].content for prompt in file_prompts(OWN_PROMPTS)]
    assert not [prompt for prompt in held_out if plain(prompt) in trained]


def test_every_hand_written_text_is_well_formed() -> None:
    questions = read_questions()
    assert len(questions) >= 200
    for question in questions:
        assert len(set(map(plain, question.questions))) >= 6, question.held_out
        assert question.answer.isascii()
        assert question.answer.strip() == question.answer
    for chat in read_conversations():
        assert [message["role"] for message in chat.messages] == ["user", "assistant"] * (len(chat.messages) // 2)
    asked = [phrasing for question in questions for phrasing in {plain(text) for text in question.questions}]
    assert len(asked) == len(set(asked)), "one question has two answers"


def test_ways_of_typing_are_the_same_for_the_same_seed_and_keep_the_words() -> None:
    text = "Which key stops the answer?"
    ways = [retyped(text, random.Random(seed)) for seed in range(200)]
    assert ways == [retyped(text, random.Random(seed)) for seed in range(200)]
    assert text in ways
    assert len(set(ways)) > 10


def test_chats_are_split_by_their_text_alone() -> None:
    kept, aside = mixing.split(CHATS)
    assert set(map(id, kept)) | set(map(id, aside)) == set(map(id, CHATS))
    assert aside == mixing.split(reversed(CHATS))[1]


def test_replies_that_do_not_suit_are_left_out_and_ours_take_their_place(tmp_path: Path) -> None:
    replaced = next(question for question in read_questions() if question.replaces)
    unsuitable = sorted(sources.UNSUITABLE_REPLIES)[0]
    chats: list[Chat] = [chat_of("chitchat", "One?", unsuitable), chat_of("chitchat", "Two?", replaced.replaces[0])]
    chats.append(chat_of("chitchat", "Three?", "Fine."))
    lines = (json.dumps({"source": chat.source, "messages": chat.messages}) for chat in chats)
    (tmp_path / "ms_chitchat_friendly.jsonl").write_text("\n".join(lines))
    ((_, found),) = sources.read_folder(tmp_path)
    assert {chat.messages[1]["content"] for chat in found} == {replaced.answer, "Fine."}
