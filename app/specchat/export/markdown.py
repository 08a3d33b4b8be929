"""Markdown with front matter: the branch that is shown, every text exactly as it is."""

from __future__ import annotations

import json
from typing import Any

from specchat.export.summary import heading, local_time, outcome
from specchat.marks import counts
from specchat.transcript import Session, Turn

POSITIONS = {"tested_by_position", "accepted_by_position"}


def write(session: Session) -> str:
    """Front matter with what each answer was made with and cost, then a heading and the text for each message."""
    branch = session.branch()
    answers = [turn for turn in branch if turn.role == "assistant"]
    matter = [f"title: {_yaml(heading(session))}", f"created: {local_time(session.created).isoformat(timespec='seconds')}"]
    if session.pair:
        matter.append(f"pair: {_yaml(session.pair)}")
    if answers:
        matter += ["answers:", *(f"  - {_yaml(_answer(turn))}" for turn in answers)]
    messages = [f"## System\n\n{session.system}"] if session.system else []
    messages += [f"## {_speaker(turn)}\n\n{turn.text}" for turn in branch]
    front = "\n".join(("---", *matter, "---"))
    return "\n\n".join((front, *messages)) + "\n"


def _speaker(turn: Turn) -> str:
    if turn.role == "user":
        return "User"
    return " ".join(filter(None, ("Assistant", f"({outcome(turn)})" if outcome(turn) else "")))


def _answer(turn: Turn) -> dict[str, Any]:
    """What an answer was made with, and its counters; unknown values are left out."""
    record: dict[str, Any] = {}
    if turn.setup is not None:
        record |= turn.setup.model_dump(mode="json", exclude={"system"}, exclude_none=True)
    if turn.rounds:
        record["sources"] = counts(run for round_ in turn.rounds for run in round_.runs)
    if turn.statistics is not None:
        record["statistics"] = turn.statistics.model_dump(mode="json", exclude={"drafters": {"__all__": POSITIONS}})
    return record | {name: value for name, value in (("finish", turn.finish), ("error", turn.error)) if value}


def _yaml(value: object) -> str:
    """A value as JSON, which is YAML as long as it holds no raw control characters."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}" for char in text)
