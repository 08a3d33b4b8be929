"""Text goes to tokens as transformers would send it, and comes back whole: no half characters, no part of a stop string."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.engine.models import TEMPLATE, save_tokenizer
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from specdec.errors import CheckpointError, ContextFullError, UsageError
from specdec.options import Message
from specdec.text import REPLACEMENT, Detokeniser, StopStrings, TextCodec, require_room

STRICT = (
    "{% if messages[0].role == 'assistant' %}{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}"
    "{{ bos_token or '' }}" + TEMPLATE
)
# As Qwen3's: a switch in the generation prompt, and a thought, if only an empty one, before the last answer.
SWITCHED = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' and loop.last %}"
    "{% set parts = m.content.split('</think>') %}"
    "{% set thought = parts[0].split('<think>')[-1].strip('\\n') if parts|length > 1 else '' %}"
    "<think>\n{{ thought }}\n</think>\n\n{{ parts[-1].lstrip('\\n') }}"
    "{% else %}{{ m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' else m.content }}{% endif %}"
    "<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PIECES = ["the cat", " sat", "\n", "ü", "é", "中文", "한국", "😀", "👩‍👩‍👧", "🏳️‍🌈", "नमस्ते", "עברית", "\t", "\u0000", "𝄞", "<|user|>"]
text = st.one_of(st.text(st.characters(codec="utf-8"), max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


def user(content: str) -> Message:
    return Message(role="user", content=content)


def assistant(content: str) -> Message:
    return Message(role="assistant", content=content)


CONVERSATIONS = [
    (user("the quick brown fox"),),
    (Message(role="system", content="Answer in 한국어 😀."), user("hi")),
    (user("one"), assistant("two"), user("three\n\n  four ")),
    (user("<|end|> inside a message"), assistant(""), user("")),
    (user(""),),
]


def codec_with(directory: Path, template: str | None = TEMPLATE, generation: dict[str, Any] | None = None) -> TextCodec:
    save_tokenizer(directory, template)
    if generation is not None:
        (directory / "generation_config.json").write_text(json.dumps(generation))
    return TextCodec(directory)


@cache
def byte_level() -> TextCodec:
    """Every byte is a token, as are some English pieces."""
    return codec_with(Path(mkdtemp()))


@cache
def byte_fallback() -> TextCodec:
    """As in Llama 2 and Mistral: words start with ▁, and a character without a token of its own is spelt in byte tokens."""
    words = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], "▁", "▁the", "▁cat", *"thecatsü中"]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    directory = Path(mkdtemp())
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>").save_pretrained(directory)
    return TextCodec(directory)


@pytest.mark.parametrize("template", [TEMPLATE, STRICT])
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=str)
def test_a_conversation_has_the_ids_transformers_gives_it(template: str, messages: Sequence[Message], tmp_path: Path) -> None:
    ids = codec_with(tmp_path, template).render(messages)
    expected = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        [message.model_dump() for message in messages], tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert ids == expected


def test_an_unfinished_assistant_message_is_continued(tmp_path: Path) -> None:
    codec = codec_with(tmp_path)
    ids = codec.render([user("one"), assistant("the quick")])
    expected = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        [{"role": "user", "content": "one"}, {"role": "assistant", "content": "the quick"}],
        tokenize=True,
        continue_final_message=True,
        return_dict=False,
    )
    assert ids == expected
    assert ids[-1] not in codec.eos


def by_transformers(directory: Path, messages: Sequence[Message], thinking: bool | None) -> list[int]:
    """What transformers makes of a conversation, its last message continued if it is the assistant's."""
    continues = messages[-1].role == "assistant"
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    ids: list[int] = tokenizer.apply_chat_template(
        [message.model_dump() for message in messages],
        tokenize=True,
        add_generation_prompt=not continues,
        continue_final_message=continues,
        return_dict=False,
        **({} if thinking is None else {"enable_thinking": thinking}),
    )
    return ids


@pytest.mark.parametrize("thinking", [None, True, False])
@pytest.mark.parametrize(
    "messages",
    [
        (user("one"),),
        (user("one"), assistant("<think>\nhm\n</think>\n\ntwo"), user("three")),
        (user("one"), assistant("the quick")),
        (user("one"), assistant("<think>\nhm\n</think>\n\nthe quick")),
    ],
    ids=["asked", "asked again", "continued", "continued after a thought"],
)
def test_the_thinking_switch_gives_the_ids_transformers_gives(messages: Sequence[Message], thinking: bool | None, tmp_path: Path) -> None:
    codec = codec_with(tmp_path, SWITCHED)
    assert codec.thinking
    assert codec.render(messages, thinking) == by_transformers(tmp_path, messages, thinking)


