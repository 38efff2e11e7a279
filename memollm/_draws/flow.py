"""The rules of drawing, once: a generator that yields whenever the function must run or somebody must wait.

Drivers perform what it yields (`Ask`, `Run`, `Await`, `Save`), each in its own colour, and send nothing back but
failures. No lock or transaction is held across a yield.
"""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from memollm._draws.effects import Ask, Await, Batch, Flow, Gap, Paid, Run, Save, under
from memollm._draws.holding import Holding
from memollm._draws.states import Fleeting, Made, Recalled, Unstored, require_aligned
from memollm._spending.accounts import HIT
from memollm._types.counting import Counts
from memollm._types.locks import WouldBlock
from memollm._types.requests import Fill, Release, Settle
from memollm._types.samples import EVER, MINE, Busy, Mine, Sample
from memollm.errors import (
    CacheMiss,
    ReentrantCall,
    StaleRecord,
    StoreError,
    StoreUnavailable,
    UncacheableResult,
    WrongNumber,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.engine import Engine
    from memollm._draws.terms import ExplainMiss, Terms
    from memollm._spending.accounts import Costs
    from memollm._types.calls import Position, Want
    from memollm._types.requests import Change
    from memollm.stores.flights import Signal


class Draw(Holding):
    """One draw: of each want the next samples. There is at least one, and all are of one reader and function."""

    def __init__(self, engine: Engine, wants: Sequence[Want], terms: Terms) -> None:
        super().__init__(engine, wants)
        self._terms = terms
        self._newer_than = terms.newer_than(engine.clock) if terms.ages else EVER
        self._rules = terms.rules
        self._set_aside: list[str] = []
        """The calls that are promised to the budgets; a list, since several threads may take from it."""

    def at_once(self, *, wait: bool) -> list[Any] | None:
        """Take, and return the values if all were stored already; otherwise the flow goes on from here.

        Without `wait` it may raise `WouldBlock`, and nothing has happened. After any other failure the flow is to be
        driven with it, so that nothing stays taken.
        """
        begin = perf_counter()
        self._take(wait)
        if not self._settled:
            return None
        values = self._values()
        self._engine.store.flights.arrive(self._ticket)
        took = perf_counter() - begin
        slot = self._slots[0][0]
        state = self._states[0][slot]
        if len(values) == 1 and type(state) is Sample:
            self._terms.give(((self._wants[0].call, slot, state[2:], took, HIT),))
        else:
            self._terms.give(self._given(took / len(values)))
        return values

    def flow(self, failure: BaseException | None = None) -> Flow:
        """Draw, and return the values in the order of the wants and their positions."""
        try:
            if self._rules.redraws_stale and isinstance(failure, StaleRecord):
                failure = None
            yield from self._fill(failure)
            if self._rules.redraws_stale:
                yield from self._redraw_stale()
            values = self._values()
            if not self._settled:
                yield from self._settle(self._unstored_positions())
            self._terms.give(self._given())
        except GeneratorExit:
            # Nobody drives it any more. This may be a garbage collection in the middle of anything, so nothing here
            # may wait for a lock.
            if self._booked:
                self._engine.owe(self._undoing())
            self._comes_to_nothing()
            raise
        except BaseException:
            # Whatever it was, nothing was delivered: the positions go back, what was paid for stays.
            self._comes_to_nothing()
            if self._booked:
                yield from self._save_end(self._undoing())
            raise
        else:
            return values
        finally:
            self._engine.store.flights.arrive(self._ticket)

    def _comes_to_nothing(self) -> None:
        for _ in self._set_aside[:]:
            self._put_back()
        if self._terms.undone is not None:
            self._terms.undone()

    def _fill(self, failure: BaseException | None) -> Flow:
        try:
            if failure is not None:
                raise failure
            if self._taken is None:
                yield Ask(self._take)
        except StoreUnavailable as error:
            self._engine.not_stored(self._function, error)
            self._do_without_store()
        while True:
            mine = self._gaps(Mine)
            if mine:
                yield from self._run(mine)
            busy = self._gaps(Busy)
            if not busy:
                return
            self._awaited |= {*busy}
            # Nothing is claimed and unfilled while waiting, so no two draws can wait for each other.
            yield from self._let_go()
            yield Await([self._signal(gap) for gap in busy])
            yield from self._look_again(busy)

    def _do_without_store(self) -> None:
        """Let every answer be a fresh one, which is dear and right."""
        self._settled = True
        self._slots = [range(want.n) for want in self._wants]
        self._states = [dict.fromkeys(slots, MINE) for slots in self._slots]

    def _run(self, mine: list[Gap]) -> Flow:
        """Have the function called for slots that this draw is to fill."""
        if self._terms.explain_miss is not None:
            yield from self._miss(mine[0], self._terms.explain_miss)
        batches = [mine] if self._rules.together else [[gap] for gap in mine]
        self._terms.promise(self._function, len(batches))
        self._set_aside += [self._function] * len(batches)
        self._missing = len(mine)
        yield Run(self._ticket, batches, self._land, self._failed)

    def _miss(self, gap: Gap, explain_miss: ExplainMiss) -> Flow:
        call, found = self._wants[gap.want].call, list[str]()

        def explain(wait: bool) -> None:  # noqa: FBT001 - the shape of an operation
            if not wait:
                raise WouldBlock
            found.append(explain_miss(self._engine.store, call, gap.slot))

        try:
            yield Ask(explain)
        except StoreUnavailable as error:
            found.append(str(error))
        raise CacheMiss(found[0])

    def _redraw_stale(self) -> Flow:
        """Make anew the samples that can no longer be read: what is not newer than they are is a vacant slot."""
        while stale := [gap for gap in self._gaps(Sample) if self._is_stale(gap)]:
            samples = [cast("Sample", self._states[gap.want][gap.slot]) for gap in stale]
            yield from self._look_again(stale, newer_than=max(sample.stored for sample in samples))
            yield from self._fill(None)

    def _is_stale(self, gap: Gap) -> bool:
        sample = cast("Sample", self._states[gap.want][gap.slot])
        try:
            self._engine.codec.decode(sample.record, context=self._wants[gap.want].call.key)
        except StaleRecord:
            return True
        return False

    def _take(self, wait: bool) -> None:  # noqa: FBT001 - the shape of an operation
        store, want = self._engine.store, self._wants[0]
        if self._engine.writer.debts:
            self._engine.pay_first(wait=wait)
        self._booked = True
        try:
            self._epoch = store.epoch() if want.reader is None else 0
            self._taken = store.take(self._wants, self._ticket, newer_than=self._newer_than, wait=wait)
        except (StoreError, WouldBlock):
            self._booked = False
            raise
        if len(self._wants) == 1 == want.n:
            ((at,), (state,)) = self._taken[0]
            slot = want.slot(at)
            self._slots, self._states = ((slot,),), ({slot: state},)
            self._settled = type(state) is Sample
        else:
            self._arrange(self._taken)

    def _look_again(self, gaps: list[Gap], newer_than: float | None = None) -> Flow:
        want = self._wants[0]
        at_least = self._newer_than if newer_than is None else newer_than
        if newer_than is None and want.reader is None and len(self._wants) == 1 == want.n:
            # Whoever filled it in this process has left it on the shelf.
            found = self._engine.recall(want.call, self._newer_than)
            if found is not None:
                ((_, slot),) = gaps
                self._states[0][slot] = Recalled(self._engine.value_of(found, want.call), found.given[2])
                return
        places = [self._place(gap) for gap in gaps]

        def look(wait: bool) -> None:  # noqa: FBT001 - the shape of an operation
            store = self._engine.store
            if self._engine.writer.debts:
                self._engine.pay_first(wait=wait)
            self._note(gaps, store.look(places, self._ticket, newer_than=at_least, wait=wait))

        try:
            yield Ask(look)
        except StoreUnavailable as error:
            self._engine.not_stored(self._function, error)
            self._note(gaps, [MINE] * len(gaps))

    def _signal(self, gap: Gap) -> Signal:
        busy = cast("Busy", self._states[gap.want][gap.slot])
        if busy.ticket in under.get():
            raise ReentrantCall(
                f"{self._function} was called with the same arguments from inside its own call, or where its stream "
                "is being read, and would wait for itself for ever. Call the undecorated function there "
                "(.__wrapped__), or use other arguments."
            )
        return self._engine.settling(self._place(gap), busy)

    # What happens to an answer.

    def _failed(self, error: BaseException) -> None:
        """Know that a call has raised, or was cancelled or left."""
        self._put_back()
        if isinstance(error, Exception):
            self._terms.happened(self._function, Counts(failed=1))

    def _put_back(self) -> None:
        """Give one call back to the budgets, unless all were: a draw may come to nothing before its calls end."""
        with suppress(IndexError):
            self._terms.release(self._set_aside.pop(), 1)

    def _land(self, batch: Batch, results: Sequence[Any], paid: Paid) -> Flow:
        """Store what the function returned for a batch of gaps."""
        toll, failure = paid.told or self._terms.toll(paid.seconds, paid.returned, results)
        if self._set_aside:
            self._set_aside.pop()
        else:
            # The draw has come to nothing and gave it back, and the call returned all the same.
            self._terms.release(self._function, -1)
        self._terms.spend(self._function, toll)
        shares = toll.shares(len(batch))
        right = len(results) == len(batch)
        fills: dict[Gap, Fill] = {}
        landing = zip(batch, results, shares, strict=False) if right or not self._rules.aligned else ()
        for gap, value, share in landing:
            try:
                fills |= self._accepted(gap, value, share.costs)
            except Exception as error:  # noqa: BLE001 - `accept` is the user's; what else was paid for is kept first
                failure = failure or error
        # The last to land says in the same commit that the draw is over.
        last = failure is None and self._missing == len(batch) and right and not self._gaps(Busy)
        if self._booked:
            yield from self._save(fills, last=last and not self._settled)
            if not last:
                yield from self._let_go()
        self._missing -= len(batch)
        if failure is not None:
            raise failure
        if self._rules.aligned:
            require_aligned(self._function, len(batch), len(results))
        elif not right:
            raise WrongNumber(
                f"{self._function} was asked for {len(batch)} samples and returned {len(results)}. "
                "What it returned is kept as far as it was asked for; make it return exactly as many."
            )

    def _accepted(self, gap: Gap, value: Any, costs: Costs) -> dict[Gap, Fill]:
        states, place = self._states[gap.want], self._place(gap)
        if isinstance(value, Fleeting):
            states[gap.slot] = Unstored(value.value, costs)
            return {}
        states[gap.slot] = Unstored(value, costs)
        if not self._booked:
            return {}
        if self._rules.accept is not None and not self._rules.accept(value):
            self._terms.happened(self._function, Counts(refused=1))
            return {}
        try:
            record = self._engine.codec.encode(value, context=place.call.key)
        except UncacheableResult as error:
            self._engine.not_stored(self._function, error)
            return {}
        sample = Sample(record, self._engine.clock(), *costs)
        states[gap.slot] = Made(value, sample)
        return {gap: Fill(self._ticket, place, sample)}

    def _save(self, fills: dict[Gap, Fill], *, last: bool) -> Flow:
        if not fills:
            return
        changes: list[Change] = [*fills.values()]
        if last:
            changes.append(Settle(self._ticket, self._unstored_positions()))
            self._settled = True
        try:
            yield Save(changes)
        except StoreError as error:
            self._engine.not_stored(self._function, error)
            self._settled = False
            for want, slot in fills:
                made = self._states[want][slot]
                self._states[want][slot] = Unstored(made.value, made.sample[2:]) if isinstance(made, Made) else made
        else:
            for fill in fills.values():
                self._engine.store.flights.land(self._ticket, fill.place)

    def _let_go(self) -> Flow:
        """Release the slots whose answers are not kept, for others to take over while this draw goes on."""
        if self._settled:
            return
        held: list[tuple[Gap, Unstored]] = []
        for gap in self._gaps(Unstored):
            state = cast("Unstored", self._states[gap.want][gap.slot])
            if not state.released:
                held.append((gap, state))
        if not held:
            return
        released = yield from self._save_end([Release(self._ticket, self._place(gap)) for gap, _ in held])
        # A release that is owed wakes nobody: those who wait would find the slot still claimed.
        for gap, state in held if released else ():
            self._states[gap.want][gap.slot] = state._replace(released=True)
            self._engine.store.flights.land(self._ticket, self._place(gap))

    # Its end.

    def undelivered(self) -> list[Change]:
        """Return the changes by which what this draw gave was not delivered after all."""
        return self._undoing() if self._booked else []

    def _settle(self, returned: list[Position]) -> Flow:
        # Whoever interrupts the saving does not undo it.
        self._settled = True
        delivers = len(returned) < len(self._in_flight())
        yield from self._save_end([Settle(self._ticket, returned)], delivers=delivers)

    def _save_end(self, changes: list[Change], *, delivers: bool = False) -> Flow:
        try:
            if changes:
                yield Save(changes)
        except StoreError:
            # The writer owes it and tries again; whoever waits in this process sees that the ticket has arrived.
            self._settled = False
            if delivers:
                self._engine.store.flights.owe(self._ticket)
            return False
        return True


class BareDraw(Draw):
    """A draw that leaves every store alone: each sample is made for it, and goes nowhere else."""

    def at_once(self, *, wait: bool) -> list[Any] | None:  # noqa: ARG002 - it has nothing to wait for
        """See `Draw.at_once`; nothing is stored."""
        self._taken = []
        self._do_without_store()
        return None

    def flow(self, failure: BaseException | None = None) -> Flow:
        """See `Draw.flow`."""
        self.at_once(wait=False)
        return super().flow(failure)
