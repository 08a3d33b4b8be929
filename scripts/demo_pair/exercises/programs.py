"""Exercises that ask for a few lines of Python."""

from demo_pair.exercises.draw import Draw, Exchange
from demo_pair.exercises.words import listed

# What the code does, and the code, where there is no choice of words or numbers.
FUNCTIONS = (
    ("has a function that adds two numbers", "def add(a, b):\n    return a + b"),
    ("has a function that subtracts two numbers", "def subtract(a, b):\n    return a - b"),
    ("has a function that multiplies two numbers", "def multiply(a, b):\n    return a * b"),
    ("has a function that doubles a number", "def double(x):\n    return 2 * x"),
    ("has a function that gives the square of a number", "def square(x):\n    return x * x"),
    ("has a function that tells if a number is even", "def is_even(n):\n    return n % 2 == 0"),
    ("has a function that gives the bigger of two numbers", "def bigger(a, b):\n    return max(a, b)"),
    ("has a function that reverses a text", "def reverse(text):\n    return text[::-1]"),
)


def code(draw: Draw) -> Exchange:
    """Write the code for a description."""
    description, lines = draw.rng.choice(snippets(draw))
    return draw.ask("code", d=description), f"```python\n{lines}\n```"


def snippets(draw: Draw) -> list[tuple[str, str]]:
    """Every description with its code, for words and numbers that are drawn once for all."""
    text = draw.rng.choice((draw.noun(), draw.sentence()[0].rstrip(".")))
    word, words = draw.noun(), draw.nouns(3, 4)
    numbers = draw.numbers(3, 4)
    a, b = draw.summands()
    n = draw.rng.choice([number for number in range(2, 13) if (number % 5 == 3) == draw.held_out])
    name = draw.word("name")
    quoted = "[" + listed(f'"{each}"' for each in words) + "]"
    return [
        (f'prints "{text}"', f'print("{text}")'),
        (f"prints the word {word}", f'print("{word}")'),
        (f"prints the number {n}", f"print({n})"),
        (f"adds {a} and {b} and prints the result", f"print({a} + {b})"),
        (f"prints the numbers from 0 to {n - 1}", f"for i in range({n}):\n    print(i)"),
        (f"prints the numbers from 1 to {n}", f"for i in range(1, {n + 1}):\n    print(i)"),
        (f"counts down from {n} to 1", f"for i in range({n}, 0, -1):\n    print(i)"),
        (f"prints {word} {n} times", f'for i in range({n}):\n    print("{word}")'),
        (f"goes over the list {listed(words)} and prints each word", f"for word in {quoted}:\n    print(word)"),
        *FUNCTIONS,
        (f"makes a list of the squares from 1 to {n}", f"squares = [x * x for x in range(1, {n + 1})]"),
        (f"makes a list of the words {listed(words)}", f"words = {quoted}"),
        (f"adds the numbers {listed(numbers)}", f"print(sum({numbers}))"),
        (f"prints the biggest of {listed(numbers)}", f"print(max({numbers}))"),
        (f"prints the smallest of {listed(numbers)}", f"print(min({numbers}))"),
        (f"sorts the numbers {listed(numbers)}", f"print(sorted({numbers}))"),
        (f"sorts the words {listed(words)}", f"print(sorted({quoted}))"),
        (f"prints how long the word {word} is", f'print(len("{word}"))'),
        (f"prints {word} in upper case", f'print("{word}".upper())'),
        (f"prints the word {word} backwards", f'print("{word}"[::-1])'),
        (f"says hello to {name}", f'name = "{name}"\nprint("Hello, " + name)'),
        ("asks for a name and says hello", 'name = input("Your name: ")\nprint("Hello, " + name)'),
        (f"prints yes if {a} is bigger than {b}", f'if {a} > {b}:\n    print("yes")'),
    ]