def test_the_thinking_switch_changes_the_prompt(tmp_path: Path) -> None:
    codec = codec_with(tmp_path, SWITCHED)
    default, on, off = (codec.render([user("one")], thinking) for thinking in (None, True, False))
    assert default == on
    assert off == [*on, *codec.encode("<think>\n\n</think>\n\n", special=False)]


@pytest.mark.parametrize("thinking", [None, True, False])
@pytest.mark.parametrize("begun", ["<think>", "<think>\nthe cat", "<think>\n\nthe cat \n\n</think>\nthe quick"])
def test_an_answer_with_a_thought_is_continued_as_it_was_written(begun: str, thinking: bool | None, tmp_path: Path) -> None:
    """Where transformers puts an empty thought before one that broke off, and refuses one spaced otherwise than the template's."""
    codec = codec_with(tmp_path, SWITCHED)
    prompt = by_transformers(tmp_path, [user("one")], True)
    assert codec.render([user("one"), assistant(begun)], thinking) == [*prompt, *codec.encode(begun, special=False)]


@pytest.mark.parametrize(
    "template",
    [None, TEMPLATE, "{# enable_thinking #}" + TEMPLATE + "enable_thinking{{ 'enable_thinking' }}", "{% if %}", "{{ '"],
    ids=["no template", "no switch", "only named", "not parsed", "not lexed"],
)
def test_a_template_without_a_switch_says_so(template: str | None, tmp_path: Path) -> None:
    assert not codec_with(tmp_path, template).thinking


@pytest.mark.parametrize("messages", [(user("one"),), (user("one"), assistant("<think>\nhm"))], ids=["asked", "continued"])
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_asking_for_thinking_where_there_is_no_switch_changes_nothing(
    template: str | None, messages: Sequence[Message], tmp_path: Path
) -> None:
    codec = codec_with(tmp_path, template)
    assert codec.render(messages, True) == codec.render(messages, False) == codec.render(messages)


def test_a_switch_among_named_templates_and_unknown_tags_is_found(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    tokenizer.chat_template = {"default": "{% generation %}{{ enable_thinking }}{% endgeneration %}", "tool_use": TEMPLATE}
    tokenizer.save_pretrained(tmp_path)
    assert TextCodec(tmp_path).thinking


def test_without_a_template_a_plain_layout_is_used_and_said(tmp_path: Path) -> None:
    codec = codec_with(tmp_path, template=None)
    assert len(codec.warnings) == 1
    assert "chat template" in codec.warnings[0]
    messages = [Message(role="system", content="Be brief."), user("one"), assistant("two"), user("three")]
    assert codec.decode(codec.render(messages)) == "System: Be brief.\nUser: one\nAssistant: two\nUser: three\nAssistant:"
    assert codec.decode(codec.render([user("one"), assistant("two")])) == "User: one\nAssistant: two"


def test_with_a_template_there_is_nothing_to_warn_of(tmp_path: Path) -> None:
    assert codec_with(tmp_path).warnings == []


@pytest.mark.parametrize("template", [STRICT, "{{ messages[0].content.name.first }}", "{% if %}"])
def test_a_template_that_refuses_a_conversation_is_a_usage_error(template: str, tmp_path: Path) -> None:
    codec = codec_with(tmp_path, template)
    with pytest.raises(UsageError) as caught:
        codec.render([assistant("first"), user("second")])
    assert "template" in caught.value.cause
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("generation", "eos"),
    [
        (None, {4}),
        ({}, {4}),
        ({"do_sample": True}, {4}),
        ({"eos_token_id": 0}, {0}),
        ({"eos_token_id": [0, 4, 9]}, {0, 4, 9}),
        ({"eos_token_id": None}, {4}),
    ],
)
def test_an_answer_ends_at_the_ids_of_the_generation_config_else_the_tokenizers(
    generation: dict[str, Any] | None, eos: set[int], tmp_path: Path
) -> None:
    codec = codec_with(tmp_path, generation=generation)
    expected = {codec.encode("<|end|>", special=False)[0]} if eos == {4} else eos
    assert codec.eos == expected


