"""Conformance, sixth part: lanes, whose draws are in the order of their own program whatever others do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.calls import Position
from memollm._types.listings import Move
from memollm._types.requests import Return
from memollm._types.samples import MINE, Sample
from memollm.errors import StoreUnavailable
from memollm.testing._bench import Bench, Hand, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Call
    from memollm.stores.base import Store


class Lanes(Bench):
    """What a lane was given is recorded, and a fresh reader's lane is given the same."""

    def given(
        self, lane: str | None, n: int = 1, *, reader: str = "run:1", of: Call | None = None, store: Store | None = None
    ) -> list[int]:
        """Draw in a lane, fill what is vacant, and settle."""
        hand = self.take(n, reader=reader, lane=lane, of=of, store=store)
        if MINE in hand.states:
            hand.fill(*(b"%d" % at for at, state in zip(hand.at, hand.states, strict=True) if state is MINE))
        hand.settle()
        return hand.at

    def give(self, *lanes: str | None, reader: str = "run:1") -> list[int]:
        """Draw once in each lane, in turn."""
        return [at for lane in lanes for at in self.given(lane, reader=reader)]

    # What a lane gets.

    def test_first_draws_in_lanes_are_like_any(self) -> None:
        """Where nothing is recorded, lanes take the lowest positions in the order of asking (P3)."""
        assert self.give("x", "y", None, "x", "y") == [0, 1, 2, 3, 4]

    def test_run_repeats_its_lanes(self) -> None:
        """The k-th draw of a lane gets what the k-th got in an earlier run, whichever lane is faster (P2)."""
        self.give("x", "y", "x", "y", "x")
        assert self.give("y", "y", "x", "x", "x", reader="run:2") == [1, 3, 0, 2, 4]

    def test_wants_of_several_samples_keep_the_order(self) -> None:
        """A draw of several gets the next of its lane's, in their order."""
        self.give("x", "y", "x", "y", "x")
        assert self.given("y", 2, reader="run:2") == [1, 3]
        assert [self.given("x", n, reader="run:2") for n in (1, 2)] == [[0], [2, 4]]

    def test_lane_goes_on_after_its_record(self) -> None:
        """A lane that draws more than is recorded for it gets what nobody's lane has, which is recorded (P1)."""
        self.give("x", "y")
        assert self.give("x", "x", "z", "y", reader="run:2") == [0, 2, 3, 1]
        assert self.give("z", "x", "x", "y", reader="run:3") == [3, 0, 2, 1]

    def test_record_of_lanes_is_in_their_order(self) -> None:
        """A lane that got a lower position later gets it later again."""
        failing = self.take(reader="run:1")
        self.give("x")
        failing.give_back()
        assert self.give("x", "y") == [0, 2]
        assert self.give("y", "x", "x", reader="run:2") == [2, 1, 0]

    def test_record_of_a_long_lane_is_in_its_order(self) -> None:
        """What a lane got last stands last in its record, however low its position is and however much it has (P2)."""
        failing = self.take(2, reader="run:1")
        assert self.given("x", 3) == [2, 3, 4]
        failing.give_back()
        assert [self.given("x") for _ in range(3)] == [[0], [1], [5]]
        assert self.given("x", 6, reader="run:2") == [2, 3, 4, 0, 1, 5]
        assert self.store.drawn("run:2", call(), "x") == [2, 3, 4, 0, 1, 5]

    def test_namespace_keeps_lanes_of_its_own(self) -> None:
        """What a namespace's lanes got moves neither runs nor other namespaces."""
        self.give("x", "y", reader="namespace:a")
        assert self.give("y", "x", reader="namespace:b") == [0, 1]
        assert self.give("y", "x", reader="run:1") == [0, 1]

    def test_calls_keep_lanes_of_their_own(self) -> None:
        """A lane is in order in each call for itself."""
        self.give("x", "y")
        assert self.given("y", of=call("other"), reader="run:2") == [0]
        assert self.given("y", reader="run:2") == [1]

    def test_lanes_are_told_apart(self) -> None:
        """Lanes may have any name."""
        names = ["x", "X", "", "é", "名", "a'b", "%"]
        self.give(*names)
        assert self.give(*reversed(names), reader="run:2") == list(reversed(range(len(names))))

    def test_runs_at_one_time_share_the_record(self) -> None:
        """Two runs under way get the same in a lane, whichever of them is ahead in it (P2)."""
        assert self.give("x") == [0]
        assert self.give("y", "x", reader="run:2") == [1, 0]
        assert self.give("y", "y") == [1, 2]
        assert self.give("y", reader="run:2") == [2]

    # Others.

    def test_draws_outside_lanes_pass_over_them(self) -> None:
        """A fresh reader that draws outside lanes leaves each lane its own, and takes what lies between (P1)."""
        self.give("x", None, "y", None)
        assert self.give(None, None, None, "y", "x", reader="run:2") == [1, 3, 4, 2, 0]

    def test_draw_in_a_lane_passes_over_what_is_new(self) -> None:
        """What another run's lanes got meanwhile is passed over from the next draw in a lane on."""
        assert self.give("x") == [0]
        self.give("x", "y", "y", reader="run:2")
        assert self.give("x", None, "y", "y") == [3, 4, 1, 2]

    def test_outside_position_is_no_lane_s_twice(self) -> None:
        """A position drawn outside lanes and recorded by another run is not given to its reader again (P1)."""
        assert self.give(None) == [0]
        assert self.give("x", "x", reader="run:2") == [0, 1]
        assert self.give("x", "y") == [1, 2]

    def test_free_position_that_became_a_lane_s(self) -> None:
        """A position that is free for a reader and was recorded by another run meanwhile is that lane's (P2)."""
        hand = self.take(reader="run:1")
        self.give("x", reader="run:2")
        hand.give_back()
        assert self.give("y", None, "x") == [1, 2, 0]

    # Failures.

    def test_failed_draw_in_a_lane(self) -> None:
        """What a lane gives back is free for it alone, and its next draw takes it (P3)."""
        for lane in ("x", "y"):
            self.take(reader="run:1", lane=lane).give_back()
        assert self.give(None, "y", "x") == [2, 1, 0]

    def test_failed_draw_of_a_recorded_position(self) -> None:
        """The order of a lane survives a failure, a vanished draw and a return (P3)."""
        self.give("x", "y", "x", "x")
        ends: list[Callable[[Hand], None]] = [Hand.give_back, Hand.abandon, lambda hand: hand.settle(0, 2)]
        for end in ends:
            hand = self.take(2, reader="run:2", lane="x", newer_than=NOON)
            assert hand.at == [0, 2]
            end(hand)
        assert self.given("x", 2, reader="run:2") == [0, 2]
        self.store.write([Return(0, Position(call(), "run:2", 0))])
        assert self.give(None, "x", "x", "y", reader="run:2") == [4, 0, 3, 1]

    def test_draws_of_one_lane_side_by_side(self) -> None:
        """Two draws of a lane that are in flight together are different (P1)."""
        self.give("x", "x")
        first = self.take(2, reader="run:2", lane="x", of=call("other"))
        assert (first.at, self.take(reader="run:2", lane="x", of=call("other")).at) == ([0, 1], [2])

    def test_delivered_at_once(self) -> None:
        """In lanes too a draw whose slots are all filled is over with the take (P1)."""
        self.stock(b"0", b"1", b"2")
        for reader in ("run:1", "run:2"):
            hands = [self.take(reader=reader, lane=lane) for lane in ("x", "y", "x")]
            assert [hand.records for hand in hands] == [[b"0"], [b"1"], [b"2"]]
            for hand in hands:
                hand.abandon()
        assert self.give("x") == [3]

    # Pools.

    def test_pools_have_lanes(self) -> None:
        """In a pool a lane is given its positions, and reads the slots behind them."""
        hands = [self.take(reader="run:1", pool=2, lane=lane) for lane in ("x", "y", "x")]
        assert [hand.at for hand in hands] == [[0], [1], [2]]
        hands[0].fill(b"zero")
        hands[1].fill(b"one")
        for hand in hands:
            hand.settle()
        again = [self.take(reader="run:2", pool=2, lane=lane) for lane in ("y", "x", "x", "y")]
        assert [hand.at for hand in again] == [[1], [0], [2], [3]]
        assert [hand.records for hand in again] == [[b"one"], [b"zero"], [b"zero"], [b"one"]]

    def test_samples_of_a_draw_differ_in_a_pool(self) -> None:
        """A lane's positions that read one slot are never in one draw (P1)."""
        self.give("x", "y", "x")
        hand = self.take(2, reader="run:2", pool=2, lane="x")
        assert sorted(map(hand.want.slot, hand.at)) == [0, 1]
        assert len(set(hand.at)) == 2

    # Maintenance.

    def test_rewound_reader_has_its_lanes(self) -> None:
        """A rewind keeps the record: the lanes of a namespace get the same again, and others pass them over."""
        self.give("x", "y", None, "x", reader="namespace:a")
        self.store.rewind("namespace:a")
        assert self.give("y", None, "x", "x", None, reader="namespace:a") == [1, 2, 0, 3, 4]

    def test_dropped_namespace_has_no_lanes(self) -> None:
        """A namespace that was dropped begins its lanes anew; a run leaves the record to the others."""
        self.give("x", "y", reader="namespace:a")
        self.store.drop("namespace:a")
        assert self.give("y", "x", reader="namespace:a") == [0, 1]
        self.give("x", "y")
        self.store.drop("run:1")
        assert self.give("y", "x", reader="run:2") == [1, 0]

    def test_forgotten_call_has_no_lanes(self) -> None:
        """With a call goes what lanes got of it."""
        self.give("x", "y")
        self.store.forget(call())
        assert self.give("y", "x", reader="run:2") == [0, 1]

    def test_listing_counts_what_was_given(self) -> None:
        """What is kept for lanes is not drawn yet."""
        self.give("x", "y", "x")
        self.give("y", reader="run:2")
        assert [(reader.name, reader.draws) for reader in self.store.readers()] == [("run:1", 3), ("run:2", 1)]

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
        self.store.adopt([Move(old, call())], lambda _, record: record)

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
            self.given(lane, 3)
            self.take(reader="run:1", lane=lane)
            self.store.write([Return(0, Position(call(), "run:1", self._drawn("run:1")[lane == "x"][1]))])
        assert self._drawn("run:1")[:2] == [[0, 2], [1, 5]]

    def test_drawn_by_nobody(self) -> None:
        """Who never drew, or not this call, or was dropped, has drawn nothing, whatever lanes others have."""
        self.give(None, None, "x")
        self.given("x", reader="run:2", of=call("other"))
        self.give("x", reader="namespace:a")
        self.store.drop("namespace:a")
        for reader in ("run:2", "run:3", "namespace:a"):
            assert self._drawn(reader) == [[], [], [], []]
        assert self.store.drawn("run:1", call("never"), None) == []

    def _drawn(self, reader: str) -> list[list[int]]:
        lanes: Sequence[str | None] = (None, "x", "y", "never")
        return [self.store.drawn(reader, call(), lane) for lane in lanes]

    def test_standing_tells_what_is_ahead(self) -> None:
        """A reader's standing is its cursor, what it was not given before that, and what is recorded for its lanes."""
        self.give("x", None, "y", "x")
        self.take(reader="run:1").settle(4)
        standing = self.store.standing("run:1", call())
        assert (standing.next, set(standing.loose)) == (5, {4})
        assert [(at, lane) for at, lane in standing.lanes.items() if lane == "x"] == [(0, "x"), (3, "x")]
        self.give("y", reader="run:2")
        later = self.store.standing("run:2", call())
        assert (later.next, set(later.loose), later.lanes) == (4, {0, 1, 3}, standing.lanes)
        fresh = self.store.standing("run:3", call())
        assert (fresh.next, set(fresh.loose), fresh.lanes) == (0, set(), standing.lanes)

    def test_samples_behind_lanes_are_shared(self) -> None:
        """What one run's lane has paid for, the other's is given (P2)."""
        hand = self.take(2, reader="run:1", lane="x")
        hand.fill(b"zero", b"one")
        hand.settle()
        states = self.take(3, reader="run:2", lane="x").states
        assert [state.record if isinstance(state, Sample) else state for state in states] == [b"zero", b"one", MINE]
