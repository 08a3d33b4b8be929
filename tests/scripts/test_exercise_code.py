"""The Python code in the exercises runs, and does what its description says."""

from __future__ import annotations

import contextlib
import io
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from demo_pair.exercises.draw import Draw
from demo_pair.exercises.programs import snippets

# A description, and what its code prints, from the values in brackets.
PRINTED: dict[str, Callable[..., str]] = {
    'prints "(.+)"': str,
    r"prints the word (\w+)": str,
    r"prints the number (\d+)": str,
    r"adds (\d+) and (\d+) and prints the result": lambda a, b: str(int(a) + int(b)),
    r"prints the numbers from (\d+) to (\d+)": lambda first, last: "\n".join(map(str, range(int(first), int(last) + 1))),
    r"counts down from (\d+) to 1": lambda first: "\n".join(map(str, reversed(range(1, int(first) + 1)))),
    r"prints (\w+) (\d+) times": lambda word, times: "\n".join([word] * int(times)),
    "goes over the list (.+) and prints each word": lambda words: words.replace(", ", "\n"),
    "adds the numbers (.+)": lambda numbers: str(sum(map(int, numbers.split(", ")))),
    "prints the biggest of (.+)": lambda numbers: max(numbers.split(", "), key=int),
    "prints the smallest of (.+)": lambda numbers: min(numbers.split(", "), key=int),
    "sorts the numbers (.+)": lambda numbers: f"[{', '.join(sorted(numbers.split(', '), key=int))}]",
    "sorts the words (.+)": lambda words: str(sorted(words.split(", "))),
    r"prints how long the word (\w+) is": lambda word: str(len(word)),
    r"prints (\w+) in upper case": str.upper,
    r"prints the word (\w+) backwards": lambda word: "".join(reversed(word)),
    r"says hello to (\w+)": lambda name: f"Hello, {name}",
    "asks for a name and says hello": lambda: "Hello, Ada",
    r"prints yes if (\d+) is bigger than (\d+)": lambda a, b: "yes" if int(a) > int(b) else "",
}
# A description, and what its code leaves behind.
MADE: dict[str, Callable[..., tuple[str, object]]] = {
    r"makes a list of the squares from 1 to (\d+)": lambda last: ("squares", [number**2 for number in range(1, int(last) + 1)]),
    "makes a list of the words (.+)": lambda words: ("words", words.split(", ")),
}
FUNCTIONS: dict[str, tuple[str, list[tuple[tuple[Any, ...], object]]]] = {
    "adds two numbers": ("add", [((2, 3), 5), ((-1, 1), 0)]),
    "subtracts two numbers": ("subtract", [((6, 2), 4), ((2, 6), -4)]),
    "multiplies two numbers": ("multiply", [((2, 3), 6), ((0, 3), 0)]),
    "doubles a number": ("double", [((4,), 8), ((-1,), -2)]),
    "gives the square of a number": ("square", [((3,), 9), ((-3,), 9)]),
    "tells if a number is even": ("is_even", [((4,), True), ((7,), False)]),
    "gives the bigger of two numbers": ("bigger", [((7, 3), 7), ((3, 7), 7)]),
    "reverses a text": ("reverse", [(("abc",), "cba"), (("",), "")]),
}


def ran(code: str) -> tuple[str, dict[str, Any]]:
    """What the code prints, and the names that it leaves behind; whoever is asked for a name is called Ada."""
    scope: dict[str, Any] = {"input": lambda _: "Ada"}
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, scope)
    return output.getvalue(), scope


def check(description: str, code: str) -> None:
    """Runs the code and compares what it does with its description."""
    printed, scope = ran(code)
    if description.startswith("has a function that "):
        name, calls = FUNCTIONS[description.removeprefix("has a function that ")]
        assert [scope[name](*arguments) for arguments, _ in calls] == [value for _, value in calls]
        assert not printed
        return
    for wanted, output in PRINTED.items():
        if match := re.fullmatch(wanted, description):
            text = output(*match.groups())
            assert printed == (f"{text}\n" if text else "")
            return
    made = [value(*match.groups()) for wanted, value in MADE.items() if (match := re.fullmatch(wanted, description))]
    assert [scope[name] for name, _ in made] == [value for _, value in made] != [], description
    assert not printed


@pytest.mark.parametrize("held_out", [False, True])
def test_code_does_what_its_description_says(held_out: bool) -> None:
    for seed in range(40):
        for description, code in snippets(Draw(random.Random(seed), "code", held_out)):
            check(description, code)
