"""The selected message: copy it, edit it, answer it again, step through alternatives and rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specchat.transcript import Turn
from specchat.tui.commands.chat import answer_again, copy, require_idle
from specdec.errors import UsageError

if TYPE_CHECKING:
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen


def select(screen: ChatScreen, step: int) -> None:
    """Select the message above or below."""
    screen.transcript.move_selection(step)
    if screen.transcript.selected is None:
        screen.prompt.focus()
    else:
        screen.transcript.focus()


def selected(screen: ChatScreen) -> Turn:
    """The selected message; raises UsageError if there is none."""
    turn = screen.selected
    if turn is None:
        raise UsageError("No message is selected.", f"{screen.key('select_previous')} selects one.")
    return turn


def copy_message(screen: ChatScreen, _argument: str) -> None:
    """Copy the message as it was written."""
    copy(screen, selected(screen).text, "The message")


def copy_block(screen: ChatScreen, _argument: str) -> None:
    """Copy a code block of the message; each press takes the next one."""
    turn = selected(screen)
    blocks = screen.transcript.code_blocks(turn.id)
    if not blocks:
        raise UsageError("This message holds no code block.", f"{screen.key('copy_message')} copies all of it.")
    last_id, last = screen.copied_block
    number = (last + 1) % len(blocks) if last_id == turn.id else 0
    screen.copied_block = (turn.id, number)
    copy(screen, blocks[number], f"Code block {number + 1} of {len(blocks)}")


def edit(screen: ChatScreen, _argument: str) -> None:
    """Take the selected prompt, or the last one, back into the prompt box; sending it begins a new branch."""
    require_idle(screen)
    branch = screen.desk.conversation.session.branch()
    chosen = screen.selected
    if chosen is not None and chosen.role == "assistant" and chosen.parent is not None:
        chosen = screen.desk.conversation.session.turns[chosen.parent]
    prompt = chosen or next((turn for turn in reversed(branch) if turn.role == "user"), None)
    if prompt is None or prompt.role != "user":
        raise UsageError("There is no prompt to edit.", "Write one first.")
    screen.begin_editing(prompt)
    screen.notice(f"You edit an earlier prompt; sending it begins a new branch, {screen.key('stop')} leaves it.")


def regenerate(screen: ChatScreen, _argument: str) -> None:
    """Answer the prompt of the selected message again."""
    require_idle(screen)
    turn = selected(screen)
    prompt = turn if turn.role == "user" else screen.desk.conversation.session.turns.get(turn.parent or "")
    if prompt is None:
        raise UsageError("No prompt stands before this answer.", "Ask something below it.")
    answer_again(screen, prompt)


def step_sibling(screen: ChatScreen, step: int) -> None:
    """Show the alternative before or after the selected message."""
    require_idle(screen)
    turn = selected(screen)
    conversation = screen.desk.conversation
    number, count = conversation.session.place(turn.id)
    if not conversation.step(turn, step):
        raise UsageError(f"This is alternative {number} of {count}.", f"{screen.key('regenerate')} makes another one.")
    sibling = conversation.session.siblings(turn.id)[number - 1 + step]
    screen.show_conversation()
    screen.transcript.selected = sibling.id


def step_round(screen: ChatScreen, step: int) -> None:
    """Inspect the round before or after."""
    turn = selected(screen)
    if not turn.rounds:
        raise UsageError("This message has no rounds to look into.", "Select an answer that was decoded here.")
    now = screen.transcript.selected_round
    index = 0 if now is None else min(max(now + step, 0), len(turn.rounds) - 1)
    screen.inspect(turn.id, index)


HANDLERS: dict[str, Handler] = {
    "select_previous": lambda screen, _: select(screen, -1),
    "select_next": lambda screen, _: select(screen, 1),
    "copy_message": copy_message,
    "copy_block": copy_block,
    "edit": edit,
    "regenerate": regenerate,
    "older_sibling": lambda screen, _: step_sibling(screen, -1),
    "newer_sibling": lambda screen, _: step_sibling(screen, 1),
    "previous_round": lambda screen, _: step_round(screen, -1),
    "next_round": lambda screen, _: step_round(screen, 1),
}
