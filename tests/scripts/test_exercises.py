"""The exercises for the demo pair: the same ones for the same seed, none both trained on and held out, and every answer right."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import pytest

from demo_pair.exercises import KINDS, Exercise, exercises
from demo_pair.exercises.phrasings import PHRASINGS
from demo_pair.exercises.words import NUMBERS, SETS

COUNT = 3400
BOTH = pytest.mark.parametrize("held_out", [False, True])
GREETINGS = r"(?:(?:Hi!|Hello\.|OK\.|Please help me\.) )?"
PLACES = {"first": 0, "second": 1, "third": 2, "last": -1}
VALUES = {"a": r"(?:an? )?\w+", "b": r"\w+", "n": r"\w+", "w": r"[\w ]+", "c": r"\w+", "which": r"\w+", "old": r"\w+", "new": r"\w+"}


def items(text: str) -> list[str]:
    """The words of a list, whatever stands between them."""
    return [word for word in re.findall(r"\w+", text) if word != "and"]


def number(text: str) -> int:
    """A number in digits or as a word."""
    return int(text) if text.isdecimal() else NUMBERS.index(text.lower())


def joined(values: list[str]) -> str:
    return ", ".join(values)


def in_order(text: str, factor: int) -> str:
    return joined(sorted(items(text), key=lambda each: factor * int(each)))


def replaced(x: str, old: str, new: str) -> str:
    return "".join(new if token == old else token for token in re.findall(r"\w+|\W+", x))


def filled(x: str, slots: str) -> str:
    values = dict(slot.split(" = ") for slot in slots.split(", "))
    return re.sub(r"[\[<{]?\b([A-Z]{2,})\b[\]>}]?", lambda gap: values[gap[1]], x)


def plus(a: str, b: str) -> str:
    return f"{number(a)} + {number(b)} = {number(a) + number(b)}"


def minus(a: str, b: str) -> str:
    return f"{number(a)} - {number(b)} = {number(a) - number(b)}"


def told(equation: str) -> str:
    return f"{equation}, so the answer is {equation.split()[-1]}."


def yes_or_no(yes: bool) -> str:
    return "Yes." if yes else "No."


# The right answer to a prompt in a phrasing, by the phrasing's name, from the values in the phrasing's places.
ANSWERS: dict[str, Callable[[dict[str, str]], str]] = {
    "repeat": lambda v: v["x"],
    "repeat_times": lambda v: " ".join(v["x"] for _ in range(number(v["n"]))),
    "sort_words": lambda v: joined(sorted(items(v["x"]))),
    "sort_numbers": lambda v: in_order(v["x"], 1),
    "sort_numbers_down": lambda v: in_order(v["x"], -1),
    "count": lambda v: str(len(items(v["x"]))),
    "count_words": lambda v: str(v["x"].count(" ") + 1),
    "item": lambda v: items(v["x"])[PLACES[v["which"]]],
    "reverse": lambda v: joined(list(reversed(items(v["x"])))),
    "upper": lambda v: v["x"].upper(),
    "lower": lambda v: v["x"].lower(),
    "quote": lambda v: f'"{v["x"]}"',
    "replace": lambda v: replaced(v["x"], v["old"], v["new"]),
    "fill": lambda v: filled(v["x"], v["slots"]),
    "yes_no": lambda v: yes_or_no(v.get("w", v.get("a", "")).split()[-1] in items(v["x"])),
    "yes_no_colour": lambda v: yes_or_no(f" {v['c']} " in v["x"]),
    "sum": lambda v: plus(v["a"], v["b"]),
    "difference": lambda v: minus(v["a"], v["b"]),
    "more": lambda v: told(plus(v["a"], v["b"])),
    "less": lambda v: told(minus(v["a"], v["b"])),
    "bigger": lambda v: str(max(int(v["a"]), int(v["b"]))),
    "smaller": lambda v: str(min(int(v["a"]), int(v["b"]))),
    "next": lambda v: f"After {v['a']} comes {int(v['a']) + 1}.",
}
KIND_PHRASINGS = {
    "sort_numbers": ["sort_numbers", "sort_numbers_down"],
    "count": ["count", "count_words"],
    "case": ["upper", "lower"],
    "yes_no": ["yes_no", "yes_no_colour"],
    "sum": ["sum", "difference", "more", "less"],
    "compare": ["bigger", "smaller", "next"],
}
LIST_OR_SENTENCE = ["repeat", "sort_words", "reverse"]
# The answer to a later prompt, from the one before it.
LATER_ANSWERS: dict[str, Callable[[str], str]] = {
    "reverse": lambda before: joined(items(before)[::-1]),
    "sort": lambda before: joined(sorted(items(before))),
    "count": lambda before: str(before.count(",") + 1),
    "first": lambda before: items(before)[0],
    "last": lambda before: items(before)[-1],
    "upper": str.upper,
    "lower": str.lower,
    "again": str,
    "quote": lambda before: '"' + before.strip('"') + '"',
}


@cache
def pattern(phrasing: str) -> re.Pattern[str]:
    """Matches the prompts in a phrasing, also with a greeting or without its end mark."""
    text = re.sub(r"(?:\\ )?(\\\.|\\\?)$", r"(?: ?\1)?", re.escape(phrasing))
    for place in dict.fromkeys(re.findall(r"\\{(\w+)\\}", text)):
        gap = rf"\{{{place}\}}"
        text = text.replace(gap, f"(?P<{place}>{VALUES.get(place, '.+?')})", 1).replace(gap, f"(?P={place})")
    return re.compile(GREETINGS + text.replace(r"\ (?P<x>", r"\s(?P<x>"), re.IGNORECASE | re.DOTALL)


def understood(prompt: str, names: list[str], held_out: bool) -> tuple[str, dict[str, str]]:
    """The name of the phrasing that a prompt is in, and the values in its places; of several phrasings the one that says most."""
    phrasings = [(name, pattern(phrasing)) for name in names for phrasing in PHRASINGS[name, held_out]]
    matches = [(name, match.groupdict()) for name, wanted in phrasings if (match := wanted.fullmatch(prompt))]
    assert matches, prompt
    return min(matches, key=lambda match: sum(map(len, match[1].values())))


def of_kind(kind: str, held_out: bool) -> list[Exercise]:
    return [exercise for exercise in exercises(COUNT, 1, held_out) if exercise.kind == kind]


def exchanges(exercise: Exercise) -> list[tuple[str, str]]:
    """The prompts, each with its answer."""
    texts = [message["content"] for message in exercise.messages]
    return list(zip(texts[::2], texts[1::2], strict=True))


def test_the_seed_decides() -> None:
    assert list(exercises(500, 3)) == list(exercises(500, 3))
    assert list(exercises(500, 3)) != list(exercises(500, 4))
    assert list(exercises(500, 3)) == list(exercises(1000, 3))[:500]


def test_nothing_is_both_trained_on_and_held_out() -> None:
    trained, held_out = ({exchanges(each)[0] for each in exercises(COUNT, 1, held_out)} for held_out in (False, True))
    assert not trained & held_out
    for name, _ in PHRASINGS:
        assert PHRASINGS[name, False]
        assert PHRASINGS[name, True]
        assert not {*PHRASINGS[name, False]} & {*PHRASINGS[name, True]}, name


@BOTH
def test_kinds_come_in_turn_as_well_formed_chats(held_out: bool) -> None:
    found = list(exercises(COUNT, 1, held_out))
    assert [exercise.kind for exercise in found] == [KINDS[index % len(KINDS)] for index in range(COUNT)]
    for exercise in found:
        roles = [message["role"] for message in exercise.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        for message in exercise.messages:
            text = message["content"]
            assert text.isascii()
            assert text.replace("\n", "").isprintable(), text
            assert text == text.strip() != ""


def test_no_exercise_opens_like_another() -> None:
    prompts = [exchanges(exercise)[0][0] for exercise in exercises(COUNT, 1)]
    assert len({*prompts}) == COUNT


@BOTH
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("name", "code", "follow_up")])
def test_an_answer_is_right(kind: str, held_out: bool) -> None:
    for exercise in of_kind(kind, held_out):
        ((prompt, answer),) = exchanges(exercise)
        name, values = understood(prompt, KIND_PHRASINGS.get(kind, [kind]), held_out)
        assert answer == ANSWERS[name](values), prompt


@BOTH
def test_as_many_of_a_kind_are_named_as_are_asked_for(held_out: bool) -> None:
    for exercise in of_kind("name", held_out):
        ((prompt, answer),) = exchanges(exercise)
        request, form = re.fullmatch(r"(.*?)( Write one in each line\.| Use a bullet list\.)?", prompt, re.DOTALL).groups("")  # type: ignore[union-attr]
        _, values = understood(request, ["name"], held_out)
        named = items(answer)
        assert len({*named}) == number(values["n"]), prompt
        assert {*named} <= {*SETS[values["w"]]}, prompt
        start, separator = {"": ("", ", "), " Write one in each line.": ("", "\n")}.get(form, ("- ", "\n- "))
        assert answer == start + separator.join(named)


@BOTH
def test_every_turn_follows_from_the_one_before(held_out: bool) -> None:
    for exercise in of_kind("follow_up", held_out):
        (prompt, before), *later = exchanges(exercise)
        name, values = understood(prompt, LIST_OR_SENTENCE, held_out)
        assert before == ANSWERS[name](values), prompt
        for prompt, answer in later:
            name, _ = understood(prompt, [f"then_{step}" for step in LATER_ANSWERS], held_out)
            assert answer == LATER_ANSWERS[name.removeprefix("then_")](before), prompt
            before = answer
