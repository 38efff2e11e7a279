"""Conformance, first part: which positions a draw gets, and what it finds in their slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from memollm._types.calls import Place, Want
from memollm._types.requests import Look, Take
from memollm._types.samples import MINE, Busy, Sample, Taken
from memollm.stores.drawing import InLine
from memollm.testing._bench import Bench, Hand, asked, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from memollm._types.calls import Call


class DrawingCases(Bench):
    """Positions, slots, pools, expiry."""

    def test_first_draw_claims_slot_zero(self) -> None:
        """The first draw of a call gets position 0 and is to fill its slot."""
        hand = self.take()
        assert (hand.at, hand.states) == ([0], [MINE])

    def test_positions_follow_one_another(self) -> None:
        """Draws of a reader take 0, 1, 2, … without a gap, however many each asks for (P3)."""
        assert [self.take(n).at for n in (1, 3, 1, 2)] == [[0], [1, 2, 3], [4], [5, 6]]

    def test_draws_of_one_reader_fly_side_by_side(self) -> None:
        """Two draws of one reader are to fill a slot each; neither waits for the other (P5)."""
        assert self.take().states == self.take().states == [MINE]

    def test_readers_share_the_sequence(self) -> None:
        """Position p of either reader is slot p: what one has paid for, the other gets (P2)."""
        first = self.take(2, reader="a")
        first.fill(b"zero", b"one")
        first.settle()
        assert self.take(2, reader="b").records == [b"zero", b"one"]

    def test_readers_have_cursors_of_their_own(self) -> None:
        """How far one reader has come does not move another."""
        self.stock(b"zero", b"one")
        self.drawn(2, reader="a")
        assert list(self.drawn(reader="b").positions) == [0]
        assert list(self.drawn(reader="b").positions) == [1]

    def test_calls_have_cursors_of_their_own(self) -> None:
        """A reader begins every call at 0."""
        self.take(2, of=call("one"))
        assert self.take(of=call("other")).at == [0]

    def test_stored_samples_are_delivered_by_taking_them(self) -> None:
        """A draw whose slots are all filled is over with the take: the next goes on (P1)."""
        self.stock(b"zero", b"one", b"two")
        taken = [self.drawn(), self.drawn(2)]
        assert [list(one.positions) for one in taken] == [[0], [1, 2]]
        assert list(taken[1].states) == [Sample(b"one", NOON), Sample(b"two", NOON)]

    def test_only_what_is_missing_is_claimed(self) -> None:
        """Of three slots with two filled, one is to be filled (P4)."""
        self.stock(b"zero", b"one")
        assert self.take(3).states == [Sample(b"zero", NOON), Sample(b"one", NOON), MINE]

    def test_without_reader_there_is_no_cursor(self) -> None:
        """Who draws without a reader reads the first slots, every time."""
        self.stock(b"zero", b"one")
        assert [self.take(n, reader=None).at for n in (1, 2, 1)] == [[0], [0, 1], [0]]
        assert self.take(reader="a").at == [0]

    def test_slot_being_filled_is_busy(self) -> None:
        """A slot that a live draw is filling is nobody else's, and says whose it is (P5)."""
        first = self.take(reader="a")
        assert self.take(reader="b").states == [Busy(first.ticket)]
        assert self.take(reader=None).states == [Busy(first.ticket)]

    def test_claim_without_reader_holds(self) -> None:
        """A draw without a reader claims as any other does (P5)."""
        first = self.take(2, reader=None)
        assert first.states == [MINE, MINE]
        assert self.take(reader="a").states == [Busy(first.ticket)]

    def test_positions_given_back_come_first(self) -> None:
        """What was given back is taken before anything new, lowest first, in ascending order (P3)."""
        self.take(5).settle(1, 3)
        assert self.take().at == [1]
        assert self.take(3).at == [3, 5, 6]

    def test_positions_given_back_far_behind(self) -> None:
        """A position given back long ago is drawn together with the newest (P3)."""
        hand = self.take(300)
        hand.fill(*(b"%d" % at for at in range(300)))
        hand.settle(0)
        late = self.take(2)
        assert (late.at, late.states) == ([0, 300], [Sample(b"0", NOON), MINE])

    def test_position_given_back_belongs_to_its_reader(self) -> None:
        """What one reader gives back moves no other reader (P3)."""
        self.take(3, reader="a").settle(0)
        assert [self.take(reader="b").at, self.take(reader="a").at] == [[0], [0]]

    # Pools.

    def test_pool_cycles(self) -> None:
        """A reader of a pool of two reads its two slots in turn."""
        self.stock(b"zero", b"one")
        hands = [self.take(n, pool=2) for n in (1, 1, 2, 1)]
        assert [hand.at for hand in hands] == [[0], [1], [2, 3], [4]]
        assert [hand.records for hand in hands] == [[b"zero"], [b"one"], [b"zero", b"one"], [b"zero"]]

    def test_pool_of_one_is_filled_once(self) -> None:
        """Draws that come round to a slot that is being filled find it busy (P4, P5)."""
        first = self.take(pool=1)
        assert self.take(pool=1).states == [Busy(first.ticket)]

    def test_positions_of_a_draw_never_share_a_slot(self) -> None:
        """Position 0, given back, and position 2 of a pool of two read one slot: a draw of two leaves it free (P1)."""
        self.take(2, pool=2).settle(0)
        assert self.take(2, pool=2).at == [2, 3]
        assert self.take(1, pool=2).at == [0]

    def test_pools_share_samples_and_cursor(self) -> None:
        """The size of the pool decides about slots only: the reader's positions go on."""
        self.stock(b"zero", b"one")
        assert self.take(pool=1).records == [b"zero"]
        assert self.take(pool=None).records == [b"one"]
        assert self.take(pool=2).records == [b"zero"]

    # Several wants.

    def test_several_wants_in_one_take(self) -> None:
        """Each want gets its own positions, in the order of asking."""
        self.stock(b"stored", of=call("a"))
        wants = [Want(call("a"), "r", 1, None), Want(call("b"), "r", 2, None), Want(call("a"), None, 1, None)]
        taken = Hand(self.store, *wants).taken
        assert [list(one.positions) for one in taken] == [[0], [0, 1], [0]]
        assert [list(one.states) for one in taken] == [
            [Sample(b"stored", NOON)],
            [MINE, MINE],
            [Sample(b"stored", NOON)],
        ]

    def test_wants_of_one_reader_take_different_positions(self) -> None:
        """The same want twice in one take is two draws (P1)."""
        want = Want(call(), "r", 2, None)
        assert [list(one.positions) for one in Hand(self.store, want, want).taken] == [[0, 1], [2, 3]]

    # Expiry.

    def test_expired_sample_is_vacant(self) -> None:
        """A slot whose sample is not newer than asked for is to be filled again."""
        self.stock(b"old", stored=NOON)
        assert self.take(reader="a", newer_than=NOON - 1).records == [b"old"]
        assert self.take(reader="b", newer_than=NOON).states == [MINE]

    def test_expiry_is_the_asker_s(self) -> None:
        """A sample that is too old for one draw is good for another, even while it is being replaced."""
        self.stock(b"old", b"older", stored=NOON)
        first = self.take(2, reader="a", newer_than=NOON + 1)
        assert first.states == [MINE, MINE]
        assert self.take(2, reader="b").records == [b"old", b"older"]
        assert self.take(2, reader="c", newer_than=NOON + 1).states == [Busy(first.ticket)] * 2

    # What is kept.

    def test_equal_hashes_are_no_hit(self) -> None:
        """Two calls with one hash and different forms share no sample, claim or cursor (P8)."""
        one, other = call("one", key=b"k" * 16), call("other", key=b"k" * 16)
        self.stock(b"of one", of=one)
        self.drawn(of=one)
        hand = self.take(of=other)
        assert (hand.at, hand.states) == ([0], [MINE])
        assert self.take(of=other, reader=None).states == [Busy(hand.ticket)]
        assert self.take(of=one, reader=None).records == [b"of one"]
        hand.fill(b"of other")
        hand.settle()
        assert self._records(one) == [b"of one"]
        assert self._records(other) == [b"of other"]

    def _records(self, of: Call) -> list[bytes]:
        return [sample.record for sample in self.store.peek(of).values()]

    def test_records_come_back_as_they_went(self) -> None:
        """Empty, binary and large records are kept byte for byte."""
        records = [b"", b"\x00\xff'\"\\", bytes(range(256)) * 8192]
        self.stock(*records)
        assert self.take(3, reader=None).records == records
        assert [state.record for state in self.drawn(3).states if isinstance(state, Sample)] == records

    def test_many_slots(self) -> None:
        """A thousand slots are drawn, filled and read in order."""
        records = [b"%d" % at for at in range(1000)]
        self.stock(*records)
        assert self.take(1000).records == records
        assert self.take().at == [1000]

    def test_names_are_told_apart(self) -> None:
        """Readers and calls may be named in any script, and differ in case, blanks and wildcards."""
        names = ["exp", "Exp", "exp ", "e%", "e_p", "名前", "é", "e\u0301", "🙂", "q\"uo'te", "a/b\\c", "x" * 500]
        for name in names:
            assert self.take(reader=name).at == [0], name
            assert self.take(of=call(name), reader="all").at == [0], name
        assert self.take(reader="all").at == [0]

    def test_answer_at_once_is_the_answer_or_none(self) -> None:
        """A store that answers in line answers as ever, or has done nothing (P12)."""
        store = self.store
        if not isinstance(store, InLine):
            return
        for at in range(3):
            request = Take(store.flights.depart(), [Want(call(), "r", 1, None)])
            (taken,) = cast("list[Taken]", store.at_once(request)) or asked(store, request)
            assert (list(taken.positions), list(taken.states)) == ([at], [MINE])
            look = Look(request.ticket, [Place(call(), at), Place(call(), 100 + at)])
            assert (store.at_once(look) or asked(store, look)) == [MINE, MINE]
