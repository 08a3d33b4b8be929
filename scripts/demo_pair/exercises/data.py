"""The text files that exercises are made of."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "demo_corpus"


def read_lines(name: str) -> list[str]:
    """The lines of a file, less empty ones and comments."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
