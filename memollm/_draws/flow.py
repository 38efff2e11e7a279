"""The rules of drawing, once: what a draw takes, calls, stores and awaits, and gives back if it fails or is cancelled.

A generator yields whenever the function must run or somebody must wait. Drivers do what it yields (see `effects`), each
in its own colour, and send back the answer or what went wrong. No lock or transaction is held across a yield.
"""

from __future__ import annotations

from logging import DEBUG
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._draws.effects import Await, Do, Flow, Gap, Outdated, Run
from memollm._draws.landing import Landing
from memollm._draws.slots import Made, Recalled, Slots
from memollm._draws.waits import Awaited, Waiting, driven
from memollm._spending.accounts import HIT
from memollm._spending.bill import Bill
from memollm._spending.track import is_logged
from memollm._types.calls import new_tuple
from memollm._types.hiding import hides
from memollm._types.requests import Look, Return, Settle, Take
from memollm._types.samples import EVER, MINE, Busy, Mine, Sample, Taken
from memollm.errors import (
    CacheMiss,
    StaleRecord,
    StoreError,
    StoreUnavailable,
)
from memollm.stores.flights import tickets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._draws.plan import ExplainMiss, Lender, Plan
    from memollm._draws.scope import Scope
    from memollm._spending.accounts import Given
    from memollm._types.calls import Want
    from memollm._types.requests import Change, Written
    from memollm.stores.flights import Signal

    Rekey = Callable[[], Sequence[Want]]

__tracebackhide__ = hides

AT_ONCE: Final = 1_000
"""How many samples an event loop takes itself."""


