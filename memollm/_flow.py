"""The rules of drawing, once: a generator that yields whenever the function must run or somebody must wait.

Drivers perform what it yields (`Ask`, `Run`, `Await`, `Save`), each in its own colour, and send nothing back but
failures. No lock or transaction is held across a yield.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from memollm._effects import Ask, Await, Batch, Flow, Gap, Run, Save, under
from memollm._engine import NOTHING
from memollm._model import (
    MINE,
    Busy,
    Fill,
    Mine,
    Place,
    Position,
    Release,
    Return,
    Sample,
    Settle,
    State,
    Taken,
    Want,
    WouldBlock,
)
from memollm._states import Fleeting, Made, Recalled, Rules, States, Unstored, require_aligned
from memollm.errors import ReentrantCall, StaleRecord, StoreError, StoreUnavailable, UncacheableResult, WrongNumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._engine import Engine
    from memollm._flights import Signal
    from memollm._model import Call, Change


class Draw:
    """One draw: of each want the next samples. There is at least one, and all are of one reader and function."""

    def __init__(self, engine: Engine, wants: Sequence[Want], newer_than: float, rules: Rules) -> None:
        self._engine = engine
        self._wants = wants
        self._newer_than = newer_than
        self._rules = rules
        self._ticket = engine.store.flights.depart()
        self._taken: list[Taken] | None = None
        self._slots: list[Sequence[int]] = []
        """The slots behind the positions of each want."""
        self._states: list[States] = []
        """The states of these slots; wants of the same call share them."""
        self._missing = 0
        self._epoch = 0
        self._booked = False
        self._settled = False

    def at_once(self, *, wait: bool) -> list[Any] | None:
        """Take, and return the values if all were stored already; otherwise the flow goes on from here.

        Without `wait` it may raise `WouldBlock`, and nothing has happened. After any other failure the flow is to be
        driven with it, so that nothing stays taken.
        """
        self._take(wait)
        if not self._settled:
            return None
        values = self._values()
        self._engine.store.flights.arrive(self._ticket)
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
        except GeneratorExit:
            # Nobody drives it any more. This may be a garbage collection in the middle of anything, so nothing here
            # may wait for a lock.
            if self._booked:
                self._engine.owe(self._undoing())
            raise
        except BaseException:
            # Whatever it was, nothing was delivered: the positions go back, what was paid for stays.
            if self._booked:
                yield from self._save_end(self._undoing())
            raise
        else:
            return values
        finally:
            self._engine.store.flights.arrive(self._ticket)

    def _fill(self, failure: BaseException | None) -> Flow:
        try:
            if failure is not None:
                raise failure
            if self._taken is None:
                yield Ask(self._take)
        except StoreUnavailable as error:
            # Without a store every answer is a fresh one, which is dear and right.
            self._engine.not_stored(self._function, error)
            self._settled = True
            self._slots = [range(want.n) for want in self._wants]
            self._states = [dict.fromkeys(slots, MINE) for slots in self._slots]
        while True:
            mine = self._gaps(Mine)
            if mine:
                self._missing = len(mine)
                yield Run(self._ticket, [mine] if self._rules.together else [[gap] for gap in mine], self._land)
            busy = self._gaps(Busy)
            if not busy:
                return
            # Nothing is claimed and unfilled while waiting, so no two draws can wait for each other.
            yield from self._let_go()
            yield Await([self._signal(gap) for gap in busy])
            yield from self._look_again(busy)

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
            self._slots, self._states = [(slot,)], [{slot: state}]
            self._settled = type(state) is Sample
        else:
            self._arrange(self._taken)

    def _arrange(self, taken: list[Taken]) -> None:
        states: dict[Call, States] = {}
        for want, (positions, found) in zip(self._wants, taken, strict=True):
            slots = [*map(want.slot, positions)]
            of_call = states.setdefault(want.call, {})
            of_call.update(zip(slots, found, strict=True))
            self._slots.append(slots)
            self._states.append(of_call)
        # A draw of stored samples was delivered by taking it.
        self._settled = all(map(_is_delivered, taken))

    def _gaps(self, kind: type) -> list[Gap]:
        """Return the slots in a state of this kind, each once and in the order of the wants."""
        found: dict[tuple[int, int], Gap] = {}
        for index, (slots, states) in enumerate(zip(self._slots, self._states, strict=True)):
            for slot in slots:
                if type(states[slot]) is kind:
                    found.setdefault((id(states), slot), Gap(index, slot))
        return list(found.values())

    def _look_again(self, gaps: list[Gap], newer_than: float | None = None) -> Flow:
        want = self._wants[0]
        at_least = self._newer_than if newer_than is None else newer_than
        if newer_than is None and want.reader is None and len(self._wants) == 1 == want.n:
            # Whoever filled it in this process has left it on the shelf.
            value = self._engine.recall(want.call, self._newer_than)
            if value is not NOTHING:
                ((_, slot),) = gaps
                self._states[0][slot] = Recalled(value)
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

    def _note(self, gaps: list[Gap], states: Sequence[State]) -> None:
        for gap, state in zip(gaps, states, strict=True):
            self._states[gap.want][gap.slot] = state

    def _signal(self, gap: Gap) -> Signal:
        busy = cast("Busy", self._states[gap.want][gap.slot])
        if busy.ticket in under.get():
            raise ReentrantCall(
                f"{self._function} was called with the same arguments from inside its own call, or where its stream "
                "is being read, and would wait for itself for ever. Call the undecorated function there "
                "(.__wrapped__), or use other arguments."
            )
        return self._engine.settling(self._place(gap), busy)

    def _place(self, gap: Gap) -> Place:
        return Place(self._wants[gap.want].call, gap.slot)

    @property
    def _function(self) -> str:
        return self._wants[0].call.function

    # What happens to an answer.

    def _land(self, batch: Batch, results: Sequence[Any]) -> Flow:
        """Store what the function returned for a batch of gaps."""
        right = len(results) == len(batch)
        fills: dict[Gap, Fill] = {}
        failure: Exception | None = None
        for gap, value in zip(batch, results, strict=False) if right or not self._rules.aligned else ():
            try:
                fills |= self._accepted(gap, value)
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

    def _accepted(self, gap: Gap, value: Any) -> dict[Gap, Fill]:
        states, place = self._states[gap.want], self._place(gap)
        if isinstance(value, Fleeting):
            states[gap.slot] = Unstored(value.value)
            return {}
        states[gap.slot] = Unstored(value)
        if not self._booked or (self._rules.accept is not None and not self._rules.accept(value)):
            return {}
        try:
            record = self._engine.codec.encode(value, context=place.call.key)
        except UncacheableResult as error:
            self._engine.not_stored(self._function, error)
            return {}
        sample = Sample(record, self._engine.clock())
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
                self._states[want][slot] = Unstored(made.value) if isinstance(made, Made) else made
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

    def _undoing(self) -> list[Change]:
        """Return the changes by which nothing was delivered."""
        if self._taken is None:
            # It was interrupted before it knew its positions.
            return [Settle(self._ticket, None)]
        if self._settled:
            # They were delivered with the last fill, or by taking them.
            unstored = set(self._unstored_positions())
            given = [position for position in self._positions(self._taken) if position not in unstored]
            return [Return(self._ticket, position) for position in given]
        # Wants whose samples were all stored were delivered by taking them, the others are in flight.
        delivered = [taken if _is_delivered(taken) else NONE_TAKEN for taken in self._taken]
        returned = [Return(self._ticket, position) for position in self._positions(delivered)]
        return [Settle(self._ticket, self._in_flight()), *returned]

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

    def _in_flight(self) -> list[Position]:
        """Return the positions that taking did not deliver."""
        return self._positions([NONE_TAKEN if _is_delivered(taken) else taken for taken in self._taken or ()])

    def _positions(self, taken: Sequence[Taken]) -> list[Position]:
        return [
            Position(want.call, want.reader, at)
            for want, each in zip(self._wants, taken, strict=False)
            if want.reader is not None
            for at in each.positions
        ]

    def _unstored_positions(self) -> list[Position]:
        return [
            Position(want.call, want.reader, at)
            for want, states, each in zip(self._wants, self._states, self._taken or (), strict=False)
            if want.reader is not None
            for at in each.positions
            if isinstance(states[want.slot(at)], Unstored)
        ]

    # Values.

    def _values(self) -> list[Any]:
        """Give each position an object of its own."""
        values: list[Any] = []
        given: set[tuple[int, int]] = set()
        for want, slots, states in zip(self._wants, self._slots, self._states, strict=True):
            if want.n == 1:
                values.append(self._only_value(want, slots[0], states, given))
            else:
                values += [self._value(want, slot, states, given) for slot in slots]
        return values

    def _only_value(self, want: Want, slot: int, states: States, given: set[tuple[int, int]]) -> Any:
        value = self._value(want, slot, states, given)
        if want.reader is None:
            state = states[slot]
            sample = state.sample if isinstance(state, Made) else state
            if isinstance(sample, Sample):
                self._engine.shelve(want.call, value, sample, self._epoch)
        return value

    def _value(self, want: Want, slot: int, states: States, given: set[tuple[int, int]]) -> Any:
        state = states[slot]
        if type(state) is Sample:
            return self._engine.codec.decode(state.record, context=want.call.key)
        if isinstance(state, Made) and (id(states), slot) in given:
            return self._engine.codec.decode(state.sample.record, context=want.call.key)
        given.add((id(states), slot))
        # What could not be stored is all there is.
        return cast("Made | Unstored | Recalled", state).value


def _is_delivered(taken: Taken) -> bool:
    """Tell whether taking has delivered: all was stored."""
    return all(type(state) is Sample for state in taken.states)


NONE_TAKEN: Final = Taken((), ())
