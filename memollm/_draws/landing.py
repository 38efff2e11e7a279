"""What becomes of the answers of a draw's flights: the bill, `accept`, the records, and who may have the slots next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from memollm._draws.amiss import judged, wrong_number
from memollm._draws.effects import Do, Outdated
from memollm._draws.slots import Fleeting, Made, Unstored
from memollm._draws.waits import ended
from memollm._spending.bill import told_of
from memollm._types.counting import Counts
from memollm._types.hiding import hides
from memollm._types.requests import Fill, Release, Write
from memollm._types.samples import EVER, MINE, Busy, Lent, Mine, Sample
from memollm._values.weight import is_large
from memollm.errors import NotStoredWarning, StoreError, UncacheableResult, WrongNumber

if TYPE_CHECKING:
    from collections.abc import Sequence, Set as AbstractSet

    from memollm._draws.effects import Flight, Flow, Gap, Paid
    from memollm._draws.plan import Plan
    from memollm._draws.slots import Slots
    from memollm._spending.bill import Bill
    from memollm._spending.meter import Meter
    from memollm._types.calls import Position, Want
    from memollm._types.requests import Change, Written
    from memollm._types.samples import Costs

__tracebackhide__ = hides


class Landing:
    """The part of a draw that stores the answers of its flights."""

    _plan: Plan
    _wants: Sequence[Want]
    _ticket: int
    _newer_than: float = EVER
    _slots: Slots
    """Only of a draw that goes on after its take."""
    _bill: Bill
    """Only of one that calls the function."""
    _missing = 0
    """How many gaps its flights have still to fill."""
    _booked = False
    """Whether the store may have something recorded for it."""
    _settled = False
    """Whether its positions are delivered, as far as the store is concerned."""
    _awaited: AbstractSet[Gap] = frozenset()
    """The slots that other draws were filling."""
    _unanswered: Write | None = None
    """What was to be written, while nobody knows what became of that."""
    _void: Sequence[Position] = ()
    """Positions that others may have got, since this draw was taken for dead."""
    _going_on = 0
    """How many of its flights go on, since the draw has left them."""
    _left_to: AbstractSet[Gap] = frozenset()
    """The slots that these fill."""

    # An answer.

    def _failed(self, error: BaseException, meter: Meter | None = None) -> None:
        """Know that a call has raised, or was cancelled or left."""
        self._bill.put_back()
        if type(error) is not Outdated:
            seconds, shared = (0.0, None) if meter is None else (round(meter.seconds, 6), meter.failed)
            failed = isinstance(error, Exception) * (1 if shared is None else shared)
            self._bill.happened(Counts(failed=failed, spent_seconds=seconds))

    def _land(self, flight: Flight, results: Sequence[Any], paid: Paid) -> Flow:
        """Store what the function returned for a flight; what was lent in its place is nobody's to store, or to pay."""
        if type(paid.returned) is Lent:
            self._bill.put_back()
            self._missing -= len(flight)
            yield from self._borrow(flight[0], paid.returned)
        else:
            yield from self._land_made(flight, results, paid)

    def _land_made(self, flight: Flight, results: Sequence[Any], paid: Paid) -> Flow:
        plan = self._plan
        told = paid.told or told_of(
            paid.meter, paid.returned, results, function=self._function, usage=plan.usage, prices=plan.prices
        )
        self._bill.spend(told.toll)
        if told.failed:
            self._bill.happened(Counts(failed=told.failed))
        failure: BaseException | None = told.failure
        right = len(results) == len(flight)
        fills: dict[Gap, Fill] = {}
        shares = told.toll.shares(min(len(results), len(flight)) or 1)
        # Beside calls that failed, what there is belongs to one item.
        fits = right or not plan.aligned or told.failed
        landing = zip(flight, results, shares, strict=False) if fits else ()
        for gap, value, share in landing:
            try:
                yield from self._accept(fills, gap, value, share.costs, paid.asked)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - a warning may be an error; what was paid for is kept first
                failure = failure or error
        # The last to land says in the same commit that the draw is over.
        ends_well = failure is None and self._missing == len(flight) and right and not self._slots.gaps(Busy)
        last = ends_well and not self._going_on
        if self._booked:
            lost = yield from self._save(fills, last=last and not self._settled)
            failure = failure or lost
            if not last:
                yield from self._let_go()
        self._missing -= len(flight)
        if plan.program is not None:
            yield Do(plan.program.settle)
        if failure is not None:
            raise failure
        if not right:
            raise WrongNumber(wrong_number(self._function, len(flight), len(results), aligned=plan.aligned))

    def _borrow(self, gap: Gap, lent: Lent) -> Flow:
        """Give what a similar call lends, and let go of the slot, which stays vacant."""
        self._slots[gap] = lent
        if self._booked:
            changes: list[Change] = [Release(self._ticket, self._slots.place(gap), lent)]
            if not self._going_on:
                self._settled = True
                changes.append(self._slots.ending(self._ticket))
            yield from self._save_end(changes)

    def _accept(self, fills: dict[Gap, Fill], gap: Gap, value: Any, costs: Costs, asked: float) -> Flow:
        """Add what is to be stored of a result; what was written is, whoever is interrupted meanwhile."""
        plan, place = self._plan, self._slots.place(gap)
        fleeting = isinstance(value, Fleeting)
        value = value.value if fleeting else value
        self._slots[gap] = Unstored(value, costs)
        if fleeting or not self._booked:
            self._bill.happened(Counts(unstored=1))
            return
        is_accepted, untold = (True, None) if plan.accept is None else judged(self._function, plan.accept, value)
        if not is_accepted:
            self._slots[gap] = Unstored(value, costs, refused=True)
            self._bill.happened(Counts(refused=1, unstored=1))
            return

        def encode() -> None:
            sample = Sample(plan.engine.codec.encode(value, place.call.key), asked, *costs)
            self._slots[gap] = Made(value, sample)
            fills[gap] = Fill(self._ticket, place, sample, self._newer_than)

        try:
            if is_large(value):
                # Nobody is to let go of it meanwhile.
                self._slots[gap] = MINE
                yield Do(encode, computes=True)
            else:
                encode()
        except UncacheableResult as error:
            self._slots[gap] = Unstored(value, costs)
            self._bill.happened(Counts(unstored=1))
            self._not_stored(error)
        if untold is not None:
            raise untold

    def _save(self, fills: dict[Gap, Fill], *, last: bool) -> Flow:
        """Have answers stored, and with the last of them that the draw is over; return why the draw is to fail."""
        if not fills:
            return None
        changes: list[Change] = [*fills.values()]
        if last:
            changes.append(self._slots.ending(self._ticket))
            self._settled = True
        self._unanswered = write = Write(self._plan.engine.flights.new_id(), changes)
        try:
            written: Written = yield write
        except StoreError as error:
            self._settled, self._unanswered = False, None
            self._bill.happened(Counts(unstored=len(fills)))
            for gap in fills:
                made = self._slots[gap]
                self._slots[gap] = Unstored(made.value, made.sample[2:]) if isinstance(made, Made) else made
            try:
                self._not_stored(error, made=True)
            except (StoreError, NotStoredWarning) as told:
                return told
            return None
        self._void, self._unanswered = written.void, None
        for place, sample in written.lost.items():
            # Somebody else's answer is there, and may have been given to others: it is what the slot holds.
            gap = next(gap for gap, fill in fills.items() if fill.place == place)
            if self._is_heard:
                made = cast("Made", self._slots[gap])
                self._slots[gap] = Unstored(made.value, made.sample[2:])
                self._bill.happened(Counts(unstored=1))
            else:
                self._slots[gap] = sample
                self._awaited |= {gap}
        for fill in fills.values():
            self._plan.engine.flights.land(self._ticket, fill.place)
        return None

    def _not_stored(self, error: StoreError | UncacheableResult, *, made: bool = False) -> None:
        """Warn that an answer is returned and not kept, or have the draw fail, as the user has said."""
        # Where calls go on, nobody waits for them any more whom an error could reach.
        if not self._plan.raises_store_errors or isinstance(error, UncacheableResult) or self._going_on:
            self._plan.engine.not_stored(self._function, error)
            return
        note = f"An answer of {self._function} was made. It is not returned, and not stored as far as is known."
        # Draws that were stored together share their error.
        if made and note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise error

    def _let_go(self) -> Flow:
        """Release the slots whose answers are not kept, for others to take over while this draw goes on."""
        unkept = [(gap, cast("Unstored", self._slots[gap])) for gap in self._slots.gaps(Unstored)]
        held = [(gap, unstored) for gap, unstored in unkept if not unstored.released]
        if not held:
            return
        released = yield from self._save_end([Release(self._ticket, self._slots.place(gap)) for gap, _ in held])
        # A release that is owed wakes nobody: those who wait would find the slot still claimed.
        for gap, unstored in held if released else ():
            self._slots[gap] = unstored._replace(released=True)
            self._plan.engine.flights.land(self._ticket, self._slots.place(gap))

    # Calls that go on when their draw has left.

    def _leave(self, flights: Sequence[Flight]) -> None:
        """Know that calls are finished that nobody waits for any more: the positions go back, the claims stay."""
        self._going_on = len(flights)
        self._left_to = {gap for flight in flights for gap in flight}

    def _end(self, flight: Flight) -> Flow:
        """Let others have what a flight that was left did not fill; after the last one the draw is over."""
        held = [gap for gap in flight if self._slots[gap] is MINE]
        try:
            yield from self._save_end([Release(self._ticket, self._slots.place(gap)) for gap in held])
        finally:
            self._going_on -= 1
            self._arrive()

    def _arrive(self) -> None:
        """Be over, unless calls go on."""
        if not self._going_on:
            ended(self._ticket)
            self._plan.engine.flights.arrive(self._ticket)

    def _letting_go(self, slots: Slots) -> list[Change]:
        """Return what lets others have the slots that are claimed and that no call is going to fill."""
        held = [gap for gap in slots.gaps(Mine) if gap not in self._left_to]
        held += [gap for gap in slots.gaps(Unstored) if not cast("Unstored", slots[gap]).released]
        return [Release(self._ticket, slots.place(gap)) for gap in held]

    # Its end.

    def _save_end(self, changes: list[Change], *, delivers: bool = False) -> Flow:
        engine = self._plan.engine
        write = Write(engine.flights.new_id(), changes)
        try:
            if changes:
                self._unanswered = write
                self._answered((yield write))
        except StoreError:
            # The desk owes it and tries again; whoever waits in this process sees that the ticket has arrived.
            self._settled, self._unanswered = False, None
            if delivers:
                engine.flights.owe(self._ticket)
            return False
        except BaseException:
            # Interrupted, maybe before anybody knew of it, or its loop is gone.
            engine.insist(write)
            raise
        return True

    def _answered(self, written: Written) -> None:
        self._void, self._unanswered = [*self._void, *written.void], None

    @property
    def _is_heard(self) -> bool:
        """Whether what was made is a stream, which its reader has heard: nothing else can take its place."""
        return self._plan.streams and bool(self._slots.gaps(Made) or self._slots.gaps(Unstored))

    @property
    def _function(self) -> str:
        return self._wants[0].call.function