class Draw(Landing):
    """One draw: of each want the next samples. There is at least one, and all are of one reader and function."""

    # How a draw begins; most end before they need more.
    _taken: Sequence[Taken] | None = None
    _has_claimed = False
    """Whether it had slots to fill."""
    _again: Draw | None = None
    """The draw that took others in place of those that are void."""

    def __init__(  # noqa: PLR0917 - made for every draw, where keywords cost
        self,
        plan: Plan,
        wants: Sequence[Want],
        here: Scope | None = None,
        origin: Sequence[int] | None = None,
        epoch: int | None = None,
        rekey: Rekey | None = None,
    ) -> None:
        self._plan = plan
        self._wants = wants
        self._here = here
        self._rekey = rekey
        """Makes the wants of the whole request anew, of what the function reads now."""
        self._origin = origin
        """See `Run.origin`."""
        self._epoch = epoch
        """As it was before anything was read, where the sample may be remembered; found out if it is None."""
        self._newer_than = plan.newer_than() if plan.ages else EVER
        # As `Flights.depart` does, without a call of its own.
        self._ticket = ticket = next(tickets)
        plan.engine.flights.under_way[ticket] = {}

    # Stored samples: the short way, which most draws go. What it saves by doing things in line is measured.

    def at_once(self, *, wait: bool) -> list[Any] | None:
        """Take, and return the values if all were stored already; otherwise the flow goes on from here.

        Without `wait` nothing may have happened, or reading what was taken would take its time, and None says so, too.
        After a failure the flow is to be driven with it, so that nothing stays taken.
        """
        begin, plan = perf_counter(), self._plan
        engine, want = plan.engine, self._wants[0]
        is_long = not wait and want.n * len(self._wants) > AT_ONCE
        if plan.bare or is_long or (engine.desk.debts and not engine.desk.paid(wait=wait)):
            return None
        if want.reader is None and self._epoch is None:
            self._epoch = engine.store.epoch()
        request = new_tuple(Take, (self._ticket, self._wants, self._newer_than))
        self._booked = True
        answer = engine.store.perform((request,))[0] if wait else engine.in_line(request)
        if type(answer) is not list:
            self._booked = False
            if answer is None:
                return None
            raise cast("StoreError", answer)
        taken: Any = answer
        self._taken = taken
        if len(taken) > 1 or len(taken[0].states) != 1:
            return self._several(taken, begin, wait=wait)
        ((at,), (sample,), _) = taken[0]
        self._settled = is_stored = type(sample) is Sample
        if not is_stored or (not wait and engine.codec.is_heavy(sample[0])):
            return None
        call, slot = want.call, at if want.pool is None else at % want.pool
        value = engine.codec.decode(sample[0], call.key)
        if want.reader is None:
            engine.shelf.put(call, value, sample, self._epoch)
        # As `Flights.arrive` does; who has claimed nothing is waited for by nobody.
        engine.flights.under_way.pop(self._ticket, None)
        engine.flights.answers.pop(self._ticket, None)
        books = plan.books
        books.given.append(note := (call, slot, sample[2:], perf_counter() - begin, HIT, begin, want.lane))
        if not books.is_open:
            books.open()
        if self._here is not None or plan.watchers or is_logged(DEBUG):
            plan.tell((note,), self._here)
        return [value]

    def _several(self, taken: Sequence[Taken], begin: float, *, wait: bool) -> list[Any] | None:
        self._slots = slots = Slots(self._wants, taken)
        if not slots.all_stored():
            return None
        self._settled = True
        codec = self._plan.engine.codec
        if not wait and slots.are_heavy(codec):
            return None
        if len(taken) == 1:
            decode, key = codec.decode, self._wants[0].call.key
            values = [decode(sample[0], key) for sample in cast("Sequence[Sample]", taken[0].states)]
        else:
            values = slots.values(codec)
        self._note(slots.given((), begin, (perf_counter() - begin) / max(1, len(values))))
        return values

    def _note(self, given: Sequence[Given], asked: float | None = None) -> None:
        """End with samples that are given: they go into the books, and whoever listens is told."""
        self._plan.engine.flights.arrive(self._ticket)
        self._plan.books.note(given, asked)
        self._plan.tell(given, self._here)

    # The long way.

    def flow(self, failure: BaseException | None = None) -> Flow:
        """Draw, and return the values in the order of the wants and their positions.

        What the function reads may change while the draw waits, and is then drawn as another version's.
        """
        try:
            return (yield from self._once(failure))
        except Outdated:
            if self._rekey is None:
                raise
        # All of this draw has been given back.
        self._booked = False
        every, origin = self._rekey(), self._origin
        wants = every if origin is None else [
            every[index]._replace(n=want.n) for index, want in zip(origin, self._wants, strict=True)
        ]  # fmt: skip
        self._again = Draw(self._plan, wants, self._here, origin, rekey=self._rekey)
        return (yield from self._again.flow())

    def _once(self, failure: BaseException | None) -> Flow:
        engine, plan = self._plan.engine, self._plan
        asked, begin = engine.clock(), perf_counter()
        driven[self._ticket] = get_ident()
        try:
            if plan.redraws_stale and isinstance(failure, StaleRecord):
                failure = None
            yield from self._fill(failure)
            if plan.redraws_stale:
                yield from self._redraw_stale()
            values, given = yield from self._aside(lambda: (self._values(), self._slots.given(self._awaited, begin)))
            if not self._settled and (self._has_claimed or self._slots.in_flight()):
                yield from self._settle(self._slots.ending(self._ticket))
            if self._void and not self._is_heard:
                given = yield from self._drawn_again(values, given)
            self._note(given, asked)
        except GeneratorExit:
            # Nobody drives it any more. This may be a garbage collection in the middle of anything, so nothing here
            # may wait for a lock.
            if self._booked:
                self._owe_undoing()
            self._put_back()
            raise
        except BaseException:
            # Whatever it was, nothing was delivered: the positions go back, what was paid for stays.
            self._put_back()
            if self._booked:
                yield from self._undo()
            raise
        else:
            return values
        finally:
            self._arrive()

    def _put_back(self) -> None:
        """Let the budgets have back what was set aside for calls that have not ended and do not go on."""
        if self._missing:
            self._bill.put_back_all_but(self._going_on)

    def _fill(self, failure: BaseException | None) -> Flow:
        try:
            if failure is not None:
                raise failure
            if self._plan.bare:
                self._do_without_store()
            elif self._taken is None:
                yield from self._take()
            elif not hasattr(self, "_slots"):
                self._slots = Slots(self._wants, self._taken)
        except StoreUnavailable as error:
            self._not_stored(error)
            self._do_without_store()
        while True:
            mine = self._slots.gaps(Mine)
            if mine:
                yield from self._run(mine)
            busy = self._slots.gaps(Busy)
            if not busy:
                return
            self._awaited |= {*busy}
            # Nothing is claimed and unfilled while waiting, so no two draws can wait for each other.
            yield from self._let_go()
            awaited = [self._await(gap) for gap in busy]
            yield Await([each.signal for each in awaited], Waiting(awaited, streams=self._plan.streams))
            untold = [gap for gap, each in zip(busy, awaited, strict=True) if not self._told(gap, each.signal)]
            if untold:
                yield from self._look_again(untold)

    def _take(self) -> Flow:
        """Take, by way of the desk."""
        if self._wants[0].reader is None and self._epoch is None:
            self._epoch = self._plan.engine.store.epoch()
        self._booked = True
        try:
            self._taken = yield Take(self._ticket, self._wants, self._newer_than)
        except StoreError:
            self._booked = False
            raise
        self._slots = Slots(self._wants, cast("Sequence[Taken]", self._taken))
        # A draw of stored samples was delivered by taking it.
        self._settled = self._slots.all_stored()

    def _do_without_store(self) -> None:
        """Let every answer be a fresh one, which is dear and right."""
        self._booked, self._settled = False, True
        taken = [Taken(range(want.n), [MINE] * want.n) for want in self._wants]
        self._slots = Slots(self._wants, taken, apart=True)

    def _run(self, mine: list[Gap]) -> Flow:
        """Have the function called for slots that this draw is to fill."""
        plan, here = self._plan, self._here
        if plan.lender is not None and (yield from self._borrowed(mine[0], plan.lender)):
            return
        if plan.explain_miss is not None:
            yield from self._miss(mine[0], plan.explain_miss)
        flights = [mine] if plan.together else [[gap] for gap in mine]
        watchers, budgets = (plan.watchers, ()) if here is None else ((*plan.watchers, *here.watchers), here.budgets)
        self._bill = bill = Bill(self._function, plan.books, watchers, budgets, plan.program)
        bill.promise(len(flights))
        self._missing, self._has_claimed = len(mine), True
        if (allowed := plan.allowed) is not None:
            yield Do(lambda: bill.charge(len(flights), allowed))
        # Without a store there is nothing that an answer could be kept in for whoever comes next.
        ends = plan.finishes and self._booked, self._leave, self._end
        yield Run(self._ticket, flights, self._land, self._failed, *ends, self._slots.place, self._origin)

    def _borrowed(self, gap: Gap, lender: Lender) -> Flow:
        """Take again what a similar call has lent before; tell whether there was any."""
        call = self._wants[gap.want].call
        lent = None if self._plan.refreshes else (yield Do(lambda: lender.known(call, self._newer_than)))
        if lent is not None:
            self._has_claimed = True
            yield from self._borrow(gap, lent)
        return lent is not None

    def _miss(self, gap: Gap, explain_miss: ExplainMiss) -> Flow:
        call = self._wants[gap.want].call
        try:
            reason = yield Do(lambda: explain_miss(self._plan.engine.store, call, gap.slot))
        except StoreUnavailable as error:
            reason = str(error)
        raise CacheMiss(reason)

    def _redraw_stale(self) -> Flow:
        """Make anew the samples that can no longer be read: what is not newer than they are is a vacant slot."""
        codec = self._plan.engine.codec
        while stale := (yield from self._aside(lambda: self._slots.read(codec))):
            newest = max(cast("Sample", self._slots[gap]).stored for gap in stale)
            yield from self._look_again(stale, newer_than=newest)
            yield from self._fill(None)

    def _told(self, gap: Gap, signal: Signal) -> bool:
        """Know what whoever has filled a slot in this process tells of it."""
        sample = signal.sample
        is_told = sample is not None and sample.stored > self._newer_than and self._plan.takes(sample)
        if is_told:
            self._slots[gap] = cast("Sample", sample)
        return is_told

    def _look_again(self, gaps: list[Gap], newer_than: float | None = None) -> Flow:
        engine, want = self._plan.engine, self._wants[0]
        at_least = self._newer_than if newer_than is None else newer_than
        if newer_than is None and want.reader is None and len(self._wants) == 1 == want.n:
            # Whoever filled it in this process has left it on the shelf.
            found = engine.shelf.get(want.call, self._newer_than, engine.store.epoch())
            if found is not None:
                self._slots[gaps[0]] = Recalled(found.value_by(engine.codec), found.given[2])
                return
        if newer_than is not None:
            # Of what is made anew, its own fill must not find the old sample in the way.
            self._newer_than = max(self._newer_than, newer_than)
        try:
            states = yield Look(self._ticket, [*map(self._slots.place, gaps)], at_least)
        except StoreUnavailable as error:
            self._not_stored(error)
            states = [MINE] * len(gaps)
        self._slots.note(gaps, states)

    def _await(self, gap: Gap) -> Awaited:
        engine, busy, place = self._plan.engine, cast("Busy", self._slots[gap]), self._slots.place(gap)
        if busy.ticket is not None:
            engine.left.require_running(busy.ticket)
        return Awaited(place, busy.ticket, engine.settling(place, busy))

    def _aside(self, work: Callable[[], Any]) -> Flow:
        """Read what is stored: where no event loop waits for it if that takes its time."""
        return (yield Do(work, computes=True)) if self._slots.are_heavy(self._plan.engine.codec) else work()

    def _values(self) -> list[Any]:
        engine, want = self._plan.engine, self._wants[0]
        values = self._slots.values(engine.codec)
        if want.reader is None and len(self._wants) == 1 == want.n:
            known = self._slots[Gap(0, self._slots.of[0][0])]
            sample = known.sample if isinstance(known, Made) else known
            if isinstance(sample, Sample):
                engine.shelf.put(want.call, values[0], sample, self._epoch)
        return values

    # Its end, and what is given back.

    def undelivered(self) -> list[Change]:
        """Return the changes by which what this draw gave was not delivered after all."""
        more = self._again.undelivered() if self._again is not None else []
        return [*self._undoing(), *more] if self._booked else more

    def give_back(self) -> None:
        """Know that what was given did not reach the user; maybe by a garbage collection, so this waits for nothing."""
        if changes := self.undelivered():
            self._plan.engine.owe(changes)

    def _undo(self) -> Flow:
        """Give back what was taken, once it is known what of that is another's by now."""
        if self._unanswered is not None:
            try:
                self._answered((yield self._unanswered))
            except StoreError:
                self._owe_undoing()
                return
            except BaseException:
                self._owe_undoing()
                raise
        yield from self._save_end(self._undoing())

    def _owe_undoing(self) -> None:
        """Have it given back soon; this waits for nothing."""
        engine = self._plan.engine
        if self._unanswered is None:
            engine.owe(self._undoing())
        else:
            engine.insist(self._unanswered, self._undoing_after)

    def _undoing_after(self, written: Written) -> list[Change]:
        self._answered(written)
        return self._undoing()

    def _undoing(self) -> list[Change]:
        """Return the changes by which nothing was delivered."""
        if self._taken is None:
            # It was interrupted before it knew its positions.
            return [Settle(self._ticket, None)]
        slots = self._slots if hasattr(self, "_slots") else Slots(self._wants, self._taken)
        if self._settled:
            # They were delivered with the last fill, or by taking them.
            returned = [Return(self._ticket, position) for position in slots.kept() if position not in self._void]
            return [*returned, *self._letting_go(slots)]
        # Wants whose samples were all stored were delivered by taking them, the others are in flight.
        returned = [Return(self._ticket, position) for position in slots.delivered()]
        if self._going_on:
            return [Settle(self._ticket, slots.in_flight(), keeps_claims=True), *self._letting_go(slots), *returned]
        return [Settle(self._ticket, slots.in_flight()), *returned]

    def _settle(self, end: Settle) -> Flow:
        # Whoever interrupts the saving does not undo it.
        self._settled = True
        delivers = len(end.returned or ()) + len(end.refused) < len(self._slots.in_flight())
        yield from self._save_end([end], delivers=delivers)

    def _drawn_again(self, values: list[Any], given: Sequence[Given]) -> Flow:
        """Put other samples in the place of those that others may have got; return the notes of what stays given."""
        ats = [(index, at) for index, taken in enumerate(self._slots.taken) for at in taken.positions]
        void = {(position.call, position.at) for position in self._void}
        short = [number for number, (index, at) in enumerate(ats) if (self._wants[index].call, at) in void]
        # A reader that resumes another may have no more.
        wants = [self._wants[ats[number][0]]._replace(n=1, reader=self._plan.reader) for number in short]
        origin = [
            index if self._origin is None else self._origin[index] for index in (ats[number][0] for number in short)
        ]
        self._again = Draw(self._plan, wants, self._here, origin, rekey=self._rekey)
        others = yield from self._again.flow()
        for number, value in zip(short, others, strict=True):
            values[number] = value
        return [note for number, note in enumerate(given) if number not in short]
