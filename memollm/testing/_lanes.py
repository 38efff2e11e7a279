"""Conformance, sixth part: lanes, whose draws are in the order of their own program whatever others do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.samples import MINE, Sample
from memollm.testing._bench import Bench, Hand, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._types.calls import Call
    from memollm.stores.drawing import Drawing


class LaneBench(Bench):
    """Draws in lanes, made by hand."""

    def given(
        self,
        lane: str | None,
        n: int = 1,
        *,
        order: tuple[str, ...] = (),
        reader: str = "run:1",
        of: Call | None = None,
        store: Drawing | None = None,
    ) -> list[int]:
        """Draw in a lane, fill what is vacant, and settle."""
        hand = self.take(n, reader=reader, lane=lane, order=order, of=of, store=store)
        if MINE in hand.states:
            hand.fill(*(b"%d" % at for at, state in zip(hand.at, hand.states, strict=True) if state is MINE))
        hand.settle()
        return hand.at

    def give(self, *lanes: str | None, reader: str = "run:1") -> list[int]:
        """Draw once in each lane, in turn."""
        return [at for lane in lanes for at in self.given(lane, reader=reader)]


class LaneCases(LaneBench):
    """What a lane was given is recorded, and a fresh reader's lane is given the same."""

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
        ends: list[Callable[[Hand], object]] = [Hand.give_back, Hand.abandon, lambda hand: hand.settle(0, 2)]
        for end in ends:
            hand = self.take(2, reader="run:2", lane="x", newer_than=NOON)
            assert hand.at == [0, 2]
            end(hand)
        hand = self.take(2, reader="run:2", lane="x")
        hand.settle()
        hand.bring_back(0)
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

    # Answers that are not kept.

    def test_refused_position_is_not_given_again(self) -> None:
        """What a lane was given and nobody kept has had its turn, for this reader: the lane goes on after it."""
        self.take(reader="run:1", lane="x").refuse(0)
        assert self.give("x", "y", None, "x") == [1, 2, 3, 4]

    def test_refused_position_keeps_its_place(self) -> None:
        """Another run's lane finds it in its place, vacant, and what came after it after it (P2)."""
        self.take(2, reader="run:1", lane="x").refuse(0)
        self.give("y", "x")
        assert self.give("y", "x", "x", "x", reader="run:2") == [2, 0, 1, 3]

    def test_refused_position_that_is_set_free(self) -> None:
        """Given back after all, or with its reader set back, it is the lane's next (P3)."""
        hand = self.take(2, reader="namespace:a", lane="x")
        hand.refuse(0, 1)
        hand.bring_back(0)
        assert self.give("y", "x", "x", reader="namespace:a") == [2, 0, 3]

    def test_refused_by_a_draw_that_is_settled_twice(self) -> None:
        """What comes late changes nothing: the position is somebody else's by now (P1)."""
        hand = self.take(reader="run:1", lane="x")
        hand.give_back()
        assert self.give("x") == [0]
        hand.refuse(0)
        assert self.give("x") == [1]

    # An order.

    def test_order_of_lanes_decides_the_first_run(self) -> None:
        """Whoever asks first, lanes in an order get positions in that order, round by round."""
        order = ("x", "y", "z")
        assert [self.given(lane, order=order) for lane in "zyzxxyx"] == [[2], [1], [5], [0], [3], [4], [6]]
        assert [self.given(lane, order=order, reader="run:2") for lane in "xxxz"] == [[0], [3], [6], [2]]

    def test_order_of_lanes_with_several_samples(self) -> None:
        """A draw of several takes its lane's position of as many rounds."""
        order = ("x", "y")
        assert self.given("y", 3, order=order) == [1, 3, 5]
        assert [self.given("x", n, order=order) for n in (1, 3)] == [[0], [2, 4, 6]]
        assert self.given("y", order=order) == [7]

    def test_order_of_lanes_among_others(self) -> None:
        """Rounds begin where the reader stands, and nobody else is given their positions (P1)."""
        assert self.give(None, "other") == [0, 1]
        assert self.given("y", order=("x", "y")) == [3]
        assert self.give(None, "other") == [4, 5]
        assert [self.given(lane, order=("x", "y")) for lane in "xyx"] == [[2], [7], [6]]

    def test_order_of_lanes_in_which_draws_fail(self) -> None:
        """A draw that fails or is refused leaves the order as it is (P3)."""
        for end in (Hand.give_back, Hand.abandon):
            hand = self.take(reader="run:1", lane="y", order=("x", "y"))
            assert hand.at == [1]
            end(hand)
        assert [self.given(lane, order=("x", "y")) for lane in "xxyy"] == [[0], [2], [1], [3]]

    def test_order_of_lanes_of_stored_samples(self) -> None:
        """What others have paid for is given in that order, and is delivered at once (P1, P2)."""
        self.stock(b"0", b"1", b"2", b"3")
        for reader in ("run:1", "namespace:a"):
            for lane, records in (("y", [b"1", b"3"]), ("x", [b"0", b"2"])):
                hand = self.take(2, reader=reader, lane=lane, order=("x", "y"))
                assert hand.records == records
                hand.abandon()
            assert self.given("x", order=("x", "y"), reader=reader) == [4]

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

    def test_samples_behind_lanes_are_shared(self) -> None:
        """What one run's lane has paid for, the other's is given (P2)."""
        hand = self.take(2, reader="run:1", lane="x")
        hand.fill(b"zero", b"one")
        hand.settle()
        states = self.take(3, reader="run:2", lane="x").states
        assert [state.record if isinstance(state, Sample) else state for state in states] == [b"zero", b"one", MINE]
