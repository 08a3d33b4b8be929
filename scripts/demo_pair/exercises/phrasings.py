"""The ways to ask for an exercise, by its name and by whether they are held out from training."""

from collections import defaultdict

from demo_pair.exercises.data import read_lines

HELD_OUT_MARK = "* "


def _read() -> dict[tuple[str, bool], list[str]]:
    """The phrasings below each heading in brackets."""
    found: dict[tuple[str, bool], list[str]] = defaultdict(list)
    heading = ""
    for line in read_lines("exercise_phrasings.txt"):
        if line.startswith("["):
            heading = line.strip("[]")
        else:
            text = line.removeprefix(HELD_OUT_MARK).replace("\\n", "\n")
            found[heading, line.startswith(HELD_OUT_MARK)].append(text)
    return dict(found)


PHRASINGS = _read()
