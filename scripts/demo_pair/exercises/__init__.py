"""Small exercises whose answers are right by construction: repeat, sort, count, replace, add, name, write a line of code."""

from demo_pair.exercises.generator import KINDS, Exercise, exercises

__all__ = ["KINDS", "Exercise", "exercises"]
