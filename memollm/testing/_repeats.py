"""Conformance, third part: answers that were lost, late fills, and several requests at one time."""

from __future__ import annotations

from typing import cast

from memollm._types.calls import Place, Want
from memollm._types.requests import Fill, Look, Release, Return, Settle, Take, Write, Written
from memollm._types.samples import MINE, Busy, Sample, Taken
from memollm.errors import StoreError
from memollm.testing._bench import Bench, asked, call
from memollm.testing.fakes import NOON

SLOT = Place(call(), 0)


class RepeatCases(Bench):
    """Whatever is asked again takes effect once, and no delivered sample ever changes."""

    # Answers that were lost.

    def test_take_again(self) -> None:
        """A take that is asked again with its ticket gives the same answer and takes nothing more (P1, P4)."""
        self.stock(b"zero")
        for n in (1, 2):
            hand = self.take(n)
            again: list[Taken] = asked(self.store, hand.request)
            assert list(again[0].positions) == hand.at
            assert [*again[0].states] == hand.states
            assert again[0].generation == hand.taken[0].generation
        assert self.take().at == [3]

    def test_take_again_without_reader(self) -> None:
        """The same holds without a cursor."""
        for n in (2, 1):
            hand = self.take(n, reader=None, of=call(f"{n}"))
            hand.fill(*[b"filled"] * n)
            assert [list(each.states) for each in asked(self.store, hand.request)] == [[MINE] * n]

    def test_write_again(self) -> None:
        """A write that is asked again gives the same answer and changes nothing (P1)."""
        self.stock(b"zero", b"one")
        first = self.take()
        write = Write(self.store.flights.new_id(), [Return(first.ticket, *first.positions(0))])
        assert asked(self.store, write) == Written()
        assert self.take().at == [0]
        assert asked(self.store, write) == Written()
        assert self.take().at == [1]

    def test_asked_twice_at_one_time(self) -> None:
        """What is asked twice in one burst, as by who was interrupted and asks again, takes effect once (P1, P3)."""
        self.stock(b"zero", b"one")
        first = self.take()
        write = Write(self.store.flights.new_id(), [Return(first.ticket, *first.positions(0))])
        take = Take(self.store.flights.depart(), [Want(call(), "reader", 1, None)])
        assert self.store.perform([write, write]) == [Written(), Written()]
        one, other = cast("list[list[Taken]]", self.store.perform([take, take]))
        assert list(one[0].positions) == list(other[0].positions) == [0]
        assert self.take().at == [1]

    def test_return_twice(self) -> None:
        """Two returns of one position free it twice only if it was drawn in between (P1)."""
        self.stock(b"zero", b"one")
        first = self.take()
        first.bring_back(0)
        first.bring_back(0)
        assert [self.take().at, self.take().at] == [[0], [1]]

    def test_what_was_lost_is_told_again(self) -> None:
        """A write that is asked again tells again which fills came second."""
        hand, other = self.take(reader="a"), self.take(reader=None)
        other.abandon()
        write = Write(self.store.flights.new_id(), hand.fills(b"first"))
        assert asked(self.store, write) == Written()
        late = Write(self.store.flights.new_id(), [Fill(other.ticket, SLOT, Sample(b"second", NOON))])
        for _ in range(2):
            assert asked(self.store, late).lost == {SLOT: Sample(b"first", NOON)}

    def test_fill_and_settlement_again(self) -> None:
        """The last fill with its settlement is no loss when it is asked again (P7)."""
        hand = self.take()
        write = Write(self.store.flights.new_id(), [*hand.fills(b"zero"), Settle(hand.ticket, [])])
        assert asked(self.store, write) == asked(self.store, write) == Written()
        assert self.take().at == [1]

    # Draws that do not know what they were given.

    def test_nothing_was_delivered(self) -> None:
        """A draw that settles not knowing what it took frees also what taking has delivered (P3)."""
        self.stock(b"zero", b"one")
        for want in (1, 2, 3):
            self.take(want).give_back()
            assert self.take(want).at == list(range(want))
            self.take(of=call("other"))
            self.stock(*(b"%d" % at for at in range(9)), of=call(f"{want}"))
            self.take(want, of=call(f"{want}")).give_back()
            assert self.take(want + 1, of=call(f"{want}")).at == list(range(want + 1))
            return

    def test_nothing_of_several_wants_was_delivered(self) -> None:
        """Of a draw of which some wants were stored and some were not, all is free again (P3)."""
        self.stock(b"zero", of=call("stored"))
        wants = [Want(call("stored"), "reader", 1, None), Want(call(), "reader", 2, None)]
        ticket = self.store.flights.depart()
        asked(self.store, Take(ticket, wants))
        self.write(Settle(ticket, None))
        self.store.flights.arrive(ticket)
        assert [self.take(of=call("stored")).at, self.take(2).at] == [[0], [0, 1]]

    def test_nothing_is_freed_twice(self) -> None:
        """Settling so again frees nothing that another draw was given meanwhile (P1)."""
        self.stock(b"zero", b"one")
        hand = self.take()
        self.write(Settle(hand.ticket, None))
        assert self.take().at == [0]
        self.write(Settle(hand.ticket, None))
        hand.abandon()
        self.write(Settle(hand.ticket, None))
        assert self.take().at == [1]

    def test_draw_that_took_nothing(self) -> None:
        """A draw whose take never came about settles without harm."""
        self.write(Settle(self.store.flights.depart(), None))
        assert self.take().at == [0]

    # Late fills.

    def test_late_fill_comes_second(self) -> None:
        """The next claimer has filled first: the late fill is lost and told which sample to deliver (P2)."""
        hand = self.take(reader="a")
        hand.abandon()
        claimer = self.take(reader="b")
        assert claimer.states == [MINE]
        assert self.write(*claimer.fills(b"next")).lost == {}
        assert self.write(*hand.fills(b"late")).lost == {SLOT: Sample(b"next", NOON)}
        assert self.take(reader="c").records == [b"next"]

    def test_late_fill_comes_first(self) -> None:
        """The late fill is there first: the next claimer's is lost, and the sample stays what was delivered (P2)."""
        hand = self.take(reader="a")
        hand.abandon()
        claimer = self.take(reader="b")
        assert self.write(*hand.fills(b"late")).lost == {}
        assert self.take(reader="c").records == [b"late"]
        epoch = self.store.epoch()
        assert self.write(*claimer.fills(b"next")).lost == {SLOT: Sample(b"late", NOON)}
        assert (self.take(reader="d").records, self.store.epoch()) == ([b"late"], epoch)

    def test_late_fill_leaves_the_claim(self) -> None:
        """A fill ends the claim of its own draw and nobody else's (P5)."""
        hand = self.take(reader="a", newer_than=NOON)
        hand.abandon()
        claimer = self.take(reader="b", newer_than=NOON)
        self.write(*hand.fills(b"old", stored=NOON))
        assert self.take(reader="c", newer_than=NOON).states == [Busy(claimer.ticket)]

    def test_lost_fill_ends_its_claim(self) -> None:
        """Who lost fills no more: for whom the sample is too old, the slot is free (P5)."""
        hand = self.take(reader="a")
        hand.abandon()
        claimer = self.take(reader="b")
        self.write(*hand.fills(b"late"))
        self.write(*claimer.fills(b"next"))
        assert self.take(reader="c", newer_than=NOON).states == [MINE]

    def test_refreshed_sample_stays(self) -> None:
        """Of two draws that want a new sample, the second to fill delivers the first's (P2)."""
        self.stock(b"old")
        first = self.take(reader="a", newer_than=NOON)
        self.write(Release(first.ticket, SLOT))
        second = self.take(reader="b", newer_than=NOON)
        assert self.write(*second.fills(b"new", stored=NOON + 1)).lost == {}
        lost = self.write(*first.fills(b"newer", stored=NOON + 2)).lost
        assert lost == {SLOT: Sample(b"new", NOON + 1)}

    # Several at one time.

    def test_nothing_is_asked(self) -> None:
        """No request has no answer."""
        assert self.store.perform([]) == []

    def test_requests_are_done_in_order(self) -> None:
        """Takes get their positions in the order of asking, and see the writes before them (P2, P6)."""
        hand = self.take(2, reader="a")
        tickets = [self.store.flights.depart() for _ in range(5)]
        first, second, write, third, look = self.store.perform(
            [
                Take(tickets[0], [Want(call(), "b", 1, None)]),
                Take(tickets[1], [Want(call(), None, 1, None)]),
                Write(tickets[2], [*hand.fills(b"0", b"1"), Settle(hand.ticket, hand.positions(1))]),
                Take(tickets[3], [Want(call(), "b", 1, None), Want(call(), "a", 2, None)]),
                Look(tickets[0], [SLOT, Place(call(), 2)]),
            ]
        )
        assert [[list(each.positions) for each in _taken(answer)] for answer in (first, second, third)] == [
            *([[0]], [[0]], [[1], [1, 2]])
        ]
        assert [list(each.states) for each in _taken(first)] == [[Busy(hand.ticket)]]
        assert [list(each.states) for each in _taken(second)] == [[Busy(hand.ticket)]]
        assert list(_taken(third)[0].states) == [Sample(b"1", NOON)]
        assert list(_taken(third)[1].states) == [Sample(b"1", NOON), MINE]
        assert (write, look) == (Written(), [Sample(b"0", NOON), Busy(tickets[3])])

    def test_many_draws_at_one_time(self) -> None:
        """Many takes of one reader are as many different positions (P1, P3)."""
        tickets = [self.store.flights.depart() for _ in range(50)]
        answers = self.store.perform([Take(ticket, [Want(call(), "reader", 1, None)]) for ticket in tickets])
        assert [list(_taken(answer)[0].positions) for answer in answers] == [[at] for at in range(50)]
        fills = [Fill(ticket, Place(call(), at), Sample(b"%d" % at, NOON)) for at, ticket in enumerate(tickets)]
        writes = [Write(self.store.flights.new_id(), [fill, Settle(fill.ticket, [])]) for fill in fills]
        assert self.store.perform(writes) == [Written()] * 50
        assert len(self.store.peek(call())) == 50
        assert self.take().at == [50]


def _taken(answer: object) -> list[Taken]:
    assert not isinstance(answer, StoreError), answer
    return cast("list[Taken]", answer)
