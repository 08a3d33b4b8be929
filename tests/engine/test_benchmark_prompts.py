"""Reading and choosing prompts: the project's own set, other files, and what is wrong with a bad one."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from specdec.benchmark.plan import BenchPrompt
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.errors import UsageError
from specdec.hub import locate
from specdec.options import Message

GOOD = '{"question_id": 7, "category": "chat", "turns": ["Hello!", "And then?"], "reference": ["Hi."]}'


def prompt(name: str, category: str) -> BenchPrompt:
    return BenchPrompt(id=name, category=category, messages=(Message(role="user", content="Hello!"),))


SIX = [prompt(f"{category}{n}", category) for n in (1, 2, 3) for category in ("chat", "code")]


def written(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_projects_own_prompts_are_five_of_each_category() -> None:
    prompts = read_prompts(OWN_PROMPTS)
    assert Counter(prompt.category for prompt in prompts) == dict.fromkeys(
        ("chat", "story", "maths", "code", "summary", "edit", "repetitive"), 5
    )
    assert len({prompt.messages[0].content for prompt in prompts}) == 35


def test_summaries_and_edits_bring_a_text_of_their_own() -> None:
    for each in choose(read_prompts(OWN_PROMPTS), ["summary", "edit"]):
        _, text = each.messages[0].content.split("\n\n", 1)
        assert 60 <= len(text.split()) <= 120, each.id


def test_the_projects_own_prompts_leave_room_in_a_small_context() -> None:
    tokenizer = Tokenizer.from_file(str(locate("builtin:demo/target") / "tokenizer.json"))
    assert max(len(tokenizer.encode(each.messages[0].content).ids) for each in read_prompts(OWN_PROMPTS)) < 400


def test_a_line_gives_its_first_turn(tmp_path: Path) -> None:
    (found,) = read_prompts(written(tmp_path, GOOD, ""))
    assert found == BenchPrompt(id="7", category="chat", messages=(Message(role="user", content="Hello!"),))


def test_ids_may_be_words_and_text_may_hold_odd_line_ends(tmp_path: Path) -> None:
    line = json.dumps({"question_id": "a/1", "category": "qa", "turns": ["one\u2028two\x85three"]}, ensure_ascii=False)
    (found,) = read_prompts(written(tmp_path, "\ufeff" + line + "\r", "  "))
    assert (found.id, found.messages[0].content) == ("a/1", "one\u2028two\x85three")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ('{"category": "chat", "turns": ["Hello!"]}', "has no question_id"),
        ('{"question_id": 1, "turns": ["Hello!"]}', "has no category"),
        ('{"question_id": 1, "category": "chat"}', "has no turns"),
        ('{"question_id": null, "category": "chat", "turns": ["Hello!"]}', "has no valid question_id"),
        ('{"question_id": 1, "category": "", "turns": ["Hello!"]}', "has no valid category"),
        ('{"question_id": 1, "category": "chat", "turns": []}', "has no valid turns"),
        ('{"question_id": 1, "category": "chat", "turns": "Hello!"}', "has no valid turns"),
        ('{"question_id": 1, "category": "chat", "turns": [5]}', "has no valid turns"),
        ('{"question_id": 1, "category": "overall", "turns": ["Hello!"]}', "has the category 'overall'"),
        (GOOD, "has the question_id 7 of an earlier line"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, fault: str) -> None:
    path = written(tmp_path, GOOD, "", line, GOOD)
    with pytest.raises(UsageError) as caught:
        read_prompts(path)
    assert caught.value.cause.startswith(f"Line 3 of {path} {fault}")
    assert caught.value.next_step


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match="There are no prompts in"):
        read_prompts(written(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_prompts(tmp_path / "missing.jsonl")
    with pytest.raises(UsageError, match="Is a directory"):
        read_prompts(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_prompts(binary)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    path.chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        read_prompts(path)


def test_the_first_prompts_of_each_category_are_chosen_in_the_files_order() -> None:
    assert choose(SIX) == SIX
    assert [each.id for each in choose(SIX, per_category=2)] == ["chat1", "code1", "chat2", "code2"]
    assert [each.id for each in choose(SIX, ["code"], 9)] == ["code1", "code2", "code3"]
    assert choose(SIX, ["code", "chat", "code"], 1) == SIX[:2]


def test_an_unknown_category_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        choose(SIX, ["chat", "poems"])
    assert caught.value.cause == "There is no category 'poems' in these prompts."
    assert caught.value.next_step == "Choose from: chat, code."


def test_no_prompts_at_all_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError, match="1 or more"):
        choose(SIX, per_category=0)
