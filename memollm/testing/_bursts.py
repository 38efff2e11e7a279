"""Conformance, part of what is asked at one time: bursts of draws are what they are one by one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

from memollm._types.calls import Place, Position, Want
from memollm._types.requests import Fill, Return, Settle, Take, Write, Written
from memollm._types.samples import MINE, Busy, Sample
from memollm.stores.looking import looking
from memollm.stores.memory.store import MemoryStore
from memollm.testing._bench import Bench, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Call
    from memollm._types.requests import Request
    from memollm._types.samples import State, Taken
    from memollm.stores.drawing import Drawing

    Asked = Callable[["_Side"], Request]

BURSTS = 16
MOST = 12
STOCKED = {"x": 60, "y": 12}
"""The calls, and how many samples each has: of one all that is drawn, of the other less."""
POOLS = {"a": None, "b": None, "c": 3}
"""The readers, and how many slots each reads."""
LANES = (*[None] * 7, "of its own")


class _Side:
    """One of two stores of which the same is asked, and what it has answered."""

    def __init__(self, store: Drawing) -> None:
        self.store = store
        self.tickets: list[int] = []
        self.wants: dict[int, Sequence[Want]] = {}
        self.taken: dict[int, list[Taken]] = {}

    def begin(self, nth: int, wants: Sequence[Want]) -> Take:
        """Begin the draw of a number."""
        self.tickets.append(self.store.flights.depart())
        self.wants[nth] = wants
        return Take(self.tickets[nth], wants)

    def end(self, nth: int, fills: bool, returned: slice) -> Write:  # noqa: FBT001 - drawn by lot
        """Fill what a draw has claimed, or not, and give some of its positions back."""
        ticket, changes, back = self.tickets[nth], list[Any](), list[Position]()
        for want, taken in zip(self.wants[nth], self.taken[nth], strict=True):
            positions = list(taken.positions)
            for at, state in zip(positions, taken.states, strict=True):
                place = Place(want.call, want.slot(at))
                if fills and state is MINE and place not in [change.place for change in changes]:
                    changes.append(Fill(ticket, place, Sample(b"%d" % place.slot, NOON)))
            if want.reader is not None:
                these = [Position(want.call, want.reader, at, taken.generation) for at in positions[returned]]
                if all(isinstance(state, Sample) for state in taken.states):
                    changes += [Return(ticket, each) for each in these]
                else:
                    back += these
        return Write(self.store.flights.new_id(), [*changes, Settle(ticket, back)])

    def ask(self, requests: Sequence[Request], begun: Sequence[int]) -> list[object]:
        """Ask all at one time, and say the answers in words that are no store's own."""
        told: list[object] = []
        takes = iter(begun)
        for answer in self.store.perform(requests):
            if isinstance(answer, Written):
                told.append(("written", len(answer.lost), [at.at for at in answer.void]))
            else:
                assert isinstance(answer, list), answer
                self.taken[next(takes)] = taken = cast("list[Taken]", answer)
                told.append([(list(each.positions), [self._said(state) for state in each.states]) for each in taken])
        return told

    def _said(self, state: State) -> object:
        if isinstance(state, Sample):
            return state.record
        return self.tickets.index(state.ticket or 0) if isinstance(state, Busy) else "mine"

    def standing(self, calls: Sequence[Call]) -> list[object]:
        """Tell where the readers stand."""
        return [looking(self.store).standing(reader, each) for reader in POOLS for each in calls]

    def arrive(self, nth: int) -> None:
        """End a draw."""
        self.store.flights.arrive(self.tickets[nth])


class BurstCases(Bench):
    """What is asked together is done in its order."""

    def test_a_burst_is_what_its_draws_are_one_by_one(self) -> None:
        """Whatever is asked at one time, of calls, readers, pools and lanes, is answered in its order (P1, P3, P6)."""
        for seed in range(3):
            self._burst(random.Random(seed), {call(f"{seed} {text}"): n for text, n in STOCKED.items()})  # noqa: S311 - the same each time

    def test_a_burst_that_comes_to_what_is_vacant(self) -> None:
        """The first draws get what is stored, and the others claim what follows (P1, P4, P6)."""
        self.stock(b"0", b"1", b"2")
        self.drawn()
        side = _Side(self.store)
        takes = [side.begin(nth, [Want(call(), "reader", 1, None)]) for nth in range(4)]
        told = side.ask(takes, range(4))
        assert told == [[([1], [b"1"])], [([2], [b"2"])], [([3], ["mine"])], [([4], ["mine"])]]

    def test_a_burst_after_what_was_brought_back(self) -> None:
        """A position that is brought back is the next draw's, though both are asked at one time (P3)."""
        self.stock(*(b"%d" % slot for slot in range(4)))
        hand = self.take()
        side = _Side(self.store)
        takes = [side.begin(nth, [Want(call(), "reader", 1, None)]) for nth in range(3)]
        back = Write(self.store.flights.new_id(), [Return(hand.ticket, each) for each in hand.positions(0)])
        assert side.ask([takes[0], back, *takes[1:]], range(3))[2:] == [[([0], [b"0"])], [([2], [b"2"])]]

    def _burst(self, chance: random.Random, stocked: dict[Call, int]) -> None:
        under_way: list[int] = []
        sides = [_Side(self.store), _Side(MemoryStore())]
        calls = list(stocked)
        for side in sides:
            for each, n in stocked.items():
                self.stock(*(b"%d" % slot for slot in range(n)), of=each, store=side.store)
        for _ in range(BURSTS):
            asked, begun, ended = self._lot(chance, calls, under_way, len(sides[0].tickets))
            told = [side.ask([each(side) for each in asked], begun) for side in sides]
            assert told[0] == told[1]
            for side in sides:
                for nth in ended:
                    side.arrive(nth)
            under_way += begun
        if hasattr(self.store, "looking"):
            assert sides[0].standing(calls) == sides[1].standing(calls)
        for nth in under_way:
            for side in sides:
                side.store.perform([side.end(nth, False, slice(None))])
                side.arrive(nth)

    def _lot(
        self, chance: random.Random, calls: Sequence[Call], under_way: list[int], first: int
    ) -> tuple[list[Asked], list[int], list[int]]:
        """Draw by lot what is asked: mostly takes of one, and the ends of some draws that are under way."""
        asked: list[Asked] = []
        begun: list[int] = []
        ended: list[int] = []
        for _ in range(chance.randint(2, MOST)):
            if under_way and chance.random() < 0.2:
                nth = under_way.pop(chance.randrange(len(under_way)))
                how = chance.random() < 0.7, slice(chance.randint(0, 2))
                asked.append(lambda side, nth=nth, how=how: side.end(nth, *how))  # type: ignore[misc]
                ended.append(nth)
            else:
                nth = first + len(begun)
                wants = [self._want(chance, calls) for _ in range(chance.choice((1, 1, 1, 1, 2)))]
                asked.append(lambda side, nth=nth, wants=wants: side.begin(nth, wants))  # type: ignore[misc]
                begun.append(nth)
        return asked, begun, ended

    def _want(self, chance: random.Random, calls: Sequence[Call]) -> Want:
        reader = chance.choice(list(POOLS))
        pool = POOLS[reader]
        return Want(chance.choice(calls), reader, chance.choice((1, 1, 1, 2)), pool, chance.choice(LANES))
