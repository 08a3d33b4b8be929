"""Conversations: new, open, search, rename, fork, export, import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from specchat.export import FORMATS, read_sessions, with_fresh_ids
from specchat.export.files import read_text, target_path, write_file
from specchat.tui.commands.chat import require_idle
from specchat.tui.screens.export import ExportScreen
from specchat.tui.screens.sessions import SessionsScreen
from specdec.errors import SpecError, UsageError

if TYPE_CHECKING:
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen


def new(screen: ChatScreen, _argument: str) -> None:
    """Begin an empty conversation."""
    leave(screen)
    screen.desk.open_new()
    screen.show_conversation()
    screen.prompt.focus()


def leave(screen: ChatScreen) -> None:
    """End what is under way in the conversation that is about to be left."""
    screen.end_editing()
    if screen.answering is not None or screen.watchers:
        screen.watchers.clear()
        screen.stop()


def sessions(screen: ChatScreen, argument: str) -> None:
    """Pick a conversation from the list."""

    def opened(session_id: str | None) -> None:
        if session_id is not None:
            open_session(screen, session_id)

    open_id = screen.desk.conversation.session.id
    screen.app.push_screen(SessionsScreen(screen.desk.store, open_id, argument, screen.desk.deleted), opened)


def open_session(screen: ChatScreen, session_id: str) -> None:
    """Show a conversation."""
    if session_id == screen.desk.conversation.session.id:
        return
    leave(screen)
    try:
        screen.desk.open(session_id)
    except SpecError as error:
        screen.say(error)
        return
    screen.show_conversation()
    screen.transcript.follow()
    screen.prompt.focus()


def rename(screen: ChatScreen, argument: str) -> None:
    """Give the conversation a title."""
    screen.desk.conversation.rename(argument)
    screen.show_status()
    screen.app.notify(f"It is called “{screen.desk.conversation.session.title}” from now on.", markup=False)


def fork(screen: ChatScreen, _argument: str) -> None:
    """Go on in a copy of this branch, down to the selected message."""
    require_idle(screen)
    session = screen.desk.conversation.session
    if not session.turns:
        raise UsageError("There is nothing to fork yet.", "Ask something first.")
    screen.desk.conversation = screen.desk.conversation.fork(screen.selected)
    screen.show_conversation()
    screen.notice(f"You are in a copy now; the original is among the sessions ({screen.key('sessions')}).")


def export(screen: ChatScreen, argument: str) -> None:
    """Write the conversation to a file: at once if the format is given, else after asking."""
    session = screen.desk.conversation.session
    if not session.turns:
        raise UsageError("There is nothing to export yet.", "Ask something first.")
    words = argument.split(maxsplit=1)
    if not words:
        screen.app.push_screen(ExportScreen(session, Path(), screen.specchat.screenshot_of_chat), lambda path: written(screen, path))
        return
    if words[0] == "svg":
        text, suffix = screen.specchat.screenshot_of_chat(), ".svg"
    elif words[0] in FORMATS:
        text, suffix = FORMATS[words[0]].write(session), FORMATS[words[0]].suffix
    else:
        raise UsageError(f"There is no export format {words[0]!r}.", f"Try {', '.join((*FORMATS, 'svg'))}.")
    path = target_path(session, suffix, words[1] if len(words) > 1 else "", Path())
    write_file(path, text)
    written(screen, path)


def written(screen: ChatScreen, path: Path | None) -> None:
    """Say where the export is."""
    if path is not None:
        screen.notice(f"Written to {os.path.abspath(path)}.")


def import_file(screen: ChatScreen, argument: str) -> None:
    """Read conversations from a file and open the last of them."""
    path = Path(os.path.expanduser(argument))
    if not argument:
        raise UsageError("There is no file to import.", "Try /import PATH.")
    found = [with_fresh_ids(session) for session in read_sessions(read_text(path))]
    for session in found:
        screen.desk.store.save_whole(session)
    if found:
        open_session(screen, found[-1].id)
        screen.notice(f"Imported {len(found)} conversation{'s' if len(found) > 1 else ''} from {path}.")


HANDLERS: dict[str, Handler] = {
    "new": new,
    "sessions": sessions,
    "search": sessions,
    "rename": rename,
    "fork": fork,
    "export": export,
    "import": import_file,
}
