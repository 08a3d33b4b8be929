"""The app itself: settings, help, the palette, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specchat.settings import Settings
from specchat.settings_file import set_value
from specchat.tui.keys import check_keymap
from specchat.tui.screens.help import HelpScreen
from specchat.tui.screens.settings import SettingsScreen
from specdec.errors import SpecError, UsageError
from specdec.options import LoadOptions

if TYPE_CHECKING:
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen


def take(screen: ChatScreen, settings: Settings) -> None:
    """Put settings in force and keep them; what they change about the loaded pair is loaded anew.

    Raises the error of settings that name nothing to load; where those before did not either, only their other values count.
    """
    before, after = (_load_options(screen, chosen) for chosen in (screen.desk.settings, settings))
    if isinstance(after, SpecError) and isinstance(before, LoadOptions):
        raise after
    screen.desk.replace(settings)
    screen.show_settings()
    if after != before:
        screen.load()


def _load_options(screen: ChatScreen, settings: Settings) -> LoadOptions | SpecError:
    try:
        return screen.desk.load_options(settings)
    except SpecError as error:
        return error


def set_one(screen: ChatScreen, argument: str) -> None:
    """Change one setting by its name."""
    name, _, value = argument.partition(" ")
    if not name:
        raise UsageError("There is no setting named.", f"Try /set temperature 0.7, or {screen.key('settings')} for all settings.")
    if not value.strip():
        raise UsageError(f"There is no value for {name}.", f"Try /set {name} VALUE; none unsets what may be unset.")
    changed = set_value(screen.desk.settings, name, value.strip())
    wrong = [sentence for sentence in check_keymap(changed.keys) if sentence not in check_keymap(screen.desk.settings.keys)]
    if wrong:
        raise UsageError(wrong[0], "Nothing was changed.")
    if changed.view.theme not in screen.app.available_themes:
        raise UsageError(f"There is no theme named {changed.view.theme!r}.", f"Try /theme, or {screen.key('settings')} to see them.")
    take(screen, changed)
    screen.app.notify(f"{name} is {value.strip()}.", markup=False)


def settings(screen: ChatScreen, _argument: str) -> None:
    """Show all settings."""

    def saved(changed: Settings | None) -> None:
        try:
            if changed is not None:
                take(screen, changed)
        except SpecError as error:
            screen.say(error)

    screen.app.push_screen(SettingsScreen(screen.desk.settings, screen.desk.paths.settings), saved)


def show_help(screen: ChatScreen, _argument: str) -> None:
    """Show keys and commands."""
    screen.app.push_screen(HelpScreen(screen.desk.settings.keys))


def show_palette(screen: ChatScreen, _argument: str) -> None:
    """Find an action by its name; from the prompt, so that those of a message need none that is selected."""
    if screen.transcript.selected is None:
        screen.prompt.focus()
    screen.app.action_command_palette()


HANDLERS: dict[str, Handler] = {
    "set": set_one,
    "settings": settings,
    "help": show_help,
    "palette": show_palette,
    "quit": lambda screen, _: screen.app.exit(0),
}
