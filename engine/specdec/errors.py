"""Typed errors: what went wrong in one sentence, and what to do next in another.

They cross the pipe between engine and app as `kind`, `cause` and `next_step`, so this module imports nothing heavy.
"""

from __future__ import annotations

from typing import ClassVar


class SpecError(Exception):
    """An error a user can act on; `kind` names its sort, stable across versions."""

    kind: ClassVar[str] = "failure"
    exit_code: ClassVar[int] = 1

    def __init__(self, cause: str, next_step: str = "") -> None:
        super().__init__(f"{cause} {next_step}".strip())
        self.cause = cause
        self.next_step = next_step


class RegistryError(SpecError):
    """A models.toml that cannot be read, or a pair that is not in it."""

    kind = "registry"
    exit_code = 2


class UsageError(SpecError):
    """Options that contradict each other or a value out of its range."""

    kind = "usage"
    exit_code = 2


class CheckpointError(SpecError):
    """Model files that are missing, damaged, unsafe or contradict their own config."""

    kind = "checkpoint"


class UnsupportedArchitectureError(CheckpointError):
    """A model family the engine has no decoder for."""

    kind = "architecture"


class IncompatibleDraftError(SpecError):
    """A draft that cannot serve its target; the target runs without it."""

    kind = "incompatible-draft"


class MemoryShortError(SpecError):
    """A pair that does not fit into the free memory at the asked context."""

    kind = "memory"


class ContextFullError(SpecError):
    """A prompt longer than the context, or with no room left to answer."""

    kind = "context"
    exit_code = 2


class HubError(SpecError):
    """Files that are not on disk and could not be fetched."""

    kind = "hub"


class ProtocolError(SpecError):
    """A line on the pipe that is not the protocol, or not this version of it."""

    kind = "protocol"


class EngineLostError(SpecError):
    """The engine process ended or went silent."""

    kind = "engine-lost"
