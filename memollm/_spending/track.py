"""Telling what is drawn: to a block that tracks it, to the user's hook, and to the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from memollm._spending.accounts import HIT, MADE, SHARED, SIMILAR, Given, counts_of
from memollm._types.counting import Counts
from memollm._types.locks import ForkedLock
from memollm._types.public import public
from memollm._types.samples import Lent, costs_of
from memollm._types.tables import cost_text, html_table, money, seconds_text, text_table
from memollm.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG: Final = logging.getLogger("memollm")
is_logged: Final = LOG.isEnabledFor


@public
class SimilarCall(NamedTuple):
    """The call whose sample was given in the place of one's own, and how similar it is."""

    key: str
    """That call's, in hexadecimal."""
    score: float
    """The cosine of the two texts' vectors: 1 where they are alike."""
    asked: str
    stored: str
    """The two texts."""
    passed: tuple[str, ...] = ()
    """What else they agreed in."""

    def __str__(self) -> str:
        agreed = f"; gates passed: {', '.join(self.passed)}" if self.passed else ""
        return printable(f"{self.score:.3f} with {_shortened(self.stored)}{agreed}")


@public
class DrawEvent(NamedTuple):
    """A sample that was given."""

    function: str
    key: str
    """The call's key, in hexadecimal."""
    slot: int
    kind: str
    """How it was come by: "hit" (it was stored), "shared" (another draw was making it), "made", or "similar" (it
    is that of a similar call)."""
    seconds: float
    """Its share of the time in which calls were in flight, now or when it was made: these add up to time."""
    cost: float | None
    """In dollars; None where nobody knows a price."""
    input_tokens: int
    output_tokens: int
    reader: str | None
    """Who drew it: "namespace:NAME" or "run:ID"; nobody in particular where `pool=1`."""
    lane: str | None
    latency: float = 0.0
    """How long the call ran that made it, now or then."""
    similar: SimilarCall | None = None
    """Of a sample that a similar call has lent: which one."""

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", {money(self.cost)}"
        lane = "" if self.lane is None else f" in lane {self.lane}"
        return printable(
            f"{self.kind}: {self.function} {self.key[:12]} slot {self.slot} for {self.reader or 'all'}{lane} "
            f"({seconds_text(self.latency)}{cost})" + ("" if self.similar is None else f" {self.similar}")
        )


LONGEST: Final = 70
"""How much of a text is shown in a line."""


def _shortened(text: str) -> str:
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}")


class Watcher(Protocol):
    """Somebody who is told what is drawn."""

    def given(self, events: Sequence[DrawEvent], counts: Counts) -> None:
        """Take note of samples that were given, which are counted already."""
        ...

    def spent(self, counts: Counts) -> None:
        """Take note of calls that were made."""
        ...


KIND_NAMES: Final = {HIT: "hit", SHARED: "shared", MADE: "made", SIMILAR: "similar"}


def tell(given: Sequence[Given], reader: str | None, lane: str | None, watchers: Sequence[Watcher]) -> None:
    """Tell whoever listens, and the log, of samples that were given."""
    events = [_event(each, reader, lane) for each in given]
    if is_logged(logging.DEBUG):
        for event in events:
            LOG.debug("%s", event)
    if watchers and given:
        counts = counts_of(given[0])
        for each in given[1:]:
            counts = counts.plus(counts_of(each))
        for watcher in watchers:
            watcher.given(events, counts)


def similar_call(lent: Lent) -> SimilarCall:
    """Tell of a sample that was lent whose it is."""
    return SimilarCall(lent.of.key.hex(), lent.score, *lent.texts, lent.passed)


def _event(given: Given, reader: str | None, lane: str | None) -> DrawEvent:
    call, slot, costs, _, kind, *_ = given
    seconds, input_tokens, output_tokens, cost, latency = costs_of(costs)
    *_, lent = given
    similar = None
    if isinstance(lent, Lent):
        similar, call = similar_call(lent), lent.asked
    return DrawEvent(
        call.function,
        call.key.hex(),
        slot,
        KIND_NAMES[kind],
        seconds,
        cost,
        input_tokens,
        output_tokens,
        reader,
        lane,
        latency,
        similar,
    )


NUMBERS: Final = ("draws", "hits", "shared", "made", "paid", "failed", "refused", "unstored")
"""What is counted: draws are hits, shared and made; paid and failed are calls; of what was made, some is not stored."""


SIMILAR_TOO: Final = (*NUMBERS[:3], "similar", *NUMBERS[3:])
"""The same where any was lent by a similar call, which few programs let happen."""


def numbers_of(counts: Counts) -> tuple[str, ...]:
    """Return the names of what is shown of counts."""
    return SIMILAR_TOO if counts.similar else NUMBERS


