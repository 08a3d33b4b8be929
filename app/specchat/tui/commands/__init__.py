"""What each action of the registry does: one module per group, one function per action."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from specchat.tui.commands import application, chat, conversation, message, model, replay, view

if TYPE_CHECKING:
    from specchat.tui.screens.chat import ChatScreen

Handler = Callable[["ChatScreen", str], None]

HANDLERS: dict[str, Handler] = {
    **chat.HANDLERS,
    **message.HANDLERS,
    **view.HANDLERS,
    **conversation.HANDLERS,
    **model.HANDLERS,
    **replay.HANDLERS,
    **application.HANDLERS,
}
