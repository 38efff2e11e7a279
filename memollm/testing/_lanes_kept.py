"""Conformance, seventh part: what becomes of lanes when a store is kept, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.listings import Move
from memollm.errors import StoreUnavailable
from memollm.stores.looking import drawn
from memollm.testing._bench import call
from memollm.testing._lanes import LaneBench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Call


class LaneKeepingCases(LaneBench):
    """Rewinding, dropping, forgetting and adopting in lanes; what was drawn in them."""

    # Maintenance.

    def test_rewound_reader_has_its_lanes(self) -> None:
        """A rewind keeps the record: the lanes of a namespace get the same again, and others pass them over."""
        self.give("x", "y", None, "x", reader="namespace:a")
        self.keeping.rewind("namespace:a")
        assert self.give("y", None, "x", "x", None, reader="namespace:a") == [1, 2, 0, 3, 4]

    def test_dropped_namespace_has_no_lanes(self) -> None:
        """A namespace that was dropped begins its lanes anew; a run leaves the record to the others."""
        self.give("x", "y", reader="namespace:a")
        self.keeping.drop("namespace:a")
        assert self.give("y", "x", reader="namespace:a") == [0, 1]
        self.give("x", "y")
        self.keeping.drop("run:1")
        assert self.give("y", "x", reader="run:2") == [1, 0]

    def test_forgotten_call_has_no_lanes(self) -> None:
        """With a call goes what lanes got of it."""
        self.give("x", "y")
        self.keeping.forget(call())
        assert self.give("y", "x", reader="run:2") == [0, 1]

    def test_listing_counts_what_was_given(self) -> None:
        """What is kept for lanes is not drawn yet."""
        self.give("x", "y", "x")
        self.give("y", reader="run:2")
        assert [(reader.name, reader.draws) for reader in self.looking.readers()] == [("run:1", 3), ("run:2", 1)]

    def test_adopted_lanes_come_after(self) -> None:
        """Where two calls become one, a lane gets what it got of the one and then of the other, in order (P1, P2)."""
        old = call("old")
        failing = self.take(reader="run:1", of=old)
        self.given("x", of=old)
        failing.give_back()
        assert [self.given(lane, of=old) for lane in ("x", "y")] == [[0], [2]]
        self.give("y", "x")
        self.adopt(old)
        assert self.give("x", "x", "x", "y", "y", reader="run:2") == [1, 3, 2, 0, 4]
        assert self.give("x") == [5]

    def test_lanes_of_the_one_are_kept_from_readers_of_the_other(self) -> None:
        """A reader of the adopted call alone leaves the other's positions to the lanes that have them (P3)."""
        old = call("old")
        self.given(None, reader="run:2", of=old)
        self.give("x", None)
        self.adopt(old)
        assert self.give(None, "x", "y", reader="run:2") == [1, 0, 3]

    def test_adoption_renames_lanes_too(self) -> None:
        """A call that becomes one of which nothing is stored keeps its lanes."""
        old = call("old")
        for lane in ("x", "y"):
            self.given(lane, of=old)
        self.adopt(old)
        assert self.give("y", "x", reader="run:2") == [1, 0]

    def test_calls_in_flight_are_not_adopted(self) -> None:
        """While a draw has positions of a call, filled or not, nothing moves: it will deliver them (P1)."""
        for of, reader in ((call(), "a"), (call("old"), "b")):
            hand = self.take(2, of=of, reader=reader)
            hand.fill(b"0", b"1")
            try:
                self.adopt(call("old"))
            except StoreUnavailable:
                hand.settle()
            else:
                raise AssertionError(f"{of} was moved while positions of it were in flight.")

    def adopt(self, old: Call) -> None:
        """Give the samples of a call to the one that everybody draws."""
        self.keeping.adopt([Move(old, call())], lambda _, record: record)

    # What was drawn.

    def test_drawn_tells_positions_by_lane(self) -> None:
        """What a reader was given is told lane by lane in their order, and outside lanes in the sequence's."""
        for reader in ("namespace:a", "run:1"):
            self.give("x", None, "y", "x", None, reader=reader)
            assert self._drawn(reader) == [[1, 4], [0, 3], [2], []]
        self.give("y", reader="run:2")
        assert self._drawn("run:2") == [[], [], [2], []]

    def test_drawn_is_in_the_lane_s_order(self) -> None:
        """A lane that got a lower position later is told it later."""
        failing = self.take(reader="namespace:a")
        self.give("x", reader="namespace:a")
        failing.give_back()
        self.give("x", reader="namespace:a")
        assert self._drawn("namespace:a") == [[], [1, 0], [], []]

    def test_drawn_leaves_out_what_was_not_given(self) -> None:
        """Neither positions in flight nor those given back were drawn."""
        for lane in (None, "x"):
            given = self.take(3, reader="run:1", lane=lane)
            given.settle()
            self.take(reader="run:1", lane=lane)
            given.bring_back(given.at[1])
        assert self._drawn("run:1")[:2] == [[0, 2], [1, 5]]

    def test_drawn_by_nobody(self) -> None:
        """Who never drew, or not this call, or was dropped, has drawn nothing, whatever lanes others have."""
        self.give(None, None, "x")
        self.given("x", reader="run:2", of=call("other"))
        self.give("x", reader="namespace:a")
        self.keeping.drop("namespace:a")
        for reader in ("run:2", "run:3", "namespace:a"):
            assert self._drawn(reader) == [[], [], [], []]
        assert drawn(self.looking, "run:1", call("never"), None) == []

    def _drawn(self, reader: str) -> list[list[int]]:
        lanes: Sequence[str | None] = (None, "x", "y", "never")
        return [self.positions_of(reader, lane) for lane in lanes]

    def test_standing_tells_what_is_ahead(self) -> None:
        """A reader's standing is its cursor, what it was not given before that, and what is recorded for its lanes."""
        self.give("x", None, "y", "x")
        self.take(reader="run:1").settle(4)
        standing = self.looking.standing("run:1", call())
        assert (standing.next, set(standing.loose)) == (5, {4})
        assert [(at, lane) for at, lane in standing.lanes.items() if lane == "x"] == [(0, "x"), (3, "x")]
        self.give("y", reader="run:2")
        later = self.looking.standing("run:2", call())
        assert (later.next, set(later.loose), later.lanes) == (4, {0, 1, 3}, standing.lanes)
        fresh = self.looking.standing("run:3", call())
        assert (fresh.next, set(fresh.loose), fresh.lanes) == (0, set(), standing.lanes)
