"""Counting what is drawn, what it cost and what it saved, without a draw that waits for it.

A draw leaves a note in its function's books. A thread of ours adds the notes up about once a second and hands them to
the store; so does the end of the program.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._spending.order import in_order
from memollm._types.calls import Call
from memollm._types.counting import Account, Counts, DrawnStretch, Use
from memollm._types.locks import ThreadLock
from memollm._types.samples import Costs, Lent, costs_of
from memollm.errors import StoreError, StoreRefused
from memollm.stores.keeping import keeping
from memollm.stores.transcripts import transcribing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from memollm.stores.drawing import Drawing

BETWEEN: Final = 1.0
"""Seconds between a note and its handing over, about."""
MOST_KEPT: Final = 10_000
"""How many accounts and uses are kept for a store that does not take them."""
MOST_DRAWN: Final = 100_000
"""How many draws are kept for such a store, and how many memoized calls of a function are known to be noted."""
SET: Final = 1.0
"""By how many seconds a clock is off that was set, or stood still while the machine slept."""
AT_ONE_TIME: Final = 2000
"""How many uses are counted, and draws written down, in one transaction, for which others wait."""
HIT, SHARED, MADE, SIMILAR = range(4)
"""How a sample was come by: it was stored; another draw was making it; this draw made it; a similar call's was lent."""
KINDS: Final = (Counts(draws=1, hits=1), Counts(draws=1, shared=1), Counts(draws=1, made=1), Counts(draws=1))

SOME_TIME, NOT_KEPT = 0.0, -1.0
"""When a sample was asked for: nobody looked at the clock; it has no place in a store."""

Given = (
    tuple[Call, int, Costs, float, int, float, "str | None"]
    | tuple[Call, int, Costs, float, int, float, "str | None", Lent]
)
"""A note: a sample of a call was given, of which slot; what making it took; what giving it took, if timed; how; when it
was asked for, on the clock of `perf_counter`; and in which lane. What was lent is noted of the call whose it is."""


Bundle = tuple[int, "dict[Account, Counts]", "list[Use]"]
"""What is handed over under an id."""


