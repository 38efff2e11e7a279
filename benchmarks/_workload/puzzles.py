"""Game of 24: make 24 of four numbers, each used once; the moves, a solver that is exact, and a judge of answers."""

from __future__ import annotations

import ast
import itertools
import operator
import random
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

GOAL = 24
LARGEST = 13
Numbers = tuple[Fraction, ...]
"""What is left of a puzzle, sorted."""

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class Move(NamedTuple):
    """Two numbers are taken away and their result is put back."""

    left: Fraction
    sign: str
    right: Fraction
    result: Fraction
    rest: Numbers

    def line(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.result} (left: {text_of(self.rest)})"


def numbers_of(values: Iterable[Fraction | int]) -> Numbers:
    return tuple(sorted(map(Fraction, values)))


def text_of(numbers: Iterable[Fraction | int]) -> str:
    return " ".join(map(str, numbers))


def read_numbers(text: str) -> Numbers:
    return numbers_of(Fraction(word) for word in text.split())


@cache
def moves(numbers: Numbers) -> tuple[Move, ...]:
    """List the moves, each once."""
    found = {}
    for (i, a), (j, b) in itertools.permutations(enumerate(numbers), 2):
        others = [value for at, value in enumerate(numbers) if at not in {i, j}]
        for sign, operation in OPERATIONS.items():
            if (sign in "+*" and i > j) or (sign == "/" and not b):
                continue
            result = operation(a, b)
            move = Move(a, sign, b, result, numbers_of([*others, result]))
            found[move.line()] = move
    return tuple(found.values())


@cache
def solvable(numbers: Numbers) -> bool:
    """Tell whether 24 can be made, by trying everything."""
    if len(numbers) == 1:
        return numbers[0] == GOAL
    return any(solvable(move.rest) for move in moves(numbers))


def all_hands() -> list[tuple[int, ...]]:
    """List what four numbers from 1 to 13 there are."""
    return list(itertools.combinations_with_replacement(range(1, LARGEST + 1), 4))


def some_puzzles(number: int, seed: int = 24) -> list[tuple[int, ...]]:
    """Choose hands that have a solution, always the same ones; a smaller number is the beginning of a larger one."""
    shuffled = all_hands()
    random.Random(seed).shuffle(shuffled)
    return list(itertools.islice((hand for hand in shuffled if solvable(numbers_of(hand))), number))


def read_move(line: str) -> tuple[str, str, str, str, Numbers] | None:
    """Read a line such as `2 + 8 = 10 (left: 8 10 14)` as operands, sign, result and rest, believing what it says."""
    words, found, rest = line.partition(" (left: ")
    parts = words.split()
    if not found or len(parts) != 5 or parts[1] not in OPERATIONS:
        return None
    return parts[0], parts[1], parts[2], parts[4], read_numbers(rest.rstrip(")"))


def expression(puzzle: tuple[int, ...], steps: Iterable[str]) -> str:
    """Write the steps as one expression of the puzzle's numbers."""
    formulas = [(str(number), str(number)) for number in puzzle]
    for step in steps:
        read = read_move(step)
        if read is None:
            return ""
        left, sign, right, result, _ = read
        try:
            taken = [
                formulas.pop(next(at for at, (value, _) in enumerate(formulas) if value == operand))
                for operand in (left, right)
            ]
        except StopIteration:
            return ""
        formulas.append((result, f"({taken[0][1]} {sign} {taken[1][1]})"))
    return formulas[0][1] if len(formulas) == 1 else ""


def is_solution(puzzle: tuple[int, ...], answer: str) -> bool:
    """Tell whether an expression uses the puzzle's numbers, each once, and is 24."""
    try:
        tree = ast.parse(answer, mode="eval").body
        used: list[int] = []
        return _value(tree, used) == GOAL and sorted(used) == sorted(puzzle)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return False


_SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def _value(node: ast.expr, used: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_value(node.left, used), _value(node.right, used))
    raise ValueError("An answer holds whole numbers and the four operations, nothing else.")
