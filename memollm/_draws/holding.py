"""What a draw holds: of each want the positions, the slots behind them, and what has become of each slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from memollm._draws.effects import Gap
from memollm._draws.states import Made, Recalled, States, Unstored
from memollm._spending.accounts import HIT, MADE, SHARED
from memollm._types.calls import Place, Position
from memollm._types.requests import Return, Settle
from memollm._types.samples import Sample, State, Taken

if TYPE_CHECKING:
    from collections.abc import Sequence, Set as AbstractSet

    from memollm._draws.engine import Engine
    from memollm._spending.accounts import Given
    from memollm._types.calls import Call, Want
    from memollm._types.requests import Change

NONE_TAKEN: Final = Taken((), ())


class Holding:
    """The state of one draw. It decides nothing: what is done about it are the rules of `Draw`."""

    # How a draw begins; most end before they need more.
    _taken: list[Taken] | None = None
    _slots: Sequence[Sequence[int]] = ()
    """The slots behind the positions of each want."""
    _states: Sequence[States] = ()
    """The states of these slots; wants of the same call share them."""
    _missing = 0
    _epoch = 0
    _booked = False
    _settled = False
    _awaited: AbstractSet[Gap] = frozenset()
    """The slots that other draws were filling."""

    def __init__(self, engine: Engine, wants: Sequence[Want]) -> None:
        self._engine = engine
        self._wants = wants
        self._ticket = engine.store.flights.depart()

    def _arrange(self, taken: list[Taken]) -> None:
        states: dict[Call, States] = {}
        all_slots: list[Sequence[int]] = []
        all_states: list[States] = []
        for want, (positions, found) in zip(self._wants, taken, strict=True):
            slots = [*map(want.slot, positions)]
            of_call = states.setdefault(want.call, {})
            of_call.update(zip(slots, found, strict=True))
            all_slots.append(slots)
            all_states.append(of_call)
        self._slots, self._states = all_slots, all_states
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

    def _note(self, gaps: list[Gap], states: Sequence[State]) -> None:
        for gap, state in zip(gaps, states, strict=True):
            self._states[gap.want][gap.slot] = state

    def _place(self, gap: Gap) -> Place:
        return Place(self._wants[gap.want].call, gap.slot)

    @property
    def _function(self) -> str:
        return self._wants[0].call.function

    # Undoing.

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

    # What is given.

    def _given(self, took: float = 0.0) -> list[Given]:
        """Return a note of each sample, for the books; `took` is what giving them took, if that was timed."""
        return [
            self._note_of(index, want, slot, took)
            for index, (want, slots) in enumerate(zip(self._wants, self._slots, strict=True))
            for slot in slots
        ]

    def _note_of(self, index: int, want: Want, slot: int, took: float) -> Given:
        state = self._states[index][slot]
        if isinstance(state, Made):
            return (want.call, slot, state.sample[2:], 0.0, MADE)
        if isinstance(state, Unstored):
            return (want.call, slot, state.costs, 0.0, MADE)
        costs = state[2:] if isinstance(state, Sample) else cast("Recalled", state).costs
        return (want.call, slot, costs, took, SHARED if Gap(index, slot) in self._awaited else HIT)

    def _values(self) -> list[Any]:
        """Give each position an object of its own."""
        given: set[tuple[int, int]] = set()
        if len(self._wants) == 1 == self._wants[0].n:
            return [self._only_value(self._wants[0], self._slots[0][0], self._states[0], given)]
        values: list[Any] = []
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
