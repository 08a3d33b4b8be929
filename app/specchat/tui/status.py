"""What the header says of the desk and of what the engine is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specchat.engine_thread import CallJob, ChatJob, LoadJob
from specchat.tui.widgets.header import State, Status
from specdec.events import Progress
from specdec.memory import size_text

if TYPE_CHECKING:
    from specchat.tui.screens.chat import ChatScreen


def status_of(screen: ChatScreen) -> Status:
    """The status of a chat screen."""
    desk = screen.desk
    state, detail = _state(screen)
    return Status(
        state=state,
        detail=detail,
        pair=desk.pair_name,
        ready=desk.ready,
        drafting=desk.settings.drafting,
        seed=desk.settings.sampling.seed,
        saved=desk.store.lasting,
    )


def _state(screen: ChatScreen) -> tuple[State, str]:
    job, progress = screen.desk.engine.current, screen.progress
    if screen.stopping and job is not None:
        return "stopping", ""
    if isinstance(job, LoadJob) or (isinstance(job, ChatJob | CallJob) and screen.desk.ready is None):
        return ("loading", _share(progress)) if progress else ("starting", "")
    if isinstance(job, ChatJob | CallJob):
        return "answering", _share(progress) if isinstance(job, ChatJob) and progress else ""
    if screen.failure is not None:
        return "stopped", screen.failure.cause
    return ("ready", "") if screen.desk.ready is not None else ("stopped", "no pair is loaded")


def _share(progress: Progress) -> str:
    if not progress.total:
        return progress.stage
    if progress.unit == "bytes" and progress.done < progress.total:
        return f"{progress.stage} {size_text(progress.done)} {100 * progress.done // progress.total}%"
    return f"{progress.stage} {100 * progress.done // progress.total}%"
