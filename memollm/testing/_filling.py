"""Conformance, second part: what becomes of claims and positions when a draw is filled, fails or vanishes."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from memollm._types.calls import Place, Position
from memollm._types.requests import Release, Return, Settle
from memollm._types.samples import MINE, Busy, Sample
from memollm.testing._bench import A_MOMENT, PATIENCE, Bench, Hand, call, nobody_fills, somebody_fills
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

SLOT = Place(call(), 0)


class FillingCases(Bench):
    """Fills, settlements, landings, void claims."""

    def test_filled_slot_is_read(self) -> None:
        """What a draw stored is what every other draw reads (P2)."""
        hand = self.take()
        hand.fill(b"zero", stored=NOON)
        assert self.take(reader="b").states == [Sample(b"zero", NOON)]
        assert self.store.peek(call()) == {0: Sample(b"zero", NOON)}

    def test_waiting_draw_sees_the_fill(self) -> None:
        """Who found a slot busy is woken by its landing and reads it then (P5)."""
        first, second = self.take(reader="a"), self.take(reader="b")
        landing = self.store.flights.landing(first.ticket, SLOT)
        assert not landing.is_set()
        assert second.look(0) == [Busy(first.ticket)]
        first.fill(b"zero")
        assert landing.is_set()
        assert second.look(0) == [Sample(b"zero", NOON)]

    def test_waiting_draw_takes_over(self) -> None:
        """Who waits for a draw that fails gets its slot at once (P5)."""
        first, second = self.take(reader="a"), self.take(reader="b")
        landing = self.store.flights.landing(first.ticket, SLOT)
        first.give_back()
        assert landing.is_set()
        assert second.look(0) == [MINE]
        assert self.take(reader="c").states == [Busy(second.ticket)]

    def test_look_is_for_several_places(self) -> None:
        """A look tells each place's state, filled, busy and vacant alike."""
        self.stock(b"zero")
        first = self.take(2, reader="a")
        second = self.take(reader=None)
        assert second.look(0, 1, 2) == [Sample(b"zero", NOON), Busy(first.ticket), MINE]

    def test_look_sees_expiry(self) -> None:
        """A sample that is too old is no more for a look than for a take."""
        self.stock(b"old")
        hand = self.take(reader="a", newer_than=NOON)
        hand.give_back()
        assert self.take(reader=None, newer_than=NOON).look(0) == [MINE]

    def test_own_claim_is_mine_again(self) -> None:
        """A draw that looks at what it has claimed still has it."""
        assert self.take().look(0) == [MINE]

    # The end of a draw.

    def test_settled_positions_are_delivered(self) -> None:
        """After a settlement that returns nothing the reader goes on (P1)."""
        hand = self.take(2)
        hand.fill(b"zero", b"one")
        hand.settle()
        assert self.take().at == [2]

    def test_failed_draw_gives_all_back(self) -> None:
        """A draw that does not know its positions frees all that are recorded for it (P3)."""
        self.take(2)
        self.take(3).give_back()
        assert self.take(4).at == [2, 3, 4, 5]

    def test_failed_draw_shifts_no_other(self) -> None:
        """The positions of other draws stay theirs when one fails (P3)."""
        first, second, third = self.take(), self.take(), self.take()
        second.give_back()
        third.fill(b"two")
        first.fill(b"zero")
        third.settle()
        first.settle()
        assert {slot: sample.record for slot, sample in self.store.peek(call()).items()} == {0: b"zero", 2: b"two"}
        assert self.take().at == [1]

    def test_some_positions_go_back(self) -> None:
        """A settlement frees what it returns and delivers the rest (P1, P3)."""
        hand = self.take(4)
        hand.fill(b"0", b"1", b"2", b"3")
        hand.settle(1, 2)
        later = self.take(3)
        assert (later.at, later.states[:2]) == ([1, 2, 4], [Sample(b"1", NOON), Sample(b"2", NOON)])

    def test_claims_end_with_the_draw(self) -> None:
        """A draw that settles leaves no slot claimed, filled or not (P5)."""
        hand = self.take(2)
        hand.settle()
        assert self.take(2, reader="b").states == [MINE, MINE]

    def test_claims_outlive_a_draw_that_says_so(self) -> None:
        """A draw may give its positions back while its calls go on: whoever gets them finds the slots busy (P13)."""
        hand = self.take(3)
        landing = self.store.flights.landing(hand.ticket, SLOT)
        hand.leave(0, 1, 2)
        assert not landing.is_set()
        joining = self.take(2)
        assert (joining.at, joining.states) == ([0, 1], [Busy(hand.ticket)] * 2)
        hand.fill(b"zero", b"one", b"two")
        assert landing.is_set()
        assert joining.look(0, 1) == [Sample(b"zero", NOON), Sample(b"one", NOON)]
        assert self.take().records == [b"two"]

    def test_kept_claims_are_released_one_by_one(self) -> None:
        """What such calls do not fill is for others, slot by slot, or when the ticket is no longer aloft (P13)."""
        hand = self.take(3)
        hand.leave(0, 1, 2)
        self.write(Release(hand.ticket, Place(call(), 1)))
        joining = self.take(3)
        assert joining.states == [Busy(hand.ticket), MINE, Busy(hand.ticket)]
        hand.abandon()
        assert joining.look(0, 2) == [MINE, MINE]

    def test_fills_and_settlement_in_one_write(self) -> None:
        """Changes of several draws are applied in order, in one commit."""
        one, other = self.take(reader="a"), self.take(of=call("other"))
        ends = [Settle(one.ticket, []), Settle(other.ticket, other.positions(0))]
        self.write(*one.fills(b"zero"), *other.fills(b"kept"), *ends)
        one.abandon()
        other.abandon()
        assert self.take(reader="a").at == [1]
        assert self.take(of=call("other")).states == [Sample(b"kept", NOON)]

    def test_nothing_to_write(self) -> None:
        """A write of nothing is no error."""
        self.write()

    def test_draw_without_reader_settles(self) -> None:
        """A draw without a reader has no positions to give back."""
        self.take(2, reader=None).give_back()
        assert self.take(2, reader=None).states == [MINE, MINE]

    def test_settling_twice_does_no_harm(self) -> None:
        """A settlement that is written again frees nothing that others have drawn meanwhile (P1)."""
        hand = self.take()
        hand.fill(b"zero")
        hand.settle(0)
        self.drawn()
        self.write(Settle(hand.ticket, hand.positions(0)))
        assert self.take().at == [1]

    def test_delivered_position_returns(self) -> None:
        """A position that was delivered and could not be used is drawn again (P3)."""
        self.stock(b"zero", b"one")
        self.take(2).bring_back(0)
        assert [list(self.drawn().positions), self.take().at] == [[0], [2]]

    def test_return_leaves_others_alone(self) -> None:
        """A return frees no position that is in flight or not yet drawn (P1)."""
        self.take().bring_back(0, 1)
        self.write(Return(0, Position(call("unknown"), "nobody", 0)))
        assert [self.take().at, self.take().at] == [[1], [2]]

    # Draws that vanish.

    def test_vanished_draw_is_void(self) -> None:
        """When a ticket is no longer aloft, its claims are void and its positions free (P3, P5)."""
        self.take(2).abandon()
        again = self.take(2)
        assert (again.at, again.states) == ([0, 1], [MINE, MINE])
        assert self.take(reader="b").states == [Busy(again.ticket)]

    def test_late_settlement_takes_nothing_away(self) -> None:
        """A draw taken for dead that settles late frees nothing that others have drawn meanwhile, and is told (P1)."""
        for number, knows in enumerate((True, True, False)):
            hand = self.take(of=call(f"{number}"))
            hand.abandon()
            successor = self.take(of=call(f"{number}"))
            assert successor.at == hand.at
            answer = self.write(Settle(hand.ticket, hand.positions(*hand.at[:number]) if knows else None))
            assert list(answer.void) == hand.positions(0)
            assert self.take(of=call(f"{number}")).at == [1]
            successor.fill(b"zero")
            assert successor.settle().void == ()

    def test_late_fill_is_kept(self) -> None:
        """What a draw taken for dead has paid for fills its slot if that is still vacant (P7)."""
        hand = self.take()
        fills = hand.fills(b"late")
        hand.give_back()
        assert self.write(*fills).lost == {}
        assert self.take().states == [Sample(b"late", NOON)]

    def test_late_fill_replaces_nothing(self) -> None:
        """A fill that comes second leaves the sample that the slot holds, and the epoch, and tells the sample (P2)."""
        hand = self.take()
        fills = hand.fills(b"late")
        hand.give_back()
        self.stock(b"first")
        epoch = self.store.epoch()
        assert self.write(*fills).lost == {SLOT: Sample(b"first", NOON)}
        assert self.store.peek(call()) == {0: Sample(b"first", NOON)}
        assert self.store.epoch() == epoch

    def test_fill_again_changes_nothing(self) -> None:
        """The same fill written twice is one sample (P7)."""
        hand = self.take()
        fills = hand.fills(b"zero")
        self.write(*fills)
        epoch = self.store.epoch()
        self.write(*fills)
        assert self.store.peek(call()) == {0: Sample(b"zero", NOON)}
        assert self.store.epoch() == epoch

    # Epochs and watches.

    def test_replacing_an_expired_sample_begins_an_epoch(self) -> None:
        """Who remembers a sample learns that it was replaced; a first fill replaces nothing."""
        hand = self.take()
        epoch = self.store.epoch()
        hand.fill(b"old", stored=NOON)
        hand.settle()
        assert self.store.epoch() == epoch
        later = self.take(reader=None, newer_than=NOON)
        later.fill(b"new", stored=NOON + 1)
        assert self.store.peek(call()) == {0: Sample(b"new", NOON + 1)}
        assert self.store.epoch() != epoch

    def test_watch_tells_what_is_worth_a_look(self) -> None:
        """Nobody is waited for when a slot is vacant, filled, given back, or its draw has vanished."""
        hands = [self.take(reader=None, of=call(text)) for text in "abcd"]
        places = [Place(hand.want.call, 0) for hand in hands]
        assert somebody_fills(self.store, *places)
        assert nobody_fills(self.store, Place(call("never"), 0))
        hands[0].fill(b"zero")
        hands[1].give_back()
        hands[2].abandon()
        assert nobody_fills(self.store, *places[:3])
        assert somebody_fills(self.store, places[3])
        assert nobody_fills(self.store)

    def test_watcher_is_woken(self) -> None:
        """Who watches a slot is woken once when it is filled, let go or given up, and not before."""
        ends: list[Callable[[Hand], object]] = [
            lambda hand: hand.fill(b"zero"),
            lambda hand: self.write(Release(hand.ticket, Place(hand.want.call, 0))),
            lambda hand: hand.settle(0),
            Hand.give_back,
            Hand.abandon,
        ]
        for number, end in enumerate(ends):
            hand = self.take(of=call(f"{number}"))
            place, woken, ready = Place(hand.want.call, 0), list[Place](), threading.Event()
            stop = self.store.watch([place], partial(_woken, woken, ready))
            assert not ready.wait(A_MOMENT)
            end(hand)
            assert ready.wait(PATIENCE)
            hand.abandon()
            stop()
            assert woken == [place]

    def test_watch_that_was_stopped(self) -> None:
        """Nobody is woken after the watch was stopped."""
        hand, woken = self.take(), list[Place]()
        self.store.watch([SLOT], woken.append)()
        hand.fill(b"zero")
        assert nobody_fills(self.store, SLOT)
        assert woken == []


def _woken(woken: list[Place], ready: threading.Event, place: Place) -> None:
    woken.append(place)
    ready.set()