class Toll(NamedTuple):
    """What a call of a function took, or a part of it."""

    calls: int = 1
    seconds: float = 0.0
    """Its share of the time in which calls were in flight."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    unpriced: int = 0
    """How many calls cost what nobody knows."""
    latency: float = 0.0
    """How long the call ran itself."""

    @property
    def costs(self) -> Costs:
        """What it took, as it stands beside a sample."""
        return (self.seconds, self.input_tokens, self.output_tokens, self.cost, self.latency)

    def shares(self, k: int) -> list[Toll]:
        """Divide it among the k samples that the call made, so that the parts add up to it; each has its latency."""
        if k == 1:
            return [self]
        of_input, of_output = _divided(self.input_tokens, k), _divided(self.output_tokens, k)
        cost = None if self.cost is None else self.cost / k
        return [
            Toll(
                self.calls if index == 0 else 0,
                self.seconds / k,
                next(of_input),
                next(of_output),
                cost,
                self.unpriced if index == 0 else 0,
                self.latency,
            )
            for index in range(k)
        ]

    def counts(self) -> Counts:
        """Count it as spent."""
        return Counts(
            paid=self.calls,
            unpriced=self.unpriced,
            spent_seconds=self.seconds,
            spent_input=self.input_tokens,
            spent_output=self.output_tokens,
            spent_cost=self.cost or 0.0,
        )


class Told(NamedTuple):
    """What is known of what a call took."""

    toll: Toll
    failure: Exception | None = None
    """What to raise when the answers are kept: a warning where these are errors, or why some answers are missing."""
    failed: int = 0
    """Whether calls raised beside those that made the answers."""


NO_PART: Final = Toll(0)
"""What somebody pays who has got nothing."""


def joined(tolls: Sequence[Toll]) -> Toll:
    """Add the parts of calls up; a sum of which a part is not known is not known."""
    costs = [toll.cost for toll in tolls if toll.cost is not None]
    is_known = len(costs) == len(tolls)
    return Toll(
        sum(toll.calls for toll in tolls),
        sum(toll.seconds for toll in tolls),
        sum(toll.input_tokens for toll in tolls),
        sum(toll.output_tokens for toll in tolls),
        sum(costs) if is_known else None,
        0 if is_known else sum(toll.calls for toll in tolls),
        max((toll.latency for toll in tolls), default=0.0),
    )


def _divided(whole: int, k: int) -> Iterator[int]:
    each, rest = divmod(whole, k)
    return (each + (index < rest) for index in range(k))


def counts_of(given: Given, times: int = 1) -> Counts:
    """Count a sample as given so many times."""
    _, _, costs, took, kind, *_ = given
    seconds, input_tokens, output_tokens, cost, _ = costs_of(costs)
    counts = KINDS[kind]
    if kind != MADE:
        counts = counts._replace(
            timed=int(took > 0),
            timed_seconds=took,
            saved_seconds=seconds,
            saved_input=input_tokens,
            saved_output=output_tokens,
            saved_cost=cost or 0.0,
            saved_unpriced=int(cost is None),
        )
    return counts if times == 1 else Counts._make(value * times for value in counts)


class Books:
    """What the draws of one function by one reader leave behind."""

    __slots__ = (
        "_keeper",
        "_later",
        "_namespace",
        "_opened",
        "_placed",
        "_run",
        "_spent",
        "given",
        "is_open",
        "reader",
    )

    def __init__(self, keeper: Keeper, reader: str | None, namespace: str | None, run: str) -> None:
        self._keeper = keeper
        self._namespace = namespace
        self._run = run
        self.reader = reader
        self.given: list[Given] = []
        self._later: list[tuple[float, Sequence[Given]]] = []
        """Notes of draws that took their time, by when each was asked for."""
        self._spent: list[tuple[str, Counts]] = []
        self.is_open = False
        """Whether the keeper knows that there is something to hand over."""
        self._opened = 0.0
        self._placed: set[Call] = set()
        """The memoized calls that stand in the run's transcript already."""

    # What is noted is noted first and the books are opened then: whoever closes them meanwhile does these in the other
    # order, so that nothing is left in closed books.

    def note(self, given: Sequence[Given], asked: float | None = None) -> None:
        """Note samples that were given; where that took its time, they were used when they were asked for (P13)."""
        if asked is None:
            self.given += given
        else:
            self._later.append((asked, given))
        if not self.is_open:
            self.open()

    def spend(self, function: str, counts: Counts) -> None:
        """Note what a function did besides."""
        self._spent.append((function, counts))
        if not self.is_open:
            self.open()

    def open(self) -> None:
        """Have what is noted handed over some time."""
        self.is_open = True
        self._opened = time.perf_counter()
        self._keeper.open(self)

    def close(
        self, clock: Callable[[], float], to_now: float = 0.0
    ) -> tuple[dict[Account, Counts], list[Use], list[DrawnStretch]]:
        """Add up what was noted, and begin anew; `to_now` makes times of those of `perf_counter`."""
        self.is_open, opened = False, self._opened
        given, later, spent = self._taken()
        now = clock()
        day = time.strftime("%Y-%m-%d", time.localtime(now))
        counts: dict[Account, Counts] = {}

        def add(function: str, more: Counts) -> None:
            account = Account(day, self._run, self._namespace or "", function)
            counts[account] = counts.get(account, Counts()).plus(more)

        for function, more in spent:
            add(function, more)
        # A memoized sample leaves the same note each time.
        noted = {id(each): each for each in given}
        used: dict[Call, float] = {}
        slots: dict[Call, set[int]] = {}
        for number, times in Counter(map(id, given)).items():
            call, slot, *_ = each = noted[number]
            add(call.function, counts_of(each, times))
            slots.setdefault(call, set()).add(slot)
            used[call] = now
        for asked, some in later:
            for each in some:
                call, slot, *_ = each
                add(call.function, counts_of(each))
                slots.setdefault(call, set()).add(slot)
                used[call] = max(used.get(call, asked), asked)
        run = None if self._namespace is None and self.reader is not None else self._run
        uses = [Use(run, call, *each, used[call]) for call, of in slots.items() for each in stretches(of)]
        drawn = self._drawn(chain(*(some for _, some in later), noted.values()), to_now, opened)
        return counts, uses, drawn

    def _drawn(self, notes: Iterable[Given], to_now: float, opened: float) -> list[DrawnStretch]:
        """Tell when each sample was asked for; of a memoized one only the first time in a run."""
        drawn: list[DrawnStretch] = []
        for call, slot, _, _, _, begin, lane, *_ in notes:
            if begin == SOME_TIME and call in self._placed:
                continue
            if self.reader is None:
                if len(self._placed) >= MOST_DRAWN:
                    self._placed.clear()
                self._placed.add(call)
            if begin != NOT_KEPT:
                at = to_now + (opened if begin == SOME_TIME else begin)
                drawn.append(DrawnStretch(self._run, self._namespace or "", lane or "", call, slot, slot, at))
        return drawn

    def _taken(self) -> tuple[list[Given], list[tuple[float, Sequence[Given]]], list[tuple[str, Counts]]]:
        # Others may append meanwhile; what is taken is just what was there.
        given, later, spent = self.given[:], self._later[:], self._spent[:]
        del self.given[: len(given)], self._later[: len(later)], self._spent[: len(spent)]
        return given, later, spent


