"""Estimates from samples, and how sure they are."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._workload.quiz import RIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


def pass_at(answers: Sequence[str], k: int) -> float:
    """Estimate without bias how often one of k answers is right, from at least k of them."""
    wrong = sum(answer != RIGHT for answer in answers)
    return 1 - math.comb(wrong, k) / math.comb(len(answers), k)


def vote(answers: Sequence[str]) -> float:
    """Tell whether most answers are right; of a tie the first is taken, which for independent answers is a lot."""
    return float(Counter(answers).most_common(1)[0][0] == RIGHT)


def share(answers: Sequence[str]) -> float:
    """Return how many of the answers are right."""
    return sum(answer == RIGHT for answer in answers) / len(answers)


class Estimate(NamedTuple):
    """What repetitions of an experiment said, and what is true."""

    figure: str
    truth: float
    repetitions: Sequence[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.repetitions)

    @property
    def bias(self) -> float:
        return self.mean - self.truth

    def half_width(self, figures: int = 1) -> float:
        """Return half the interval that holds the true mean, for as many figures at once, 95 times in 100."""
        number = len(self.repetitions)
        error = statistics.stdev(self.repetitions) / math.sqrt(number)
        return error * student(1 - (1 - CONFIDENCE) / (2 * figures), number - 1)

    def is_inside(self, figures: int = 1) -> bool:
        return abs(self.bias) <= self.half_width(figures)


def student(chance: float, freedom: int) -> float:
    """Return a quantile of Student's distribution, by the expansion around the normal one."""
    z = statistics.NormalDist().inv_cdf(chance)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
