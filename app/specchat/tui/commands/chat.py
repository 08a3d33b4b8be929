"""Asking and answering: send, stop, regenerate, continue, copy the last answer."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from specchat.editor import edit_text
from specdec.errors import SpecError, UsageError
from specdec.memory import INT8

if TYPE_CHECKING:
    from specchat.transcript import Setup, Turn
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen

QUIT_SECONDS = 2.0


def send(screen: ChatScreen, _argument: str) -> None:
    """Send what is in the prompt."""
    screen.prompt.submit()


def write_in_editor(screen: ChatScreen, _argument: str) -> None:
    """Edit the prompt in the user's own editor."""
    failure: SpecError | None = None
    text = screen.prompt.text
    with screen.app.suspend():
        try:
            text = edit_text(text, subprocess.call)
        except SpecError as error:
            failure = error  # raised out of here, it would leave the app suspended
    if failure is not None:
        raise failure
    screen.prompt.load_text(text)
    screen.prompt.focus()


def stop(screen: ChatScreen, _argument: str) -> None:
    """End the answer; without one leave what is selected or being edited."""
    if screen.answering is not None or screen.watchers:
        screen.stop()
        return
    screen.clear_selection()
    screen.inspect(None, None)
    screen.transcript.selected = None
    screen.end_editing()
    screen.prompt.focus()


def interrupt(screen: ChatScreen, _argument: str) -> None:
    """Copy what is selected, else stop the answer, else empty the prompt, else quit at the second press."""
    selected = screen.get_selected_text() or screen.prompt.selected_text
    if selected:
        copy(screen, selected, "The selection")
        screen.clear_selection()
    elif screen.answering is not None or screen.watchers:
        screen.stop()
    elif screen.prompt.text:
        screen.prompt.clear()
    elif time.monotonic() - screen.asked_to_quit < QUIT_SECONDS:
        screen.app.exit(0)
    else:
        screen.asked_to_quit = time.monotonic()
        screen.app.notify("Press it once more to quit.", timeout=QUIT_SECONDS)


def retry(screen: ChatScreen, _argument: str) -> None:
    """Answer the last prompt again."""
    require_idle(screen)
    asked = [turn for turn in screen.desk.conversation.session.branch() if turn.role == "user"]
    if not asked:
        raise UsageError("There is no prompt to answer again.", "Write one first.")
    answer_again(screen, asked[-1])


def answer_again(screen: ChatScreen, prompt: Turn) -> None:
    """Begin another answer to a prompt and show it."""
    answer, job = screen.desk.retry(prompt)
    screen.show_conversation()
    screen.follow_answer(job, answer)


def resume(screen: ChatScreen, _argument: str) -> None:
    """Go on with an answer that did not come to its end."""
    require_idle(screen)
    branch = screen.desk.conversation.session.branch()
    last = branch[-1] if branch else None
    if last is None:
        raise UsageError("There is no answer to continue.", "Ask something first.")
    if not (last.interrupted or last.finish == "max_tokens"):
        raise UsageError("The last answer came to its own end.", "Ask on, or /retry for another answer.")
    other = screen.desk.other_dtype(last.setup) if last.setup else ""
    if last.setup and other and INT8 in (last.setup.dtype, other):
        raise made_in_another(screen, last.setup, other)
    job = screen.desk.resume(last)
    screen.show_conversation()
    screen.follow_answer(job, last)


def copy_last(screen: ChatScreen, _argument: str) -> None:
    """Copy the last answer."""
    answer = screen.desk.conversation.last_answer()
    if answer is None:
        raise UsageError("There is no answer to copy.", "Ask something first.")
    copy(screen, answer.text, "The answer")


def copy(screen: ChatScreen, text: str, what: str) -> None:
    """Put a text on the clipboard and say so."""
    screen.app.copy_to_clipboard(text)
    screen.app.notify(f"{what} was copied ({len(text):,} characters).", timeout=2)


def require_idle(screen: ChatScreen) -> None:
    """Raise UsageError while an answer or a comparison is under way."""
    if screen.answering is not None or screen.watchers:
        raise UsageError("The engine is at work.", f"{screen.key('stop')} stops it.")


def made_in_another(screen: ChatScreen, setup: Setup, loaded: str) -> UsageError:
    """The error of an answer that was made in a dtype which is not the loaded one."""
    again = f"Start with --dtype {setup.dtype}" if screen.desk.own_models else f"/set dtype {setup.dtype}"
    return UsageError(f"The last answer was made in {setup.dtype}, and the pair is loaded in {loaded}.", f"{again} loads it so.")


HANDLERS: dict[str, Handler] = {
    "send": send,
    "newline": lambda screen, _: screen.prompt.action_newline(),
    "history_previous": lambda screen, _: screen.prompt.action_history_previous(),
    "history_next": lambda screen, _: screen.prompt.action_history_next(),
    "editor": write_in_editor,
    "stop": stop,
    "interrupt": interrupt,
    "retry": retry,
    "continue": resume,
    "copy_last": copy_last,
}