def stretches(numbers: set[int]) -> Iterator[tuple[int, int]]:
    """Give the stretches of consecutive numbers, first and last of each."""
    first = last = None
    for number in sorted(numbers):
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last


class Keeper:
    """Hands over to the store what the books of this process say."""

    def __init__(self, store: Drawing, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self._open: dict[int, Books] = {}
        self._counts: dict[Account, Counts] = {}
        self._uses: list[Use] = []
        self._drawn: list[DrawnStretch] = []
        self._offset = 0.0
        self._handed: list[Bundle] = []
        """What is handed over, as long as it is not known whether the store has it."""
        writing = ThreadLock()
        self._writing, self._is_writing = writing.lock, writing.mine
        self._due: float | None = None
        self.has_paid = False
        """Whether any call was made."""

    def open(self, books: Books) -> None:
        """Know that books have something to hand over."""
        self._open[id(books)] = books
        if self._due is None:
            self._due = time.monotonic() + BETWEEN
            self._wake()

    def due_in(self) -> float | None:
        """Tell in how many seconds something is to be handed over, if there is anything."""
        return None if self._due is None else self._due - time.monotonic()

    def hand_over(self) -> None:
        """Hand over all that was noted so far; what the store does not take now is tried again with the next."""
        if self._is_writing():
            # Whoever has interrupted this thread leaves it to it.
            return
        with self._writing:
            self._due, to_now = None, self._to_now()
            while self._open:
                with suppress(KeyError):
                    counts, uses, drawn = self._open.popitem()[1].close(self._clock, to_now)
                    self._add(counts)
                    self._uses += uses
                    self._drawn += drawn
            while self._handed or self._counts or self._uses:
                if not self._deliver():
                    return
            self._write_down()

    def _deliver(self) -> bool:
        """Hand over bundles, each of which stays as it is until the store has it: asked again, it counts once."""
        if not self._handed:
            self._handed = self._bundles()
            self._counts, self._uses = {}, []
        try:
            while self._handed:
                keeping(self._store).count(*self._handed[0])
                del self._handed[0]
        except StoreRefused:
            # It keeps no counts.
            self._handed = []
        except StoreError:
            self._limit()
            return False
        return True

    def _bundles(self) -> list[Bundle]:
        """Divide what is to be handed over, so that nobody waits long for any of it."""
        counts, new_id = list(self._counts.items()), self._store.flights.new_id
        return [
            (new_id(), dict(counts[first : first + AT_ONE_TIME]), self._uses[first : first + AT_ONE_TIME])
            for first in range(0, max(len(counts), len(self._uses)), AT_ONE_TIME)
        ]

    def _to_now(self) -> float:
        """Return what makes times of those of `perf_counter`: the same each time, unless the clock was set."""
        to_now = self._clock() - time.perf_counter()
        if abs(to_now - self._offset) > SET:
            self._offset = to_now
        return self._offset

    def _write_down(self) -> None:
        """Write down in which order samples were asked for, where the store keeps that."""
        found, drawn, self._drawn = transcribing(self._store), in_order(self._drawn), []
        if found is None:
            return
        for first in range(0, len(drawn), AT_ONE_TIME):
            try:
                found.transcribe(drawn[first : first + AT_ONE_TIME])
            except StoreRefused:
                return
            except StoreError:
                self._drawn = drawn[first:]
                self._limit()
                return

    def _limit(self) -> None:
        if len(self._counts) + len(self._uses) > MOST_KEPT:
            self._counts, self._uses = {}, []
        if len(self._drawn) > MOST_DRAWN:
            self._drawn = []

    def _add(self, counts: Mapping[Account, Counts]) -> None:
        for account, more in counts.items():
            self.has_paid |= more.paid > 0
            self._counts[account] = self._counts.get(account, Counts()).plus(more)
