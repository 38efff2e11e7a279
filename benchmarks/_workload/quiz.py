"""Tasks of which it is known exactly how often a model is right: long answers more often, and they take longer."""

from __future__ import annotations

import math
import random
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RIGHT = "right"
ANSWERS = (RIGHT, "wrong", "worse", "worst")
SHORT, LONG = 20, 1600
"""Characters; half of the answers are long."""


@cache
def when_long(task: int) -> float:
    """Return how often a long answer to a task is right; of the short ones a third as many are."""
    return random.Random(f"task {task}").uniform(0.1, 0.98)


def right(task: int) -> float:
    """Return how often an answer is right."""
    return when_long(task) * (1 + 1 / 3) / 2


@cache
def odds(task: int) -> tuple[float, ...]:
    """Return how often each of the answers is given."""
    choose = random.Random(f"mistakes of task {task}")
    weights = [choose.uniform(0.5, 2.0) for _ in ANSWERS[1:]]
    return (right(task), *((1 - right(task)) * weight / sum(weights) for weight in weights))


def play(lines: Sequence[str], choose: random.Random) -> str:
    """Answer the task whose number begins the first line."""
    task = int(lines[0].split()[0])
    long = choose.random() < 0.5
    said = "x" * round((LONG if long else SHORT) * choose.uniform(0.5, 1.5))
    if choose.random() < when_long(task) / (1 if long else 3):
        return f"{said}\n{RIGHT}"
    return f"{said}\n{choose.choices(ANSWERS[1:], odds(task)[1:])[0]}"


def verdict(answer: str) -> str:
    return answer.rpartition("\n")[2]


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def true_pass(tasks: Iterable[int], k: int) -> float:
    """Return how often one of k answers is right."""
    return mean(1 - (1 - right(task)) ** k for task in tasks)


def true_vote(tasks: Iterable[int], votes: int) -> float:
    """Return how often most of the votes are right, where a tie is decided by lot."""
    return mean(_vote(odds(task), votes) for task in tasks)


@cache
def _vote(chances: tuple[float, ...], votes: int) -> float:
    total = 0.0
    for counts in product(range(votes + 1), repeat=len(chances)):
        if sum(counts) == votes and counts[0] == max(counts):
            ways = math.factorial(votes) / math.prod(map(math.factorial, counts))
            likelihood = math.prod(chance**count for chance, count in zip(chances, counts, strict=True))
            total += ways * likelihood / counts.count(counts[0])
    return total
