"""What a store's snapshot and shelf promise: lanes, what is in flight, what runs used, and what was counted."""

from __future__ import annotations

import pytest

from memollm import Cache
from memollm._types.calls import NAMESPACES, RUNS, Place, Want
from memollm._types.counting import Account, Counts, Use
from memollm._types.requests import Fill, Settle
from memollm._types.samples import EVER, Sample
from memollm.stores.memory.store import MemoryStore
from memollm.stores.transfer import Part, Stretch
from memollm.testing._bench import call

CALL = call()
READER = f"{NAMESPACES}n"
ACCOUNT = Account("2026-11-21", "r", "", CALL.function)


@pytest.fixture(params=["memory", "sqlite"])
def pair(request, tmp_path, opened):
    """Make two stores of a kind."""
    if request.param == "memory":
        return MemoryStore(), MemoryStore()
    return opened(tmp_path / "a"), opened(tmp_path / "b")


def depart(store, n, lane=None, reader=READER):
    """Begin a draw, and leave it in flight."""
    ticket = store.flights.depart()
    (taken,) = store.take([Want(CALL, reader, n, None, lane)], ticket, newer_than=EVER, wait=True)
    return ticket, list(taken.positions)


def fill(store, ticket, slots, start=0):
    store.write(
        [Fill(ticket, Place(CALL, at), Sample(b"J1:93b2ae5e:%d" % (at + start), float(at + start))) for at in slots]
    )


def draw(store, n, lane=None, reader=READER, start=0):
    """Draw, filling what is vacant."""
    ticket, positions = depart(store, n, lane, reader)
    fill(store, ticket, [at for at in positions if at not in store.peek(CALL)], start)
    store.write([Settle(ticket, ())])
    return positions


def moved(source, target, file):
    """Move everything by a file; the records need not be whole for the stores."""
    from memollm._upkeep.transfer import Joining

    with source.transfer().snapshot() as snapshot:

        def join(shelf):
            for entry in snapshot.entries(Part()):
                joining = Joining(entry.call, entry.made)
                joining.begin(shelf)
                for slot, sample in snapshot.samples(entry):
                    joining.put(slot, sample)
                for lane in snapshot.lanes(entry):
                    joining.lane(lane)
                for cursor in snapshot.cursors(entry):
                    joining.cursor(cursor)
                for one in snapshot.stretches(entry):
                    joining.use(one)
            shelf.count(snapshot.counted())

        target.transfer().merge(join)


def content(store):
    """Return all that a snapshot tells."""
    with store.transfer().snapshot() as snapshot:
        return [
            (
                list(snapshot.samples(entry)),
                snapshot.cursors(entry),
                snapshot.lanes(entry),
                snapshot.stretches(entry),
                snapshot.counted(),
            )
            for entry in snapshot.entries(Part())
        ]


def test_lanes_and_uses_and_counts_come_along(pair, tmp_path):
    """A lane goes on in the other store where it was, and so does what was counted."""
    source, target = pair
    draw(source, 2, "left")
    draw(source, 2, "right")
    draw(source, 1)
    draw(source, 1, "left")
    source.count({ACCOUNT: Counts(draws=3)}, [Use("r", CALL, 0, 2, 1.0)])
    moved(source, target, tmp_path)
    assert content(target) == content(source)
    assert [target.drawn(READER, CALL, lane) for lane in ("left", "right", None)] == [[0, 1, 5], [2, 3], [4]]
    with target.transfer().snapshot() as snapshot:
        (entry,) = snapshot.entries(Part(None, f"{RUNS}r", "r"))
        assert snapshot.stretches(entry) == [Stretch("r", 0, 2)]


def test_what_was_given_back_stays_to_be_drawn(pair, tmp_path):
    """A position that failed is free in the other store, for its lane if it is one's (P3)."""
    source, target = pair
    draw(source, 3, "left")
    ticket, positions = depart(source, 1, "left")
    store_positions = list(positions)
    source.write([Settle(ticket, None)])
    moved(source, target, tmp_path)
    assert draw(target, 1)[0] > store_positions[0]
    assert draw(target, 1, "left") == store_positions


def test_in_flight_counts_as_given_where_it_is_filled(pair, tmp_path):
    """A sample that may reach its reader at any moment is not given to its copy; a vacant slot is (P1, P3)."""
    source, _ = pair
    ticket, positions = depart(source, 2)
    fill(source, ticket, positions[:1])
    with source.transfer().snapshot() as snapshot:
        (entry,) = snapshot.entries(Part())
        (cursor,) = snapshot.cursors(entry)
    assert (cursor.next, list(cursor.free)) == (2, [1])


def test_a_slot_that_is_being_filled_is_not_taken(pair, tmp_path):
    """Whoever asked first fills it, and what is loaded comes after (P6)."""
    source, target = pair
    draw(source, 2)
    ticket, positions = depart(target, 1, reader=f"{NAMESPACES}other")
    moved(source, target, tmp_path)
    fill(target, ticket, positions, start=100)
    assert [sample.stored for sample in target.peek(CALL).values()] == [100.0, 0.0, 1.0]


def test_a_huge_cursor_costs_nothing(pair, tmp_path):
    """A pool's reader may be far beyond every sample."""
    source, target = pair
    draw(source, 1)

    def far(shelf):
        shelf.draw(shelf.call(CALL, 0.0), READER, 1 << 60, given=(), free=())

    source.transfer().merge(far)
    draw(target, 1, start=50)
    moved(source, target, tmp_path)
    moved(target, source, tmp_path)
    assert Cache(source).namespaces()[0].draws == 1 << 60