@pytest.mark.parametrize("content", ["", "[]", '{"eos_token_id": "stop"}'])
def test_a_garbled_generation_config_is_named(content: str, tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(CheckpointError, match="generation_config"):
        TextCodec(tmp_path)


def streamed(codec: TextCodec, tokens: Sequence[int], prompt: str = "the cat") -> list[str]:
    """What each token and the end showed."""
    detokeniser = Detokeniser(codec, codec.encode(prompt, special=False))
    return [*[detokeniser.push(token) for token in tokens], detokeniser.flush()]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
@settings(max_examples=150, deadline=None)
@given(written=text, prompt=text)
@example(written="🏳️‍🌈👩‍👩‍👧", prompt="😀😀")
def test_streamed_text_is_the_text_without_half_characters(make: Callable[[], TextCodec], written: str, prompt: str) -> None:
    codec = make()
    tokens = codec.encode(written.replace(REPLACEMENT, ""), special=False)
    shown = "".join(streamed(codec, tokens, prompt))
    assert shown == codec.decode(tokens)
    assert REPLACEMENT not in shown


fragments = st.one_of(st.sampled_from(byte_level().encode("😀é中酔a", special=False)), st.integers(0, 319))


@settings(max_examples=400, deadline=None)
@given(tokens=st.lists(fragments, max_size=60))
@example(tokens=byte_level().encode("😀é" + REPLACEMENT * 20 + "é", special=False)[1:])
@example(tokens=byte_level().encode("😀", special=False)[3:] * 7 + byte_level().encode("😀", special=False))
def test_any_bytes_stream_to_what_they_decode_to_as_a_whole(tokens: list[int]) -> None:
    """A byte-level decoder replaces invalid bytes for themselves, so nothing that was shown has to be taken back."""
    assert "".join(streamed(byte_level(), tokens)) == byte_level().decode(tokens)


@settings(max_examples=100, deadline=None)
@given(tokens=st.lists(fragments, max_size=60))
def test_invalid_bytes_are_not_held_back_for_long(tokens: list[int]) -> None:
    codec = byte_level()
    detokeniser = Detokeniser(codec, [])
    shown = ""
    for index, token in enumerate(tokens):
        shown += detokeniser.push(token)
        assert len(codec.decode(tokens[: index + 1])) - len(shown) <= 8


def test_an_answer_that_ends_in_half_a_character_says_so() -> None:
    tokens = byte_level().encode("é", special=False)[:1]
    assert streamed(byte_level(), tokens) == ["", REPLACEMENT]
    assert streamed(byte_level(), []) == [""]


def cut(whole: str, stops: Sequence[str]) -> tuple[str, bool]:
    """An answer that is read character by character until a stop string is complete."""
    for end in range(len(whole) + 1):
        starts = [end - len(stop) for stop in stops if whole[:end].endswith(stop)]
        if starts:
            return whole[: min(starts)], True
    return whole, False


letters = st.text("ab\n", max_size=8)
short = st.text("ab\n", min_size=1, max_size=5)


@settings(max_examples=500, deadline=None)
@given(chunks=st.lists(letters, max_size=12), stops=st.lists(short, min_size=1, max_size=4))
@example(chunks=["aab"], stops=["aab", "a"])
@example(chunks=["abab"], stops=["abab", "ba"])
def test_text_ends_at_the_first_stop_string_however_it_is_chunked(chunks: list[str], stops: list[str]) -> None:
    filter_ = StopStrings(stops)
    expected, found = cut("".join(chunks), stops)
    shown = ""
    for chunk in chunks:
        shown += filter_.push(chunk)
        assert expected.startswith(shown)
        if filter_.found:
            break
    assert filter_.found == found
    assert shown + ("" if found else filter_.flush()) == expected
    assert filter_.flush() == ""


@settings(max_examples=200, deadline=None)
@given(whole=st.text("ab\n"), stop=short)
def test_one_stop_string_cuts_like_split(whole: str, stop: str) -> None:
    filter_ = StopStrings([stop])
    shown = ""
    for character in whole:
        shown += filter_.push(character)
        if filter_.found:
            break
    assert shown + filter_.flush() == whole.split(stop)[0]


def test_without_stop_strings_nothing_is_held_back() -> None:
    filter_ = StopStrings(["", ""])
    assert (filter_.push("abc"), filter_.flush(), filter_.found) == ("abc", "", False)


def test_a_prompt_without_room_for_an_answer_names_both_counts() -> None:
    require_room(639, 640)
    with pytest.raises(ContextFullError, match=r"640 tokens.*640") as caught:
        require_room(640, 640)
    assert caught.value.next_step
