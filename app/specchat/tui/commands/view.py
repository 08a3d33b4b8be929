"""How the conversation looks: token marks, statistics, Markdown, the round inspector, scrolling, the theme."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, get_args

from specchat.settings import Marks
from specdec.errors import UsageError

if TYPE_CHECKING:
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen

MARKS: tuple[Marks, ...] = get_args(Marks)


def change(screen: ChatScreen, **values: object) -> None:
    """Change how things look, now and at the next start."""
    screen.desk.keep(view=screen.desk.settings.view.model_copy(update=values))
    screen.show_settings()


def marks(screen: ChatScreen, argument: str) -> None:
    """Show where tokens came from in the named way, or in the next one."""
    if argument and argument not in MARKS:
        raise UsageError(f"Token marks cannot be {argument!r}.", f"Try /tokens {', '.join(MARKS)}.")
    now = MARKS.index(screen.desk.settings.view.marks)
    change(screen, marks=argument or MARKS[(now + 1) % len(MARKS)])


def rounds(screen: ChatScreen, _argument: str) -> None:
    """Open the round inspector at the selected or last answer, or close it."""
    if screen.transcript.selected_round is not None:
        screen.inspect(None, None)
        return
    turn = screen.selected
    turn = turn if turn is not None and turn.rounds else screen.desk.conversation.last_answer()
    if turn is None or not turn.rounds:
        raise UsageError("There is no answer to look into.", "Ask something first.")
    screen.inspect(turn.id, 0)
    screen.transcript.focus()


def theme(screen: ChatScreen, argument: str) -> None:
    """Take the named theme, or the next one."""
    names = sorted(screen.app.available_themes)
    if argument and argument not in names:
        near = difflib.get_close_matches(argument, names, n=3, cutoff=0.3)
        raise UsageError(f"There is no theme named {argument!r}.", f"Try {' or '.join(near or names[:5])}.")
    now = names.index(screen.app.theme) if screen.app.theme in names else -1
    change(screen, theme=argument or names[(now + 1) % len(names)])


HANDLERS: dict[str, Handler] = {
    "marks": marks,
    "statistics": lambda screen, _: change(screen, statistics=not screen.desk.settings.view.statistics),
    "markdown": lambda screen, _: change(screen, markdown=not screen.desk.settings.view.markdown),
    "rounds": rounds,
    "page_up": lambda screen, _: screen.transcript.scroll_page_up(animate=False),
    "page_down": lambda screen, _: screen.transcript.scroll_page_down(animate=False),
    "top": lambda screen, _: screen.transcript.scroll_home(animate=False),
    "bottom": lambda screen, _: screen.transcript.follow(),
    "theme": theme,
}
