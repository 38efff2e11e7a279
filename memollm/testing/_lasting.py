"""Conformance, fifth part, for stores that outlive an object or serve several at one time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.calls import Place
from memollm._types.counting import Account, Counts
from memollm._types.requests import Fill
from memollm._types.samples import MINE, Busy, Sample
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.testing._bench import Bench, call, nobody_fills, somebody_fills, written
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from memollm.stores.drawing import Drawing


class DurableConformance(Bench):
    """For stores whose samples stay when they are closed: add it to the bases and provide `reopen`."""

    def reopen(self, store: Drawing) -> Drawing:
        """Close the store and return a new one on what it has kept."""
        raise NotImplementedError(f"{type(self).__name__}.reopen() is to return a new store on the same samples.")

    def _again(self) -> Drawing:
        return self.closing(self.reopen(self.store))

    def test_everything_comes_back(self) -> None:
        """Samples, cursors, positions given back and documents are there after reopening (P1, P2)."""
        self.stock(b"zero", b"one", b"two")
        self.drawn()
        self.take(3).settle(2)
        self.note("function", "f", {"source": "..."})
        listed = self.looking.readers()
        store = self._again()
        assert looking(store).readers() == listed
        assert self.take(2, store=store).at == [2, 4]
        assert {slot: sample.record for slot, sample in store.peek(call()).items()} == {
            0: b"zero",
            1: b"one",
            2: b"two",
        }
        assert dict(looking(store).notes("function")) == {"f": {"source": "..."}}

    def test_draws_in_flight_end_with_the_store(self) -> None:
        """Claims of a store that was closed are void, what was filled is kept, and vacant positions are free (P3, P7).

        What a draw has in hand counts as delivered: it may give it yet, and can say so no more (P1).
        """
        hand = self.take(3)
        self.write(*hand.fills(b"0", b"1", b"2")[:1])
        again = self.take(3, store=self._again())
        assert (again.at, again.states) == ([1, 2, 3], [MINE, MINE, MINE])


class SharedConformance(Bench):
    """For stores that several processes use at one time: add it to the bases and provide `peer`."""

    def peer(self, store: Drawing) -> Drawing:
        """Return another store on the same samples, as another process would open it."""
        raise NotImplementedError(f"{type(self).__name__}.peer() is to return another store on the same samples.")

    def _peer(self) -> Drawing:
        return self.closing(self.peer(self.store))

    def test_claim_of_a_peer_is_busy(self) -> None:
        """A slot that another process is filling is nobody else's until it is filled (P5)."""
        hand, peer = self.take(), self._peer()
        waiting = self.take(reader="b", store=peer)
        assert waiting.states == [Busy(None)]
        assert somebody_fills(peer, Place(call(), 0))
        hand.fill(b"zero")
        assert nobody_fills(peer, Place(call(), 0))
        assert waiting.look(0) == [Sample(b"zero", NOON)]

    def test_position_in_flight_at_a_peer_is_taken(self) -> None:
        """One reader draws in several processes and gets nothing twice (P1)."""
        hand, peer = self.take(2), self._peer()
        assert self.take(2, store=peer).at == [2, 3]
        hand.settle(1)
        assert self.take(2, store=peer).at == [1, 4]

    def test_claim_kept_by_a_peer_is_busy(self) -> None:
        """A draw that left its calls to themselves gives its positions to other processes, not the slots (P13)."""
        hand, peer = self.take(2), self._peer()
        hand.leave(0, 1)
        joining = self.take(store=peer)
        assert (joining.at, joining.states) == ([0], [Busy(None)])
        assert somebody_fills(peer, Place(call(), 0))
        hand.fill(b"zero", b"one")
        assert nobody_fills(peer, Place(call(), 0))
        assert joining.look(0) == [Sample(b"zero", NOON)]
        assert self.take(store=peer).records == [b"one"]

    def test_peer_that_leaves_frees_what_it_held(self) -> None:
        """Claims and positions of a process that closes its store are void at once (P3, P5)."""
        peer = self._peer()
        self.take(2, store=peer)
        waiting = self.take(reader="b")
        peer.close()
        assert nobody_fills(self.store, Place(call(), 0))
        assert waiting.look(0) == [MINE]
        assert self.take(2).at == [0, 1]

    def test_waiting_for_one_after_another(self) -> None:
        """Who waits for a draw that fails, and is not the first to take over, waits for the one that was (P5)."""
        first, other, peer = self.take(reader="a"), self.take(reader="b", store=self._peer()), self._peer()
        waiting = self.take(reader="c", store=peer)
        first.give_back()
        assert (other.look(0), waiting.look(0)) == ([MINE], [Busy(None)])
        assert somebody_fills(peer, Place(call(), 0))
        written(other.store, [Fill(other.ticket, Place(call(), 0), Sample(b"zero", NOON))])
        assert nobody_fills(peer, Place(call(), 0))
        assert waiting.look(0) == [Sample(b"zero", NOON)]

    def test_vanished_draw_of_a_peer(self) -> None:
        """A draw that its own process knows to have ended is void there at once (P3)."""
        peer = self._peer()
        self.take(store=peer).abandon()
        assert self.take(store=peer).at == [0]

    def test_peer_learns_of_replacement(self) -> None:
        """The epoch changes for every process when one of them replaces or removes a sample."""
        self.stock(b"old")
        peer = self._peer()
        self.take(store=peer, reader=None)
        seen = [peer.epoch()]
        self.take(reader=None, newer_than=NOON).fill(b"new", stored=NOON + 1)
        seen.append(peer.epoch())
        self.keeping.forget(call())
        seen.append(peer.epoch())
        assert len(set(seen)) == 3, seen

    def test_peer_draws_what_another_forgot(self) -> None:
        """A call that one process has forgotten begins anew in all, and is one call again (P2)."""
        peer = self._peer()
        self.stock(b"old", b"older", store=peer)
        self.drawn(2, store=peer)
        self.keeping.forget(call())
        hand = self.take(store=peer)
        assert (hand.at, hand.states) == ([0], [MINE])
        hand.fill(b"new")
        assert self.take(reader="b").records == [b"new"]

    def test_peer_draws_for_a_reader_that_another_rewound(self) -> None:
        """A rewind holds in every process (P2)."""
        self.stock(b"zero")
        peer = self._peer()
        self.drawn(store=peer)
        self.keeping.rewind("reader")
        assert list(self.drawn(store=peer).positions) == [0]
        self.keeping.drop("reader")
        assert list(self.drawn(store=peer).positions) == [0]

    def test_peers_share_lanes(self) -> None:
        """A lane gets the same in another process; what a process held when it left is its lane's again (P2, P3)."""
        peer = self._peer()
        self.take(reader="run:1", lane="x").settle()
        self.take(reader="run:1", lane="y", store=peer).settle()
        self.take(2, reader="run:2", lane="y", store=peer)
        peer.close()
        assert [self.take(reader="run:2", lane=lane).at for lane in ("x", "y", "y", "z")] == [[0], [1], [2], [3]]

    def test_call_that_a_peer_draws_stays(self) -> None:
        """No process evicts what another is drawing (P1, P5)."""
        self.stock(b"zero")
        peer = self._peer()
        hand = self.take(2, store=peer)
        handles = [item.handle for item in self.looking.inventory()]
        assert self.keeping.evict(handles, used_by=NOON) == []
        hand.give_back()
        assert self.keeping.evict(handles, used_by=NOON) == handles

    def test_peers_count_together(self) -> None:
        """What several processes count adds up."""
        account = Account("2026-11-21", "r", "", "f")
        for store in (self.store, self._peer(), self.store):
            keeping(store).count(store.flights.new_id(), {account: Counts(draws=1)}, [])
        assert dict(looking(self._peer()).counted()) == {account: Counts(draws=3)}

    def test_peers_share_the_catalog(self) -> None:
        """What one process notes, another reads."""
        self.note("run", "one", {"at": NOON})
        assert dict(looking(self._peer()).notes("run")) == {"one": {"at": NOON}}

    def test_peers_draw_at_one_time(self) -> None:
        """Threads of several processes draw all positions once, without a gap (P1, P3)."""
        stores = [self.store, self._peer(), self._peer()]

        def draw(store: Drawing) -> list[int]:
            kept: list[int] = []
            for turn in range(12):
                hand = self.take(1 + turn % 2, store=store)
                hand.fill(*(b"%d" % at for at in hand.at))
                hand.settle()
                kept += hand.at
            return kept

        drawn = self.together(*[lambda store=store: draw(store) for store in stores * 2])
        assert sorted(at for each in drawn for at in each) == list(range(6 * 18))
