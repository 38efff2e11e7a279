"""What similar calls have lent, and what shadows say: how often the answers agreed, for each threshold."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.public import public
from memollm._types.tables import html_table, text_table
from memollm._upkeep.answers import answer_text
from memollm.errors import OptionError, RecordError
from memollm.stores.matching import matching, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memollm._types.calls import Call
    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing
    from memollm.stores.matching import StoredMatch

    Same = Callable[[Any, Any], object]

HEAD: Final = ("threshold", "pairs", "lent", "agreed", "precision", "at least")
SURE: Final = 1.96
"""How many standard errors the lower bound is below: it holds in 39 of 40 cases."""
FEW: Final = 50
"""How many pairs a threshold should stand on."""
MEASURED: Final = (
    "Each pair counts by itself: one that lends knows fewer texts than one that looks, and may lend from farther ones."
)
"""What a report does not know."""
STEPS: Final = 100
"""Thresholds are told in hundredths."""


@public
class SimilarPair(NamedTuple):
    """Two similar calls: one was given the other's sample, or would have been."""

    function: str
    key: str
    """Of the call that was asked for, in hexadecimal."""
    of: str
    """Of the other."""
    score: float
    asked: str
    stored: str
    """The two texts."""
    at: float
    shadow: bool
    """It would have been: the function was called all the same."""
    agreed: bool | None = None
    """Whether the two calls have equal answers; None where one of them is not stored."""


class ThresholdLine(NamedTuple):
    """What a threshold would have meant for the pairs that were noted."""

    threshold: float
    lent: int
    """Pairs at or above it, of which both answers are stored."""
    agreed: int
    pairs: int
    """All pairs of which both are."""

    @property
    def precision(self) -> float:
        """The share of what would have been lent that was right."""
        return self.agreed / self.lent if self.lent else 1.0

    @property
    def at_least(self) -> float:
        """The lower end of the interval in which the precision is, as far as so few pairs can tell (Wilson)."""
        if not self.lent:
            return 0.0
        n, share, square = self.lent, self.precision, SURE * SURE
        middle, spread = share + square / (2 * n), SURE * sqrt(share * (1 - share) / n + square / (4 * n * n))
        return max(0.0, (middle - spread) / (1 + square / n))

    def cells(self) -> tuple[str, ...]:
        """Write it as a row of a table."""
        share = f"{self.lent / self.pairs:.0%}" if self.pairs else ""
        told = (f"{self.precision:.1%}", f"{self.at_least:.1%}") if self.lent else ("", "")
        return (f"{self.threshold:.2f}", f"{self.lent:,}", share, f"{self.agreed:,}", *told)


def _same(line: ThresholdLine, other: ThresholdLine | None) -> bool:
    return other is not None and other.lent == line.lent


@public
class SimilarReport(tuple[SimilarPair, ...]):
    """Pairs of similar calls, and what they say of thresholds; prints as a table."""

    __slots__ = ()

    def judged(self) -> list[SimilarPair]:
        """Return the pairs of which both answers are stored, so that it is known whether they agree."""
        return [pair for pair in self if pair.agreed is not None]

    def lines(self) -> list[ThresholdLine]:
        """Say of each threshold what would have been lent, and how much of that was right, the highest first."""
        judged = self.judged()
        if not judged:
            return []
        lowest = int(min(pair.score for pair in judged) * STEPS)
        return [self._line(hundredth / STEPS, judged) for hundredth in range(STEPS, lowest - 1, -1)]

    def steps(self) -> list[ThresholdLine]:
        """Return of the lines that say the same the one with the lowest threshold, where anything would be lent."""
        lines = self.lines()
        lower = [*lines[1:], None]
        return [line for line, next_one in zip(lines, lower, strict=True) if line.lent and not _same(line, next_one)]

    @staticmethod
    def _line(threshold: float, judged: Sequence[SimilarPair]) -> ThresholdLine:
        lent = [pair for pair in judged if pair.score >= threshold]
        return ThresholdLine(threshold, len(lent), sum(bool(pair.agreed) for pair in lent), len(judged))

    def threshold_for(self, precision: float) -> ThresholdLine | None:
        """Return the lowest threshold from which on every one has such a precision; None: there is none that lends."""
        if not 0 < precision <= 1:
            raise OptionError(f"precision={precision!r}: it must be a share above 0 and up to 1, as 0.99.")
        found: ThresholdLine | None = None
        for line in self.lines():
            if line.precision < precision:
                break
            found = line if line.lent else found
        return found

    def advice(self, precision: float) -> str:
        """Say which threshold to take for a precision, and how far that is to be trusted."""
        judged, line = len(self.judged()), self.threshold_for(precision)
        if line is None:
            return f"No threshold has a precision of {precision:.0%} among {judged:,} pairs."
        told = (
            f"threshold={line.threshold:.2f} would have lent {line.lent:,} of {judged:,}, {line.precision:.1%} of them "
            f"right (at least {line.at_least:.1%}, as far as so many can tell)"
        )
        few = f"; that is little to go by: let it look at {FEW} and more." if line.lent < FEW else "."
        return f"{told}{few} {MEASURED}"

    def __str__(self) -> str:
        return text_table(HEAD, [line.cells() for line in self.steps()])

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's shape
        printer.text("…" if cycle else str(self))

    def _repr_html_(self) -> str:
        return html_table(HEAD, [line.cells() for line in self.steps()])


def similar_report(
    store: Drawing,
    codec: Codec,
    *,
    function: str | None = None,
    same: Same | None = None,
    read: Callable[[bytes, bytes], Any] | None = None,
) -> SimilarReport:
    """List what was found to be similar; answers are equal by `same`, or if the texts that people compare are.

    `read` makes of a record and its key what is compared, where nothing of it may be loaded.
    """
    matches = matching(store).matches(function)
    return SimilarReport(_pairs(store, matches, read or codec.decode, same or _equal))


def _equal(one: Any, other: Any) -> bool:
    return answer_text(one) == answer_text(other)


def _pairs(
    store: Drawing, matches: Sequence[StoredMatch], read: Callable[[bytes, bytes], Any], same: Same
) -> Iterator[SimilarPair]:
    for match in matches:
        texts = [_text(call, match.parameter) for call in (match.call, match.of)]
        answers = [_answer(store, call, read) for call in (match.call, match.of)]
        agreed = None if None in answers else bool(same(*(answer[0] for answer in answers if answer is not None)))
        keys = match.call.key.hex(), match.of.key.hex()
        yield SimilarPair(match.call.function, *keys, match.score, texts[0], texts[1], match.at, match.shadow, agreed)


def _text(call: Call, parameter: str) -> str:
    try:
        return parted(call.form, parameter)[0] or ""
    except ValueError:
        return ""


def _answer(store: Drawing, call: Call, read: Callable[[bytes, bytes], Any]) -> tuple[Any] | None:
    sample = store.peek(call, [0]).get(0)
    if sample is None:
        return None
    try:
        return (read(sample.record, call.key),)
    except RecordError:
        return None
