"""How the exported page looks: on a light, a dark and a printed page, with every source told by style as well as colour."""

from __future__ import annotations

from specchat.marks import MARKS, SOURCES, Mark

PAGE = """
:root {
  color-scheme: light dark;
  --page: #f6f5f2; --card: #ffffff; --code: #f3f2ee; --line: #dedbd3; --ink: #22211f; --quiet: #68645c; --prompt: #ebe8e0;
  --blue: #1d4ed8; --orange: #a84300; --red: #b3161f; --green: #18703a; --plain: #a8a49a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16171a; --card: #1e2024; --code: #17191c; --line: #33363d; --ink: #e4e3df; --quiet: #9b9ca3; --prompt: #282b31;
    --blue: #8ab4ff; --orange: #ffb163; --red: #ff8a84; --green: #7fdb9a; --plain: #6d7078;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.65 system-ui, "Segoe UI", "Helvetica Neue", sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 0.35rem; font-size: 0.8rem; font-weight: 600; color: var(--quiet); overflow-wrap: anywhere; }
h2 em { font-weight: 400; }
p { margin: 0.35rem 0 0; }
.quiet { font-size: 0.82rem; color: var(--quiet); overflow-wrap: anywhere; }
.share { display: flex; height: 0.5rem; margin: 1.5rem 0 0.6rem; border-radius: 0.25rem; overflow: hidden; background: var(--line); }
.share i { display: block; border-right: 1px solid var(--card); }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; margin: 0; padding: 0; list-style: none; font-size: 0.9rem; }
.legend small { color: var(--quiet); }
.by-answer { margin-top: 0.6rem; font-size: 0.82rem; }
article, section { margin-top: 1.75rem; }
.user .text, .system .text { padding: 0.8rem 1.1rem; border-radius: 0.8rem; background: var(--prompt); }
.system .text { border: 1px dashed var(--line); background: none; color: var(--quiet); }
.assistant .text { padding: 1rem 1.25rem; border: 1px solid var(--line); border-radius: 0.8rem; background: var(--card); }
.prose, .code, td { white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; }
.code, td, th { font: 0.84rem/1.5 ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.code { padding: 0.7rem 0.9rem; border-radius: 0.5rem; background: var(--code); }
.failure { color: var(--red); font-weight: 600; }
details { margin-top: 0.5rem; font-size: 0.82rem; color: var(--quiet); }
summary { cursor: pointer; }
.wide { overflow-x: auto; }
table { width: 100%; margin-top: 0.5rem; border-collapse: collapse; color: var(--ink); }
th, td { padding: 0.25rem 0.6rem 0.25rem 0; border-bottom: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; font-size: 0.78rem; }
th { color: var(--quiet); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; }
del { color: var(--quiet); }
@media print {
  :root {
    --page: #ffffff; --card: #ffffff; --code: #f6f6f6; --line: #cccccc; --ink: #000000; --quiet: #444444; --prompt: #f2f2f2;
    --blue: #1a3f9c; --orange: #8a3a00; --red: #9a1119; --green: #145c30; --plain: #999999;
  }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, summary, tr { break-after: avoid; break-inside: avoid; }
  .user .text, .share i { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def style() -> str:
    """The whole style sheet."""
    return PAGE + "".join(
        f".{source} {{ {_declarations(MARKS[source])} }}\n.share .{source} {{ {_fill(MARKS[source])} }}\n" for source in SOURCES
    )


def _declarations(mark: Mark) -> str:
    declarations = (
        f"color: var(--{mark.colour});" if mark.colour else "",
        "font-weight: 700;" if mark.bold else "",
        "font-style: italic;" if mark.italic else "",
        "text-decoration: underline; text-decoration-thickness: 1px; text-underline-offset: 0.2em;" if mark.underline else "",
    )
    return " ".join(filter(None, declarations))


def _fill(mark: Mark) -> str:
    return f"background: var(--{mark.colour or 'plain'});"
