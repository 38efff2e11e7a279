"""What the simulated model says: proposes moves, judges numbers, writes answers; with skill, and with mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._workload import quiz
from benchmarks._workload.puzzles import (
    Move,
    expression,
    is_solution,
    moves,
    numbers_of,
    read_move,
    read_numbers,
    solvable,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from fractions import Fraction

INSTRUCTIONS = {
    "propose": 820,
    "step": 430,
    "evaluate": 1040,
    "select": 1340,
    "write": 870,
    "judge": 900,
    "solve": 300,
    "quiz": 400,
}
"""Characters of instructions and examples that stand before each prompt: counted and paid for, not sent.

About as many as in the published prompts.
"""

SKILL = 3.0
"""How much more often a move is proposed after which 24 can still be made."""
MISTAKE = 0.08
"""How often a proposed line is miscalculated."""
SLIP = 0.05
"""How often a finished answer is written or judged wrongly."""

SURE, LIKELY, IMPOSSIBLE = "sure", "likely", "impossible"
OPINIONS = {  # By how many numbers are left and whether they can make 24: how often it says sure, likely, impossible.
    (1, True): (0.98, 0.0, 0.02),
    (1, False): (0.02, 0.0, 0.98),
    (2, True): (0.85, 0.08, 0.07),
    (2, False): (0.04, 0.10, 0.86),
    (3, True): (0.45, 0.40, 0.15),
    (3, False): (0.06, 0.36, 0.58),
}
AGAIN = "That is not right. Try again."


def instructions(chat: tuple[str, ...]) -> int:
    return INSTRUCTIONS[chat[0].split(maxsplit=1)[0]]


def play(chat: tuple[str, ...], choose: random.Random) -> str:
    """Answer a chat, of which the first word says what is wanted and the lines what it is about."""
    wanted, _, rest = chat[0].partition(" ")
    lines = rest.split("\n")
    if wanted == "solve":
        return solve(read_numbers(lines[0]), chat, choose)
    return PLAYS[wanted](lines, choose)


def propose(lines: Sequence[str], choose: random.Random) -> str:
    numbers = read_numbers(lines[0])
    return "\n".join(_line(move, choose) for move in _some(numbers, choose.randint(5, 8), choose))


def step(lines: Sequence[str], choose: random.Random) -> str:
    return _line(_some(read_numbers(lines[0]), 1, choose)[0], choose)


def evaluate(lines: Sequence[str], choose: random.Random) -> str:
    numbers = read_numbers(lines[0])
    tried = [move.line().partition(" (")[0] for move in _some(numbers, choose.randint(1, 5), choose)]
    odds = OPINIONS[len(numbers), solvable(numbers)]
    return "\n".join([*tried, *choose.choices((SURE, LIKELY, IMPOSSIBLE), odds)])


def select(lines: Sequence[str], choose: random.Random) -> str:
    """Choose some of the moves proposed: the first line says of what and how many."""
    wanted = int(lines[0].rpartition(" ")[2])
    scores = {number: choose.gauss(_promise(line), 0.7) for number, line in enumerate(lines[1:], 1)}
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:wanted]
    return ", ".join(map(str, sorted(best)))


def write(lines: Sequence[str], choose: random.Random) -> str:
    """Write the steps down as one expression."""
    puzzle = tuple(map(int, lines[0].split()))
    answer = expression(puzzle, lines[1:]) or " + ".join(map(str, puzzle))
    return answer if choose.random() > SLIP else answer.replace("+", "-", 1)


def judge(lines: Sequence[str], choose: random.Random) -> str:
    right = is_solution(tuple(map(int, lines[0].split())), lines[1])
    return SURE if right == (choose.random() > SLIP) else IMPOSSIBLE


def solve(numbers: tuple[Fraction, ...], chat: tuple[str, ...], choose: random.Random) -> str:
    """Answer in one go: mostly one of three typical mistakes, less often when it has seen them to be wrong."""
    seen = set(chat[1::2])
    a, b, c, d = map(str, numbers)
    mistakes = [f"{a} + {b} + {c} + {d}", f"({a} + {b}) * {c} - {d}", f"({d} - {a}) * ({c} - {b})"]
    if choose.random() < 0.1 + 0.1 * len(seen):
        return _solution(numbers)
    return choose.choices(mistakes, [0.4 if mistake in seen else 1.0 for mistake in mistakes])[0]


def _solution(numbers: tuple[Fraction, ...]) -> str:
    steps: list[str] = []
    left = numbers
    while len(left) > 1:
        move = next(move for move in moves(left) if solvable(move.rest))
        steps.append(move.line())
        left = move.rest
    return expression(tuple(map(int, numbers)), steps)


def _some(numbers: tuple[Fraction, ...], wanted: int, choose: random.Random) -> list[Move]:
    """Choose moves without repeating one, those that lead somewhere more often."""
    order = sorted(moves(numbers), key=lambda move: choose.random() ** (1 / _appeal(move)), reverse=True)
    return order[:wanted]


def _appeal(move: Move) -> float:
    plain = 1.0 if move.result.denominator == 1 and move.result >= 0 else 0.2
    return plain * (SKILL if solvable(move.rest) else 1.0)


def _promise(line: str) -> float:
    read = read_move(line)
    return float(read is not None and solvable(read[4]))


def _line(move: Move, choose: random.Random) -> str:
    if choose.random() > MISTAKE:
        return move.line()
    wrong = move.result + choose.choice((-1, 1))
    others = list(move.rest)
    others.remove(move.result)
    return move._replace(result=wrong, rest=numbers_of([*others, wrong])).line()


PLAYS = {
    "propose": propose,
    "step": step,
    "evaluate": evaluate,
    "select": select,
    "write": write,
    "judge": judge,
    "quiz": quiz.play,
}
