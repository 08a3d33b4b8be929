"""Everything a user can make the app do: one list feeds keys, slash commands, the palette, the help and the README."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from specdec.errors import UsageError

Group = Literal["Chat", "Message", "View", "Conversation", "Model", "App"]
Where = Literal["anywhere", "prompt", "message"]


@dataclass(frozen=True)
class Action:
    """One thing to do. `keys` are separated by commas; `slash` is the command's name, `arguments` how it is called.

    `where` tells where the keys work: everywhere, in the prompt, or while a message is selected. `footer` shows it at the bottom,
    in the order of this list.
    """

    id: str
    group: Group
    title: str
    help: str
    keys: str = ""
    slash: str = ""
    arguments: str = ""
    where: Where = "anywhere"
    footer: bool = False


ACTIONS: tuple[Action, ...] = (
    Action("help", "App", "Help", "Keys and commands.", "f1", "help", footer=True),
    Action("send", "Chat", "Send", "Send the prompt.", "enter", where="prompt", footer=True),
    Action(
        "newline",
        "Chat",
        "New line",
        "Begin a new line; Ctrl+J works in every terminal.",
        "ctrl+j,shift+enter,alt+enter",
        where="prompt",
        footer=True,
    ),
    Action("history_previous", "Chat", "Earlier prompt", "Recall an earlier prompt, on the prompt's first line.", "up", where="prompt"),
    Action("history_next", "Chat", "Later prompt", "Recall a later prompt, on the prompt's last line.", "down", where="prompt"),
    Action("editor", "Chat", "Editor", "Write the prompt in $EDITOR.", "ctrl+g", "editor"),
    Action("stop", "Chat", "Stop", "End the answer within one round, or deselect.", "escape", footer=True),
    Action("interrupt", "Chat", "Copy, stop or quit", "Copy the selection, else stop the answer; twice quits.", "ctrl+c"),
    Action("retry", "Chat", "Regenerate", "Answer the last prompt again, as an alternative.", slash="retry"),
    Action("continue", "Chat", "Continue", "Go on with an interrupted answer.", slash="continue"),
    Action("copy_last", "Chat", "Copy answer", "Copy the last answer.", "ctrl+y", "copy"),
    Action("select_previous", "Message", "Select up", "Select the message above.", "alt+up"),
    Action("select_next", "Message", "Select down", "Select the message below.", "alt+down"),
    Action("copy_message", "Message", "Copy message", "Copy the selected message.", "c", where="message", footer=True),
    Action("copy_block", "Message", "Copy code", "Copy its code blocks, one after the other.", "b", where="message"),
    Action("edit", "Message", "Edit", "Edit the prompt; sending it begins a new branch.", "e", "edit", where="message", footer=True),
    Action("regenerate", "Message", "Answer again", "Answer again, as an alternative to step through.", "r", where="message", footer=True),
    Action("older_sibling", "Message", "Older alternative", "Show the alternative before.", "left_square_bracket", where="message"),
    Action("newer_sibling", "Message", "Newer alternative", "Show the alternative after.", "right_square_bracket", where="message"),
    Action("previous_round", "Message", "Round before", "Inspect the round before.", "left", where="message"),
    Action("next_round", "Message", "Round after", "Inspect the next round.", "right", where="message", footer=True),
    Action(
        "marks",
        "View",
        "Token marks",
        "Show where each token came from: style, glyph or off.",
        "f2",
        "tokens",
        "[style|glyph|off]",
    ),
    Action("statistics", "View", "Statistics", "Show or hide the statistics.", "f3", "stats"),
    Action("markdown", "View", "Markdown", "Show settled messages as Markdown or raw.", "f4", "raw"),
    Action("rounds", "View", "Round inspector", "Look into the rounds of an answer, one by one.", "f6", "rounds"),
    Action("page_up", "View", "Page up", "Scroll the conversation up.", "pageup"),
    Action("page_down", "View", "Page down", "Scroll the conversation down.", "pagedown"),
    Action("top", "View", "Beginning", "Scroll to the beginning.", "ctrl+home"),
    Action("bottom", "View", "End", "Scroll to the end and follow it.", "ctrl+end"),
    Action("theme", "View", "Theme", "Change the colours.", slash="theme", arguments="[NAME]"),
    Action("new", "Conversation", "New", "Begin a new conversation; the old one stays.", "ctrl+n", "new"),
    Action("sessions", "Conversation", "Sessions", "Open, rename, delete or search conversations.", "ctrl+r", "sessions", footer=True),
    Action("search", "Conversation", "Search", "Search all conversations.", slash="search", arguments="TEXT"),
    Action("rename", "Conversation", "Rename", "Give the conversation a title.", slash="rename", arguments="TITLE"),
    Action("fork", "Conversation", "Fork", "Copy this branch into a conversation of its own.", slash="fork"),
    Action("export", "Conversation", "Export", "Write the conversation to a file.", "ctrl+s", "export", "[FORMAT] [PATH]"),
    Action("import", "Conversation", "Import", "Read a conversation that was exported.", slash="import", arguments="PATH"),
    Action("pairs", "Model", "Pairs", "Pick, download and load a pair of models.", "ctrl+o", "pair", "[NAME]", footer=True),
    Action("system", "Model", "System prompt", "Set the system prompt of this conversation.", slash="system", arguments="[TEXT]"),
    Action("seed", "Model", "Seed", "Fix the seed, or draw one for each answer.", slash="seed", arguments="[N|off]"),
    Action("draft", "Model", "Drafting", "Choose who drafts.", slash="draft", arguments="auto|model|ngram|off"),
    Action("think", "Model", "Thinking", "Let the model reason first, if it can.", slash="think", arguments="[on|off|auto]"),
    Action("compare", "Model", "Compare", "Answer the last prompt plain and speculative, and time both.", "f7", "compare"),
    Action("verify", "Model", "Verify", "Decode the last answer again without drafts and compare the text.", "f8", "verify"),
    Action("restart", "Model", "Restart engine", "Start the engine anew and load the pair.", slash="restart"),
    Action("set", "App", "Set", "Change one setting.", slash="set", arguments="NAME VALUE"),
    Action("settings", "App", "Settings", "Sampling, seed, system prompt, drafting, marks, theme.", "f5", "settings"),
    Action("palette", "App", "Commands", "Find any action by its name.", "ctrl+p"),
    Action("quit", "App", "Quit", "End specchat.", "ctrl+q", "quit"),
)
BY_ID = {action.id: action for action in ACTIONS}
BY_SLASH = {action.slash: action for action in ACTIONS if action.slash} | {"clear": BY_ID["new"], "model": BY_ID["pairs"]}


@dataclass(frozen=True)
class Command:
    """A slash command as typed: the action and what stood behind its name."""

    action: Action
    argument: str


def parse_prompt(text: str) -> Command | str:
    """The command that a prompt is, or the text to send; `//` at the start sends a text with one slash.

    Raises UsageError for an unknown command, naming the nearest one.
    """
    if text.startswith("//"):
        return text[1:]
    if not text.startswith("/"):
        return text
    name, argument = (*text[1:].split(maxsplit=1), "", "")[:2]
    if name.lower() in BY_SLASH:
        return Command(BY_SLASH[name.lower()], argument.strip())
    near = difflib.get_close_matches(name, BY_SLASH, n=1, cutoff=0.5)
    hint = f"Did you mean /{near[0]}?" if near else "/help lists the commands."
    raise UsageError(f"There is no command /{name}.", f"{hint} Begin with // to send a text that starts with a slash.")


def commands_beginning(text: str) -> list[tuple[str, Action]]:
    """The slash commands, by name, that a prompt may be the beginning of; with an argument begun, the one command it calls."""
    if not text.startswith("/") or text.startswith("//"):
        return []
    name, *rest = text[1:].lower().split(maxsplit=1) or [""]
    if rest or text[-1:].isspace():
        return [(name, BY_SLASH[name])] if name in BY_SLASH else []
    return [(slash, action) for slash, action in BY_SLASH.items() if slash.startswith(name)]
