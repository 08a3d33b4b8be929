"""What goes wrong while a conversation is written to a file or read from one."""

from __future__ import annotations

from specdec.errors import SpecError


class ExportError(SpecError):
    """A file that cannot be written, or that does not hold a conversation."""

    kind = "export"


class ExistsError(ExportError):
    """A file that is there already and may not be overwritten unasked."""
