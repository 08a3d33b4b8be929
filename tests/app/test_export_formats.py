"""The formats of other programs: what they write others can read, what others wrote comes in, and nothing malformed does harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.export_sessions import conversation, sessions

from specchat.export import FORMATS, format_of, read_sessions
from specchat.export.errors import ExportError
from specchat.transcript import Session

READABLE = [format_ for format_ in FORMATS.values() if format_.read]


def said(session: Session) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in session.branch()]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def shape(session: Session, parent: str | None = None) -> list[Any]:
    return [(turn.role, turn.text, shape(session, turn.id)) for turn in session.children(parent)]


def test_the_registry_names_every_format_in_order() -> None:
    assert list(FORMATS) == ["markdown", "html", "json", "jsonl", "openwebui", "sharegpt"]
    assert [format_.name for format_ in READABLE] == ["json", "jsonl", "openwebui", "sharegpt"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("a.md", "markdown"), ("a.JSON", "json"), ("a.jsonl", "jsonl"), ("a.openwebui.json", "openwebui"), ("a.html", "html")],
)
def test_a_name_tells_the_format(name: str, found: str) -> None:
    assert format_of(name) is FORMATS[found]


def test_an_unknown_name_tells_none() -> None:
    assert format_of("a.txt") is None


@given(sessions(), st.sampled_from(["jsonl", "openwebui"]))
def test_the_whole_tree_comes_back(session: Session, name: str) -> None:
    [again] = read_sessions(FORMATS[name].write(session))
    assert shape(again) == shape(session)
    assert said(again) == said(session)
    assert again.system == session.system


@given(sessions())
def test_sharegpt_holds_the_branch_that_is_shown(session: Session) -> None:
    [again] = read_sessions(FORMATS["sharegpt"].write(session))
    assert said(again) == said(session)
    assert again.system == session.system


@given(sessions(), st.sampled_from(list(FORMATS.values())))
def test_every_session_can_be_written_in_every_format(session: Session, format_: Any) -> None:
    assert format_.write(session).endswith("\n")


def test_a_trace_has_the_timings_that_llama_cpp_shows() -> None:
    records = lines(FORMATS["jsonl"].write(conversation()))
    assert records[0] | {"lastModified": 0} == {
        "type": "session",
        "harness": "specchat",
        "id": "a" * 32,
        "name": "Why is it fast?",
        "currNode": conversation_head(records),
        "lastModified": 0,
    }
    answer = next(record["message"] for record in records if "timings" in record.get("message", {}))
    assert answer["timings"] == {
        "cache_n": 8,
        "prompt_n": 12,
        "prompt_ms": 30.0,
        "predicted_n": 6,
        "predicted_ms": 120.0,
        "draft_n": 4,
        "draft_n_accepted": 3,
    }
    assert answer["model"] == "Qwen/Large"


def conversation_head(records: list[dict[str, Any]]) -> str:
    return next(str(record["message"]["id"]) for record in records[1:] if record["message"]["content"].startswith("Thanks"))


def test_a_trace_is_a_tree_as_llama_cpp_stores_it() -> None:
    messages = [record["message"] for record in lines(FORMATS["jsonl"].write(conversation()))[1:]]
    by_id = {message["id"]: message for message in messages}
    roots = [message for message in messages if message["parent"] is None]
    assert [(root["type"], root["content"]) for root in roots] == [("root", "")]
    assert all(message["id"] in by_id[message["parent"]]["children"] for message in messages if message["parent"])
    assert {message["convId"] for message in messages} == {"a" * 32}
    assert [message["content"] for message in messages if message["type"] == "system"] == ["Be brief."]


def test_open_webui_gets_what_its_documentation_asks_for() -> None:
    [entry] = json.loads(FORMATS["openwebui"].write(conversation()))
    chat = entry["chat"]
    assert (chat["title"], chat["models"]) == ("Why is it fast?", ["Qwen/Large"])
    messages = chat["history"]["messages"]
    assert messages[chat["history"]["currentId"]]["content"] == "Thanks & bye <3"
    for name, message in messages.items():
        assert message["id"] == name
        assert {child for child in messages if messages[child]["parentId"] == name} == set(message["childrenIds"])
    assert [message["done"] for message in messages.values() if message["role"] == "assistant"] == [True, False]


def test_sharegpt_names_the_speakers() -> None:
    messages = json.loads(FORMATS["sharegpt"].write(conversation()))["conversations"]
    assert [message["from"] for message in messages] == ["system", "human", "gpt", "human"]


def test_markdown_has_front_matter_and_the_exact_texts() -> None:
    text = FORMATS["markdown"].write(conversation())
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert front.startswith('title: "Why is it fast?"\n')
    [answer] = [json.loads(line.removeprefix("  - ")) for line in front.splitlines() if line.startswith("  - ")]
    assert answer["sampling"] == {"temperature": 0.7, "seed": 42}
    assert answer["sources"] == {"draft": 2, "ngram": 1, "corrected": 1, "bonus": 1, "target": 1}
    assert answer["statistics"]["answer_tokens"] == 6
    assert body == (
        "\n## System\n\nBe brief.\n\n## User\n\nWhy is it fast?\n\n## Assistant\n\nIt guesses and checks.\n\n## User\n\nThanks & bye <3\n"
    )


@given(sessions())
def test_front_matter_stays_in_its_lines(session: Session) -> None:
    text = FORMATS["markdown"].write(session)
    front = text[: text.index("\n---\n\n") if "\n---\n\n" in text else text.index("\n---\n")]
    assert all(char == "\n" or char.isprintable() for char in front)


def test_a_trace_of_one_branch_leaves_out_its_root() -> None:
    text = "\n".join(
        [
            '{"type":"session","harness":"llama.app","id":"c","name":"Time","currNode":"m2"}',
            '{"type":"message","message":{"id":"m1","convId":"c","parent":"left-out","role":"user","content":"Hi","timestamp":1700000000000}}',
            '{"type":"message","message":{"id":"m2","convId":"c","parent":"m1","role":"assistant","content":"Ho","children":[]}}',
        ]
    )
    [session] = read_sessions(text)
    assert said(session) == [("user", "Hi"), ("assistant", "Ho")]
    assert (session.title, session.branch()[0].created) == ("Time", 1_700_000_000.0)
    assert not session.branch()[1].interrupted


def test_a_plain_trace_is_a_chain_without_its_tools() -> None:
    text = """{"type":"session","harness":"other","id":"1"}
{"type":"message","message":{"role":"user","content":"What time is it?"}}
{"type":"message","message":{"role":"assistant","content":"","toolCalls":[]}}
{"type":"note","anything":1}
{"type":"message","message":{"role":"tool","toolCallId":"t1","content":"15:00"}}
{"type":"message","message":{"role":"assistant","content":"It is 15:00"}}
{"type":"session","harness":"other","id":"2"}
"""
    first, second = read_sessions(text)
    assert said(first) == [("user", "What time is it?"), ("assistant", ""), ("assistant", "It is 15:00")]
    assert first.title == "What time is it?"
    assert second.turns == {}


def test_open_webui_files_hold_several_chats_old_and_new() -> None:
    old = {
        "title": "Old",
        "history": {"currentId": "2", "messages": {"1": message("user", "Hi", None), "2": message("assistant", "Ho", "1")}},
    }
    new = {"chat": {"title": "New", "params": {"system": "Be kind."}, "history": {"currentId": None, "messages": {}}}, "pinned": True}
    first, second = read_sessions(json.dumps([old, new]))
    assert said(first) == [("user", "Hi"), ("assistant", "Ho")]
    assert (second.title, second.system) == ("New", "Be kind.")
    assert [session.title for session in read_sessions(json.dumps(new))] == ["New"]


def message(role: str, content: str, parent: str | None) -> dict[str, object]:
    return {"parentId": parent, "childrenIds": [], "role": role, "content": content}


@pytest.mark.parametrize("joined", ["[{}, {}]", "{}\n{}\n"])
def test_sharegpt_files_hold_several_conversations(joined: str) -> None:
    one = '{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Ho"}]}'
    first, second = read_sessions(joined.format(one, one) if "{}\n" not in joined else f"{one}\n{one}\n")
    assert said(first) == said(second) == [("user", "Hi"), ("assistant", "Ho")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        "# Markdown",
        "[" * 1_000_000,
        '{"a":' * 100_000,
        '{"type":"message","message":{"role":"user","content":"before any session"}}',
        '{"type":"session"}\n{"type":"message","message":{"role":"user"}}',
        '{"type":"session"}\n{"type":"message","message":{"role":"wizard","content":""}}',
        '{"type":"session"}\nnonsense',
        '{"type":"session"}\n[]',
        '{"type":"session"}\n' + '{"type":"message","message":{"id":"1","role":"user","content":"twice"}}\n' * 2,
        '[{"chat":{}}]',
        '[{"chat":{"history":{"messages":[]}}}]',
        '[{"chat":{"history":{"messages":{"1":{"role":"user","content":"","parentId":"2"}}}}}]',
        '[{"chat":{"history":{"messages":{"1":{"role":"user","content":"","parentId":"1"}}}}}, 7]',
        '[{"chat":{"history":{"messages":{"1":{"role":"user","content":"","parentId":"1"}}}}}]',
        '{"conversations":7}',
        '{"conversations":[{"from":"stranger","value":""}]}',
        '{"conversations":[{"from":"human","value":"\\ud800"}]}',
        '{"format":"specchat"}',
        '{"format":"specchat","session":{"id":1e999}}',
        '{"format":"specchat","version":1e999}',
        "\ud800",
    ],
)
def test_what_is_no_conversation_is_refused(text: str) -> None:
    with pytest.raises(ExportError) as caught:
        read_sessions(text)
    assert caught.value.next_step
    assert len(caught.value.cause) < 400


def test_an_error_in_a_trace_names_its_line() -> None:
    with pytest.raises(ExportError, match="line 3"):
        read_sessions('{"type":"session"}\n\n{"type":"message","message":{"role":"user"}}')


@given(sessions(), st.sampled_from(READABLE), st.data())
def test_a_damaged_file_is_read_or_refused(session: Session, format_: Any, data: st.DataObject) -> None:
    text = format_.write(session)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    patch = data.draw(st.one_of(st.text(max_size=5), st.sampled_from(["null", "[]", "{}", '"', "1e999", "-1", "[[", "\x00", ",", "true"])))
    survives(text[:start] + patch + text[end:])


KEYS = ["type", "message", "id", "parent", "role", "content", "chat", "history", "messages", "conversations", "from", "value", "format"]
KEYS += ["session", "turns", "rounds", "spans", "texts", "tokens", "head", "created"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
)


@given(sessions(), st.sampled_from(READABLE), JSON, st.data())
def test_a_value_of_another_kind_anywhere_is_read_or_refused(session: Session, format_: Any, value: Any, data: st.DataObject) -> None:
    records = lines(format_.write(session)) if format_.name == "jsonl" else None
    document = records if records is not None else json.loads(format_.write(session))
    at = document
    while isinstance(at, dict | list) and at:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            at[key] = value
            break
        at = inner
    survives("\n".join(map(json.dumps, document)) if records is not None else json.dumps(document))


def survives(text: str) -> None:
    """Whatever is read can be shown and written again; nothing but ExportError comes out otherwise."""
    try:
        found = read_sessions(text)
    except ExportError:
        return
    for session in found:
        session.branch()
        for format_ in FORMATS.values():
            format_.write(session)
        assert read_sessions(FORMATS["json"].write(session)) == [session]
