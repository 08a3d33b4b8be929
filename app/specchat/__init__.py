"""The terminal app and command line; it talks to the engine over a pipe and imports no tensor library."""

from specdec import __version__

__all__ = ["__version__"]
