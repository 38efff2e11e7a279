"""What similar calls have lent, and what shadows say: how often lending would have been right, for each threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._similar.gates import GATES, name_of
from memollm._types.public import public
from memollm._types.tables import html_table, text_table
from memollm._upkeep.answers import answer_text
from memollm._upkeep.shadows import LATEST, Compare, ShadowReplay, answer_of, replayed
from memollm.errors import OptionError
from memollm.stores.matching import matching, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memollm._similar.gates import Gate
    from memollm._similar.replay import Replayed
    from memollm._types.calls import Call
    from memollm._upkeep.shadows import Read, Same
    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing
    from memollm.stores.matching import StoredMatch

HEAD: Final = ("threshold", "lent", "of calls", "agreed", "precision", "at least")
SURE: Final = 1.96
"""How many standard errors the lower bound is below: it holds in 39 of 40 cases."""
FEW: Final = 50
"""How many calls that lend once each should tell as much as what a threshold stands on."""


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
    """What a cache would have done that lends from a threshold on."""

    threshold: float
    lent: int
    """To so many calls it would have lent the sample of another."""
    agreed: int
    """In so many of these that agrees with the answer that the call got."""
    calls: int
    """Of so many."""
    stands_on: float = 0.0
    """How many calls that lend once each tell as much: what one lends a hundred times is right or wrong as one."""

    @property
    def precision(self) -> float:
        """The share of what would have been lent that was right."""
        return self.agreed / self.lent if self.lent else 1.0

    @property
    def at_least(self) -> float:
        """The lower end of the interval in which the precision is, as far as so few can tell (Wilson)."""
        if not self.lent:
            return 0.0
        n, share, square = self.stands_on or self.lent, self.precision, SURE * SURE
        middle, spread = share + square / (2 * n), SURE * sqrt(share * (1 - share) / n + square / (4 * n * n))
        return max(0.0, (middle - spread) / (1 + square / n))

    @property
    def tells_little(self) -> bool:
        """Whether it stands on too few calls that lent."""
        return self.stands_on < FEW

    def cells(self) -> tuple[str, ...]:
        """Write it as a row of a table."""
        told = (f"{self.precision:.1%}", f"{self.at_least:.1%}") if self.lent else ("", "")
        return (f"{self.threshold:.2f}", f"{self.lent:,}", f"{self.lent / self.calls:.0%}", f"{self.agreed:,}", *told)


def _same(line: ThresholdLine, other: ThresholdLine | None) -> bool:
    return other is not None and (other.lent, other.agreed) == (line.lent, line.agreed)


@public
@dataclass(frozen=True, slots=True, repr=False)
class SimilarReport:
    """What thresholds would have lent, from a replay of the calls that shadows looked at; prints as a table."""

    pairs: tuple[SimilarPair, ...]
    """The pairs of similar calls that were noted, whoever found them; those that were lent as well."""
    _replay: ShadowReplay
    _gates: tuple[str, ...]
    others: tuple[SimilarReport, ...] = ()
    """Of calls that other embedders looked at, the latest first: vectors of two never meet, nor do their thresholds."""
    _known: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[SimilarPair]:
        """Give the pairs."""
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def calls(self) -> int:
        """How many calls were replayed."""
        return self._replay.calls

    @property
    def embedder(self) -> str:
        """Whose vectors were compared: its name and version, and `verify` where there is one."""
        return self._replay.by

    def each(self) -> tuple[SimilarReport, ...]:
        """Return a report of each embedder alone, this one first."""
        return replace(self, others=()), *self.others

    def measures(self) -> str:
        """Say what was measured, and what was not."""
        return " ".join(_measures(self._replay, self._gates, self._known))

    def lines(self) -> list[ThresholdLine]:
        """Say of each threshold what would have been lent, and how much of that was right, the highest first."""
        return [_line(line, self._replay.calls) for line in self._replay.lines]

    def steps(self) -> list[ThresholdLine]:
        """Return of the lines that say the same the one with the lowest threshold, where anything would be lent."""
        lines = self.lines()
        lower = [*lines[1:], None] if lines else []
        return [line for line, next_one in zip(lines, lower, strict=True) if line.lent and not _same(line, next_one)]

    def threshold_for(self, precision: float) -> ThresholdLine | None:
        """Return the lowest threshold from which on every one has such a precision; None: there is none that lends."""
        found, _ = self._found(precision)
        return found

    def _found(self, precision: float) -> tuple[ThresholdLine | None, ThresholdLine | None]:
        """Return that line, and the highest one that has less, which is below it."""
        if type(precision) not in {int, float} or not 0 < precision <= 1:
            raise OptionError(f"precision={precision!r}: it must be a share above 0 and up to 1, as 0.99.")
        found: ThresholdLine | None = None
        for line in self.steps():
            if line.precision < precision:
                return found, line
            found = line
        return found, None

    def advice(self, precision: float) -> str:
        """Say which threshold to take for a precision, and how far that is to be trusted; of each embedder a line."""
        if self.others:
            return "\n".join(f"{each.embedder}: {each.advice(precision)}" for each in self.each())
        line, low = self._found(precision)
        if line is not None:
            return _advised(line)
        if low is None:
            return f"No threshold would have lent anything among {self.calls:,} calls."
        alone = [each for each in self.steps() if each.precision >= precision]
        told = f"{alone[-1].threshold:.2f} has {alone[-1].precision:.1%}, but " if alone else ""
        return (
            f"No threshold has a precision of {precision:.0%} together with all above it, among {self.calls:,} calls: "
            f"{told}of what {low.threshold:.2f} would have lent, {low.agreed:,} of {low.lent:,} are right."
        )

    def __str__(self) -> str:
        return "\n\n".join(
            f"{report.measures()}\n\n{text_table(HEAD, [line.cells() for line in report.steps()])}"
            for report in (self, *self.others)
        )

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's shape
        printer.text("…" if cycle else str(self))

    def _repr_html_(self) -> str:
        reports = (self, *self.others)
        return "".join(
            html_table(HEAD, [line.cells() for line in each.steps()], title=each.measures()) for each in reports
        )


def _advised(line: ThresholdLine) -> str:
    told = (
        f"threshold={line.threshold:.2f} would have lent to {line.lent:,} of {line.calls:,} calls, "
        f"{line.precision:.1%} of that right (at least {line.at_least:.1%}, as far as so many can tell)"
    )
    if not line.tells_little:
        return f"{told}."
    return (
        f"{told}; that is little to go by: it tells as much as {_calls(int(line.stands_on))} that would have lent "
        f"once each. Look at more, until these are {FEW}."
    )


def _line(line: Replayed, calls: int) -> ThresholdLine:
    stands_on = line.lent * line.lent / line.squares if line.squares else 0.0
    return ThresholdLine(line.threshold, line.lent, line.agreed, calls, stands_on)


def _measures(replay: ShadowReplay, gates: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    if not replay.calls:
        yield "No shadow has noted anything yet: let some calls pass with Similar(..., shadow=True)."
        if known:
            yield f"There is something of {', '.join(known)}."
        return
    asked = "all gates" if [*gates] == [*GATES] else f"the gates {', '.join(gates)}" if gates else "no gates"
    yield (
        f"A replay of {_calls(replay.calls)} in the order in which they were made, each text once: what a cache that "
        f"lends from a threshold on, with {asked}, would have lent, and whether that agrees with the answer that was "
        "made. A text that is lent to is not learned, just as in real lending."
    )
    yield f"Texts were compared by {replay.by}."
    if replay.left_out:
        yield f"These are the latest; {replay.left_out:,} before them are left out (last=)."
    if replay.unanswered:
        yield f"{_calls(replay.unanswered)} more left no answer that can be compared."
    unknown = max((line.unknown for line in replay.lines), default=0)
    if unknown:
        yield f"Up to {_calls(unknown)} count as not lent to, since verify= was not asked about what would be lent now."


def _calls(number: int) -> str:
    return f"{number:,} {'call' if number == 1 else 'calls'}"


def similar_report(
    store: Drawing,
    codec: Codec,
    *,
    function: str | None = None,
    rule: str | None = None,
    same: Same | None = None,
    gates: Iterable[str | Gate] = tuple(GATES),
    last: int = LATEST,
    read: Read | None = None,
    says_yes: Callable[[bytes, bytes], bool] | None = None,
) -> SimilarReport:
    """Replay what shadows looked at; answers are equal by `same`, or if the texts that people compare are.

    `rule` says which embedder and `verify` is meant. `read` makes of a record and its key what is compared, where
    nothing of it may be loaded, and `says_yes` what an answer of `verify` means.
    """
    if type(last) is not int or last < 1:
        raise OptionError(f"last={last!r}: it says how many calls to replay, so it must be a whole number from 1 up.")

    def is_true(record: bytes, key: bytes) -> bool:
        return bool(codec.decode(record, key))

    reads, gates = read or codec.decode, tuple(gates)
    compare = Compare(reads, says_yes or is_true, gates, same)
    matches = matching(store).matches(function)
    replays = replayed(store, matches, compare, latest=last, rule=rule) or [ShadowReplay()]
    pairs = tuple(_pairs(store, matches, reads, same or _equal))
    known = () if matches or function is None else _functions(matching(store).matches())
    first, *others = (SimilarReport(pairs, replay, tuple(map(name_of, gates)), (), known) for replay in replays)
    return replace(first, others=tuple(others))


def _functions(matches: Sequence[StoredMatch]) -> tuple[str, ...]:
    return tuple(sorted({match.call.function for match in matches}))


def noted_pairs(store: Drawing, read: Read, function: str | None = None) -> list[SimilarPair]:
    """List what was found to be similar, and replay nothing."""
    return [*_pairs(store, matching(store).matches(function), read, _equal)]


def _equal(one: Any, other: Any) -> bool:
    return answer_text(one) == answer_text(other)


def _pairs(store: Drawing, matches: Sequence[StoredMatch], read: Read, same: Same) -> Iterator[SimilarPair]:
    for match in matches:
        texts = [_text(call, match.parameter) for call in (match.call, match.of)]
        answers = [answer_of(store, call, read) for call in (match.call, match.of)]
        agreed = None if None in answers else bool(same(*(answer[0] for answer in answers if answer is not None)))
        keys = match.call.key.hex(), match.of.key.hex()
        yield SimilarPair(match.call.function, *keys, match.score, texts[0], texts[1], match.at, match.shadow, agreed)


def _text(call: Call, parameter: str) -> str:
    try:
        return parted(call.form, parameter)[0] or ""
    except ValueError:
        return ""
