"""The command palette: every action by its title, with its keys and its slash command."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from specchat.tui.actions import ACTIONS, Action
from specchat.tui.keys import key_text


class ActionProvider(Provider):
    """Offers the actions of the registry, and runs one as `do('<id>')` on the screen that the palette was opened from."""

    async def startup(self) -> None:
        """Note the keys that work on the screen, as they are while the palette is open."""
        self._keys: dict[str, list[str]] = defaultdict(list)
        for key, active in self.screen.active_bindings.items():
            if active.binding.id:
                self._keys[active.binding.id].append(key)

    async def discover(self) -> Hits:
        """All actions, before anything is typed."""
        for action in ACTIONS:
            yield DiscoveryHit(action.title, partial(self._run, action), help=self._help(action))

    async def search(self, query: str) -> Hits:
        """The actions whose title or slash command is like the query."""
        matcher = self.matcher(query)
        for action in ACTIONS:
            score = max(matcher.match(action.title), matcher.match(action.slash) if action.slash else 0)
            if score > 0:
                yield Hit(score, matcher.highlight(action.title), partial(self._run, action), help=self._help(action))

    async def _run(self, action: Action) -> None:
        await self.screen.run_action(f"do('{action.id}')")

    def _help(self, action: Action) -> str:
        keys = ",".join(key for key in self._keys[action.id] if not key.startswith("no_key_"))
        return "  ".join(filter(None, (action.help, key_text(keys), f"/{action.slash}" if action.slash else "")))
