"""The terminal app and command line; it talks to the engine over a pipe and imports no tensor library."""

__version__ = "0.1.0"
