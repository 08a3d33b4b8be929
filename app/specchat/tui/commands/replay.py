"""Decoding the last answer again: plain, to see that drafts changed nothing, or both ways, to see what they gain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from specchat.engine_thread import CallJob, Stopped
from specchat.replay import Comparison, Step, Verdict, compare, verify
from specchat.transcript import Turn
from specchat.tui.commands.chat import made_in_another, require_idle
from specchat.tui.screens.replay import CompareScreen
from specdec.errors import SpecError, UsageError

if TYPE_CHECKING:
    from specchat.client import EngineClient
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen


def last_answer(screen: ChatScreen) -> Turn:
    """The last answer, if it can be decoded again with the loaded pair in its precision; raises UsageError otherwise."""
    require_idle(screen)
    turn = screen.desk.conversation.last_answer()
    if turn is None or not turn.rounds or turn.setup is None:
        raise UsageError("There is no answer to decode again.", "Ask something first.")
    if turn.setup.pair != screen.desk.pair_name:
        raise UsageError(f"The last answer is by the pair {turn.setup.pair}.", f"Load it first: /pair {turn.setup.pair}.")
    if other := screen.desk.other_dtype(turn.setup):
        raise made_in_another(screen, turn.setup, other)
    return turn


def verify_last(screen: ChatScreen, _argument: str) -> None:
    """Decode the last answer without drafts and say whether the text is the same."""
    turn = last_answer(screen)
    messages = screen.desk.conversation.session.messages(turn.parent)
    verdicts: list[Verdict | None] = []

    def work(client: EngineClient, show: Callable[[Step], None], stopped: Stopped) -> None:
        verdicts.append(verify(client, turn, messages, show, stopped))

    def ended(error: SpecError | None) -> None:
        if error is not None:
            screen.say(error)
        elif verdicts and verdicts[0] is not None:
            screen.notice(verdicts[0].summary, "info" if verdicts[0].same else "warning")
        else:
            screen.notice("Stopped before there was a result.")

    screen.notice(f"Decoding the last answer again, without drafts. {screen.key('stop')} stops it.")
    screen.replay(CallJob(work), lambda step: None, ended)


def compare_last(screen: ChatScreen, _argument: str) -> None:
    """Decode the last answer plain and speculatively in turn, and show both side by side."""
    turn = last_answer(screen)
    messages = screen.desk.conversation.session.messages(turn.parent)
    comparisons: list[Comparison | None] = []
    shown = CompareScreen()

    def work(client: EngineClient, show: Callable[[Step], None], stopped: Stopped) -> None:
        comparisons.append(compare(client, turn, messages, show, stopped))

    def ended(error: SpecError | None) -> None:
        if error is not None:
            shown.fail(error)
            return
        comparison = comparisons[0] if comparisons else None
        shown.finish(comparison)
        screen.keep_comparison(turn, comparison)

    screen.app.push_screen(shown)
    screen.replay(CallJob(work), shown.progress, ended)


HANDLERS: dict[str, Handler] = {"compare": compare_last, "verify": verify_last}
