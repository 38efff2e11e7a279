"""An answer that is there already and looks for a vacant slot: of a lookup that holds none any more, or of none."""

from __future__ import annotations

from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any

from memollm._draws.effects import Do, Flow, Gap
from memollm._draws.flow import Draw
from memollm._draws.slots import Made, Slots
from memollm._draws.waits import driven, ended
from memollm._spending.bill import Bill
from memollm._types.calls import Place, Position
from memollm._types.requests import Look, Return, Settle, Take
from memollm._types.samples import Mine, Sample, Taken
from memollm.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.effects import Paid
    from memollm._draws.plan import Plan
    from memollm._draws.scope import Scope
    from memollm._spending.accounts import Given, Toll
    from memollm._types.calls import Want
    from memollm._types.requests import Change


class Brought(Bill):
    """The bill of an answer that comes from elsewhere: nothing was called for it here."""

    def spend(self, toll: Toll) -> None:
        """Count nothing."""


class Placing(Draw):
    """A draw that has its answer, and takes the first vacant slot for it.

    A want with a reader counts as delivered: it takes the reader's first position whose slot is vacant, and those
    before it go back. One without a reader moves no cursor.
    """

    def __init__(self, plan: Plan, want: Want, here: Scope | None, answer: Any, paid: Paid, *, brought: bool) -> None:
        """Count what is `brought` neither as paid nor as drawn: it was not called for here."""
        super().__init__(plan, (want,), here)
        self._answer = answer
        self._paid = paid
        self._brought = brought
        self._gap: Gap | None = None
        self._passed: list[tuple[int, Change]] = []
        """The tickets of positions that were passed over, and what gives these back."""

    def flow(self, failure: BaseException | None = None) -> Flow:
        """Store the answer; return whether it is."""
        try:
            yield from super().flow(failure)
        finally:
            # This may be a garbage collection, so it waits for nothing; whoever draws next has it written first.
            if self._passed:
                self._plan.engine.owe([change for _, change in self._passed])
            for ticket, _ in self._passed:
                self._plan.engine.flights.arrive(ticket)
        return self._gap is not None and isinstance(self._slots[self._gap], Made)

    def _fill(self, failure: BaseException | None) -> Flow:
        plan, here = self._plan, self._here
        try:
            if failure is not None:
                raise failure
            if plan.bare:
                self._do_without_store()
            else:
                yield from self._find()
        except StoreUnavailable as error:
            self._not_stored(error)
            self._do_without_store()
        self._gap = next(iter(self._slots.gaps(Mine)), None)
        if self._gap is None:
            return
        watchers, budgets = (plan.watchers, ()) if here is None else ((*plan.watchers, *here.watchers), here.budgets)
        bill = (Brought if self._brought else Bill)(self._function, plan.books, watchers, budgets, plan.program)
        bill.know_called()
        self._bill = bill
        self._missing, self._has_claimed = 1, True
        yield from self._land([self._gap], [self._answer], self._paid)

    def _find(self) -> Flow:
        """Claim a slot; where a pool has none that is vacant, there is none."""
        (want,) = self._wants
        self._booked = True
        for taken in (yield from self._looked(want)) if want.reader is None else (yield from self._walked(want)):
            self._taken = (taken,)
            self._slots = Slots(self._wants, self._taken)
            return
        self._booked, self._settled = False, True
        self._slots = Slots((), ())

    def _looked(self, want: Want) -> Flow:
        """Look for the first vacant slot from the beginning."""
        store, call = self._plan.engine.store, want.call
        stored = yield Do(lambda: store.peek(call))
        for slot in count() if want.pool is None else range(want.pool):
            if slot not in stored or stored[slot].stored <= self._newer_than:
                states = yield Look(self._ticket, (Place(call, slot),), self._newer_than)
                if isinstance(states[0], Mine):
                    return [Taken((slot,), states)]
        return []

    def _walked(self, want: Want) -> Flow:
        """Go on from where the reader is, and pass over what others have filled or are filling."""
        flights, reader = self._plan.engine.flights, want.reader or ""
        for _ in count() if want.pool is None else range(want.pool):
            (taken,) = yield Take(self._ticket, self._wants, self._newer_than)
            ((at,), (state,), generation) = taken
            if isinstance(state, Mine):
                return [taken]
            position = Position(want.call, reader, at, generation)
            delivered = isinstance(state, Sample)
            back: Change = Return(self._ticket, position) if delivered else Settle(self._ticket, (position,))
            self._passed.append((self._ticket, back))
            ended(self._ticket)
            self._ticket = flights.depart()
            driven[self._ticket] = get_ident()
        return []

    # It is given to nobody: whoever brings it has it.

    def _values(self) -> list[Any]:
        return []

    def _note(self, given: Sequence[Given], asked: float | None = None) -> None:
        if self._gap is not None and not self._brought:
            super()._note(given, asked)
