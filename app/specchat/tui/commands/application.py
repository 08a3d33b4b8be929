"""The app itself: settings, help, the palette, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specchat.settings import Settings
from specchat.settings_file import set_value
from specchat.tui.screens.help import HelpScreen
from specchat.tui.screens.settings import SettingsScreen
from specdec.errors import UsageError

if TYPE_CHECKING:
    from specchat.tui.commands import Handler
    from specchat.tui.screens.chat import ChatScreen


def take(screen: ChatScreen, settings: Settings) -> None:
    """Put settings in force and keep them; what they change about the loaded pair is loaded anew."""
    before = screen.desk.load_options()
    screen.desk.replace(settings)
    screen.show_settings()
    if screen.desk.load_options() != before:
        screen.load()


def set_one(screen: ChatScreen, argument: str) -> None:
    """Change one setting by its name."""
    name, _, value = argument.partition(" ")
    if not name:
        raise UsageError("There is no setting named.", "Try /set temperature 0.7, or F5 for all settings.")
    take(screen, set_value(screen.desk.settings, name, value.strip()))
    screen.app.notify(f"{name} is {value.strip() or 'unset'}.", markup=False)


def settings(screen: ChatScreen, _argument: str) -> None:
    """Show all settings."""

    def saved(changed: Settings | None) -> None:
        if changed is not None:
            take(screen, changed)

    screen.app.push_screen(SettingsScreen(screen.desk.settings, screen.desk.paths.settings), saved)


def show_help(screen: ChatScreen, _argument: str) -> None:
    """Show keys and commands."""
    screen.app.push_screen(HelpScreen(screen.desk.settings.keys))


HANDLERS: dict[str, Handler] = {
    "set": set_one,
    "settings": settings,
    "help": show_help,
    "palette": lambda screen, _: screen.app.action_command_palette(),
    "quit": lambda screen, _: screen.app.exit(0),
}
