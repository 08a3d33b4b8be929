"""Opening the app from the command line: settings and conversations are read first, what is wrong with them is said inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specchat import engine_log
from specchat.paths import Paths
from specchat.settings import Settings
from specchat.settings_file import load_settings
from specchat.store import Store
from specchat.tui.app import SpecchatApp
from specchat.tui.terminal import accept_any_bytes
from specdec.errors import SpecError
from specdec.options import Drafting, LoadOptions, Sampling

CRASHED = 1


def run_app(paths: Paths, engine: Sequence[str], changes: dict[str, object], own_models: LoadOptions | None) -> int:
    """Show the app until the user quits; `changes` are settings of the command line, for this run only."""
    app = open_app(paths, engine, changes, own_models)
    accept_any_bytes()
    try:
        code = app.run()
        return CRASHED if code is None else code
    finally:
        app.desk.close()
        app.downloads.close()


def open_app(paths: Paths, engine: Sequence[str], changes: dict[str, object], own_models: LoadOptions | None = None) -> SpecchatApp:
    """The app, ready to run."""
    stored, complaint = load_settings(paths.settings)
    store = open_store(paths)
    notices = [text for text in (complaint, store.notice, engine_log.complaint(paths.engine_log)) if text]
    settings = Settings.model_validate(_merged(stored.model_dump(), changes))
    first_run = not changes and own_models is None and not paths.settings.exists() and not store.sessions()
    return SpecchatApp(paths, engine, store, settings, own_models, notices, first_run)


def open_store(paths: Paths) -> Store:
    """The conversations, or, where they cannot be kept, a store in memory that says so."""
    try:
        return Store(paths.database)
    except SpecError as error:
        return Store.in_memory(error)


def settings_changes(given: Mapping[str, object]) -> dict[str, object]:
    """The settings that options of the command line, by their names, stand for."""
    groups: dict[str, dict[str, object]] = {"sampling": {}, "drafting": {}, "view": {}}
    changes: dict[str, object] = {}
    for name, value in given.items():
        if name in Sampling.model_fields:
            groups["sampling"][name] = value
        elif name in Drafting.model_fields:
            groups["drafting"][name] = value
        elif name in ("pair", "dtype", "exact", "max_tokens", "system"):
            changes[name] = value
        elif name == "context_tokens":
            changes["context"] = value
        elif name == "marks":
            groups["view"]["marks"] = "style"
    if "pair" in given:
        changes = {"draft_model": "", "dtype": "", "context": 0} | changes
    return changes | {name: group for name, group in groups.items() if group}


def _merged(base: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
