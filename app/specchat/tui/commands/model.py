"""The models at work: the pair, the system prompt, seed, drafting, thinking, comparisons, a new start of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from specchat.pair_choice import PairChoice
from specchat.settings_file import set_value
from specchat.tui.screens.pairs import PairsScreen
from specdec.errors import SpecError, UsageError
from specdec.options import DraftChoice
from specdec.registry import find_pair

if TYPE_CHECKING:
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen

THINKING = {"on": True, "off": False, "auto": None}


def pairs(screen: ChatScreen, argument: str) -> None:
    """Pick a pair: the named one at once, else from the list."""
    if argument:
        spec = find_pair(screen.desk.registry(), argument)
        choose(screen, PairChoice(spec.name))
        return
    shown = PairsScreen(
        screen.desk.paths.user_registry,
        screen.specchat.downloads,
        PairChoice.of(screen.desk.settings),
        first_run=False,
        loaded_bytes=screen.desk.ready.memory_bytes if screen.desk.ready else 0,
    )
    screen.app.push_screen(shown, lambda choice: choose(screen, choice))


def choose(screen: ChatScreen, choice: PairChoice | None) -> None:
    """Load a pair and remember it."""
    if choice is None:
        return
    try:
        screen.desk.choose(choice.pair, choice.draft, choice.context, choice.dtype)
        screen.failure = None
    except SpecError as error:
        screen.say(error)
    screen.show_status()


def system(screen: ChatScreen, argument: str) -> None:
    """Set the system prompt of this conversation, or say what it is."""
    if argument:
        screen.desk.conversation.change_system("" if argument == "off" else argument)
    now = screen.desk.conversation.session.system
    screen.notice(f"System prompt: {now} (/system off removes it)" if now else "There is no system prompt; /system TEXT sets one.")


def seed(screen: ChatScreen, argument: str) -> None:
    """Fix the seed of the answers to come, or let each draw one; alone it names the seed of the last answer."""
    if argument:
        value = "" if argument == "off" else argument
        screen.desk.change(sampling=set_value(screen.desk.settings, "sampling.seed", value).sampling)
    fixed = screen.desk.settings.sampling.seed
    last = screen.desk.conversation.last_answer()
    used = f" The last answer used {last.setup.sampling.seed}." if last and last.setup and last.setup.sampling.seed is not None else ""
    screen.notice(("Each answer draws a seed." if fixed is None else f"The seed is {fixed} from now on.") + used)
    screen.show_status()


def draft(screen: ChatScreen, argument: str) -> None:
    """Choose who drafts."""
    desk, choices = screen.desk, get_args(DraftChoice)
    now = desk.settings.drafting
    if argument not in choices:
        wrong = f"Drafting cannot be {argument!r}; it is {now.draft}." if argument else f"Drafting is {now.draft}."
        raise UsageError(wrong, f"Try /draft {', '.join(choices)}.")
    chosen = now.model_copy(update={"draft": argument})
    before, after = desk.load_options(), desk.load_options(desk.settings.model_copy(update={"drafting": chosen}))
    desk.change(drafting=chosen)
    if argument == "model" and before.draft is None and after != before:
        screen.load()
    screen.notice(f"Drafting is {argument} from the next answer on; the text stays the same for the same seed.")
    screen.show_status()


def think(screen: ChatScreen, argument: str) -> None:
    """Let the model reason before it answers, forbid it, or leave it to the model; alone it folds or unfolds what was thought."""
    if not argument:
        screen.transcript.toggle_thinking()
        return
    if argument not in THINKING:
        raise UsageError(f"Thinking cannot be {argument!r}.", "Try /think on, off or auto.")
    if screen.desk.ready is not None and not screen.desk.ready.thinking:
        raise UsageError("This model has no thinking switch.", f"Qwen3 has one; {screen.key('pairs')} lists the pairs.")
    screen.desk.change(thinking=THINKING[argument])
    screen.notice(f"Thinking is {argument} from the next answer on.")


def restart(screen: ChatScreen, _argument: str) -> None:
    """End the engine, start it anew and load the pair."""
    screen.load(restart=True)


HANDLERS: dict[str, Handler] = {
    "pairs": pairs,
    "system": system,
    "seed": seed,
    "draft": draft,
    "think": think,
    "restart": restart,
}
