"""The script that trains the demo pair gives a loadable pair, however small its budget and its corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from specdec import Chat, ChatSession, Drafting, LoadOptions, Message, Round, load_pair

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_demo_pair.py"


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=900, env=environment)


@pytest.mark.timeout(900)
def test_a_budget_of_two_minutes_gives_a_pair_that_answers(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "demo"
    corpus.mkdir()
    chats = [
        {
            "source": "rasbt_instruction",
            "messages": [
                {"role": "user", "content": f"Add {number} and {number * 7}."},
                {"role": "assistant", "content": f"{number} plus {number * 7} is {number * 8}. That is how {number * 8} comes about."},
            ],
        }
        for number in range(300)
    ]
    (corpus / "rasbt_instruction.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    done = train("--corpus", str(corpus), "--out", str(out), "--minutes", "2", "--steps-dir", str(tmp_path / "steps"))
    assert done.returncode == 0, done.stderr
    assert "tinystories" in done.stderr
    pair = load_pair(LoadOptions(target=str(out / "target"), draft=str(out / "sibling"), exact="off", threads=1))
    assert pair.ready.draft_kind == "sibling"
    chat = Chat(messages=(Message(role="user", content="Add 3 and 4."),), max_tokens=8, drafting=Drafting(draft="model"))
    assert any(isinstance(event, Round) for event in ChatSession(pair).chat(chat))
    card = (out / "target" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "| Instruction examples (Sebastian Raschka) | Apache-2.0 | 300 |" in card
    assert "Bits per byte" in card
    assert card.count("\n**") == 40, "forty prompts with their answers"
    assert "Bits per byte" in done.stdout
    assert "tokens/s" in done.stderr
    assert "min left" in done.stderr


def test_a_corpus_without_chats_is_one_clear_error(tmp_path: Path) -> None:
    done = train("--corpus", str(tmp_path), "--out", str(tmp_path / "demo"), "--minutes", "0.1")
    assert done.returncode == 2
    assert done.stderr.count("\n") <= 2
    assert str(tmp_path) in done.stderr
    assert not (tmp_path / "demo").exists()
