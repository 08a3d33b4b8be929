"""Words by category, and what to name when asked for some of a kind."""

from collections.abc import Iterable

from demo_pair.exercises.data import read_lines


def listed(items: Iterable[object]) -> str:
    """The items between commas."""
    return ", ".join(str(item) for item in items)


def _read(name: str) -> dict[str, tuple[str, ...]]:
    """The words behind each heading of a file; a heading may come several times."""
    found: dict[str, tuple[str, ...]] = {}
    for line in read_lines(name):
        heading, words = line.split(": ")
        found[heading] = (*found.get(heading, ()), *words.split())
    return found


WORDS = _read("exercise_words.txt")
SETS = _read("exercise_sets.txt")
NUMBERS = WORDS["number"]
