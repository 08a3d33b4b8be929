"""One HTML page to look at: no script, no network, a span for each run of tokens, a fold with the rounds of each answer."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from html import escape

from specchat.export.html_style import style
from specchat.export.summary import facts, heading, local_time, outcome
from specchat.marks import MARKS, counts
from specchat.transcript import Session, Turn
from specchat.visible import visible
from specdec.events import Round, Run

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
FENCED = re.compile(r"^ {0,3}```[^`\n]*$.*?(?:^ {0,3}```[ \t]*$\n?|\Z)", re.DOTALL | re.MULTILINE)
COLUMNS = ("Round", "Drafter", "Drafted", "Tested", "Accepted", "Text", "Rejected", "Draft ms", "Verify ms")
NUMBERS = {"Round", "Drafted", "Tested", "Accepted", "Draft ms", "Verify ms"}


def write(session: Session) -> str:
    """The branch that is shown; alternatives are counted, not shown."""
    branch = session.branch()
    title = safe(heading(session))
    articles = [_message("system", "System", _blocks(session.system))] if session.system else []
    articles += [_prompt(session, turn) if turn.role == "user" else _answer(session, turn) for turn in branch]
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="generator" content="specchat">',
            f"<title>{title}</title>",
            f"<style>{style()}</style>",
            "</head>",
            "<body>",
            "<main>",
            "<header>",
            f"<h1>{title}</h1>",
            f'<p class="quiet">{_joined([f"{local_time(session.created):%Y-%m-%d %H:%M}", session.pair, *_models(branch)])}</p>',
            _legend([run for turn in branch for round_ in turn.rounds for run in round_.runs]),
            "</header>",
            *articles,
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def safe(text: str) -> str:
    """Text of any origin as text of the page: nothing in it is markup, and control characters are shown."""
    return escape(visible(text))


def _models(branch: list[Turn]) -> list[str]:
    """Each pair of models on the branch with the target's dtype, once."""
    setups = [turn.setup for turn in branch if turn.setup]
    pairs = ((" ".join(filter(None, (setup.target, setup.dtype))), setup.draft) for setup in setups)
    return list(dict.fromkeys(" ← ".join(filter(None, pair)) for pair in pairs))


def _legend(runs: list[Run]) -> str:
    """Every source in its own style with its number and share of the tokens, under a bar of the shares."""
    found = counts(runs)
    total = sum(found.values())
    if not total:
        return ""
    bar = "".join(f'<i class="{source}" style="flex: {count} 0 0"></i>' for source, count in found.items() if count)
    items = "".join(
        f'<li><span class="{source}">{MARKS[source].label}</span> {count} <small>{100 * count / total:.0f}%</small></li>'
        for source, count in found.items()
    )
    return f'<div class="share" aria-hidden="true">{bar}</div>\n<ul class="legend" aria-label="Tokens by source">{items}</ul>'


def _message(kind: str, name: str, content: str, note: str = "", below: str = "") -> str:
    aside = f" <em>{safe(note)}</em>" if note else ""
    return f'<article class="{kind}">\n<h2>{safe(name)}{aside}</h2>\n<div class="text">{content}</div>{below}\n</article>'


def _prompt(session: Session, turn: Turn) -> str:
    return _message("user", "You", _blocks(turn.text), _alternative(session, turn))


def _answer(session: Session, turn: Turn) -> str:
    name = turn.setup.target if turn.setup else "Assistant"
    notes = ", ".join(filter(None, (_alternative(session, turn), outcome(turn))))
    runs = [(round_.index, run) for round_ in turn.rounds for run in round_.runs]
    told = "".join(run.text for _, run in runs) == turn.text
    failure = f'\n<p class="failure">{safe(turn.error)}</p>' if turn.error else ""
    cost = f'\n<p class="quiet">{_joined(facts(turn))}</p>' if turn.statistics else ""
    content = _marked_blocks(turn.text, runs) if told else _blocks(turn.text)
    return _message("assistant", name, content, notes, failure + cost + _rounds(turn))


def _alternative(session: Session, turn: Turn) -> str:
    number, count = session.place(turn.id)
    return f"alternative {number} of {count}" if count > 1 else ""


def _split(text: str) -> list[tuple[str, str]]:
    """The text in order as prose and fenced code, each with the class it gets."""
    parts: list[tuple[str, str]] = []
    end = 0
    for fence in FENCED.finditer(text):
        parts += [("prose", text[end : fence.start()]), ("code", fence[0])]
        end = fence.end()
    return [part for part in (*parts, ("prose", text[end:])) if part[1]]


def _blocks(text: str) -> str:
    return "".join(f'<div class="{kind}">{safe(part)}</div>' for kind, part in _split(text))


def _marked_blocks(text: str, runs: Iterable[tuple[int, Run]]) -> str:
    """The blocks of an answer with a span for each run; a run that crosses the edge of a block gets one on either side."""
    waiting = deque((run, index, run.text) for index, run in runs)
    blocks: list[str] = []
    for kind, part in _split(text):
        spans: list[str] = []
        left = len(part)
        while left:
            run, index, said = waiting.popleft()
            spans.append(_span(run, index, said[:left]))
            if said[left:]:
                waiting.appendleft((run, index, said[left:]))
            left -= len(said[:left])
        blocks.append(f'<div class="{kind}">{"".join(spans)}</div>')
    return "".join(blocks)


def _span(run: Run, index: int, text: str) -> str:
    count = len(run.tokens)
    title = f"{MARKS[run.source].label}, {count} token{'' if count == 1 else 's'}, round {index + 1}"
    return f'<span class="{run.source}" title="{title}">{safe(text)}</span>' if text else ""


def _rounds(turn: Turn) -> str:
    if not turn.rounds:
        return ""
    head = "".join(f'<th scope="col"{_alignment(column)}>{column}</th>' for column in COLUMNS)
    rows = "\n".join(_row(round_) for round_ in turn.rounds)
    table = f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'
    return f"\n<details><summary>{len(turn.rounds)} round{'' if len(turn.rounds) == 1 else 's'}</summary>{table}</details>"


def _row(round_: Round) -> str:
    cells = (
        f"{round_.index + 1}",
        safe(round_.drafter),
        f"{round_.drafted}",
        f"{round_.tested}",
        f"{round_.accepted}",
        "".join(_span(run, round_.index, run.text) for run in round_.runs),
        f"<del>{safe(round_.rejected)}</del>" if round_.rejected else "",
        f"{round_.draft_ms:.1f}",
        f"{round_.verify_ms:.1f}",
    )
    return "<tr>" + "".join(f"<td{_alignment(column)}>{cell}</td>" for column, cell in zip(COLUMNS, cells, strict=True)) + "</tr>"


def _alignment(column: str) -> str:
    return ' class="number"' if column in NUMBERS else ""


def _joined(phrases: Iterable[str]) -> str:
    return safe(" · ".join(filter(None, phrases)))