class Spending(NamedTuple):
    """Time, tokens and money."""

    seconds: float
    """In which calls were in flight, shared by those in flight at once."""
    input_tokens: int
    output_tokens: int
    cost: float
    unpriced: int = 0
    """Calls whose cost nobody knows, which is missing in `cost`."""

    @property
    def tokens(self) -> int:
        """All tokens, of questions and of answers."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        cost = cost_text(self.cost, self.unpriced)
        return f"{cost}, {self.tokens:,} tokens, {seconds_text(self.seconds)}"


class Track:
    """What a block has drawn, so far or in the end."""

    def __init__(self) -> None:
        self.draws: list[DrawEvent] = []
        """Every sample that was given, in order."""
        self._counts = Counts()
        self._lock = ForkedLock()

    # As a watcher.

    def given(self, events: Sequence[DrawEvent], counts: Counts) -> None:
        """Take note of samples that were given."""
        with self._lock:
            self.draws.extend(events)
            self._add(counts)

    def spent_on(self, counts: Counts) -> None:
        """Add what calls have taken."""
        with self._lock:
            self._add(counts)

    def _add(self, counts: Counts) -> None:
        while True:
            before = self._counts
            added = before.plus(counts)
            # A signal handler that draws may have added some meanwhile.
            if self._counts is before:
                self._counts = added
                return

    # As the user sees it.

    @property
    def hits(self) -> int:
        """Samples that were stored."""
        return self._counts.hits

    @property
    def shared(self) -> int:
        """Samples that another draw was making already."""
        return self._counts.shared

    @property
    def similar(self) -> int:
        """Samples that similar calls have lent: see `DrawEvent.similar`."""
        return self._counts.similar

    @property
    def made(self) -> int:
        """Samples that calls of these draws have made."""
        return self._counts.made

    @property
    def paid(self) -> int:
        """Calls of functions that returned."""
        return self._counts.paid

    @property
    def refused(self) -> int:
        """Answers that were given and, as `accept` refused them, not kept."""
        return self._counts.refused

    @property
    def failed(self) -> int:
        """Calls that raised."""
        return self._counts.failed

    @property
    def unstored(self) -> int:
        """Answers that were given and are not kept, for whatever reason; those that were refused among them."""
        return self._counts.unstored

    @property
    def spent(self) -> Spending:
        """What the calls took."""
        return spent_of(self._counts)

    @property
    def saved(self) -> Spending:
        """What it would have taken to make anew what was stored or shared."""
        return saved_of(self._counts)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [(name, f"{getattr(self._counts, name):,}") for name in numbers_of(self._counts)]
        return [*rows, ("spent", str(self.spent)), ("saved", str(self.saved))]

    def __str__(self) -> str:
        return text_table(("tracked", ""), self._rows())

    def __repr__(self) -> str:
        counts = self._counts
        return (
            f"<track: {counts.draws} draws ({counts.hits} hits, {counts.shared} shared, "
            f"{_of_similar(counts)}{counts.made} made), {counts.paid} paid, {counts.failed} failed>"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's shape
        printer.text("…" if cycle else str(self))

    def _repr_html_(self) -> str:
        return html_table(("tracked", ""), self._rows())


def _of_similar(counts: Counts) -> str:
    """Tell what similar calls have lent, where any has."""
    return f"{counts.similar} similar, " if counts.similar else ""


def spent_of(counts: Counts) -> Spending:
    """Return what was spent."""
    tokens = counts.spent_input, counts.spent_output
    return Spending(counts.spent_seconds, *tokens, counts.spent_cost, counts.unpriced)


def saved_of(counts: Counts) -> Spending:
    """Return what was saved."""
    tokens = counts.saved_input, counts.saved_output
    return Spending(counts.saved_seconds, *tokens, counts.saved_cost, counts.saved_unpriced)


class Tracking:
    """A track as a watcher: its `spent` is what the user reads, so it cannot be what is told."""

    def __init__(self, tracked: Track) -> None:
        self.given = tracked.given
        self.spent = tracked.spent_on


class Hook:
    """The user's own function as a watcher."""

    def __init__(self, hook: Callable[[DrawEvent], Any]) -> None:
        self._hook = hook

    def given(self, events: Sequence[DrawEvent], counts: Counts) -> None:  # noqa: ARG002 - a hook counts for itself
        """Tell the hook of each; what it raises is logged, since an answer is not to be lost by telling of it."""
        for event in events:
            try:
                self._hook(event)
            except Exception:
                LOG.exception("on_draw raised for %s", event)

    def spent(self, counts: Counts) -> None:
        """Do nothing: a hook is told of samples alone."""
