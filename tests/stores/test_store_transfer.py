"""What a store's snapshot and shelf promise: lanes, what is in flight, what runs used, and what was counted."""

from __future__ import annotations

import pytest

from memollm._types.calls import NAMESPACES, RUNS, Place, Want
from memollm._types.counting import Account, Counts, Use
from memollm._types.listings import Move
from memollm._types.requests import Fill, Settle, Take
from memollm._types.samples import MINE, Replaced, Sample, digest_of
from memollm.stores.keeping import keeping
from memollm.stores.looking import drawn, looking
from memollm.stores.memory.store import MemoryStore
from memollm.stores.transfer import Lane, Part, Stretch
from memollm.testing._bench import Hand, asked, call, written

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
    (taken,) = asked(store, Take(ticket, [Want(CALL, reader, n, None, lane)]))
    return ticket, list(taken.positions)


def fill(store, ticket, slots, start=0):
    written(
        store,
        [Fill(ticket, Place(CALL, at), Sample(b"J1:93b2ae5e:%d" % (at + start), float(at + start))) for at in slots],
    )


def draw(store, n, lane=None, reader=READER, start=0):
    """Draw, filling what is vacant."""
    ticket, positions = depart(store, n, lane, reader)
    fill(store, ticket, [at for at in positions if at not in store.peek(CALL)], start)
    written(store, [Settle(ticket, ())])
    return positions


def moved(source, target, file):
    """Move everything by a file; the records need not be whole for the stores."""
    from memollm._upkeep.transfer import Joining

    with keeping(source).transfer().snapshot() as snapshot:

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

        keeping(target).transfer().merge(join)


def content(store):
    """Return all that a snapshot tells."""
    with keeping(store).transfer().snapshot() as snapshot:
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
    keeping(source).count(source.flights.new_id(), {ACCOUNT: Counts(draws=3)}, [Use("r", CALL, 0, 2, 1.0)])
    moved(source, target, tmp_path)
    assert content(target) == content(source)
    assert [drawn(looking(target), READER, CALL, lane) for lane in ("left", "right", None)] == [[0, 1, 5], [2, 3], [4]]
    with keeping(target).transfer().snapshot() as snapshot:
        (entry,) = snapshot.entries(Part(None, f"{RUNS}r", "r"))
        assert snapshot.stretches(entry) == [Stretch("r", 0, 2)]


def test_a_lane_keeps_its_own_order(pair, tmp_path):
    """What a lane drew later may stand before: it is told, and replayed, in the order of the lane."""
    source, target = pair
    draw(source, 5)
    order = [4, 1, 3, 0]
    keeping(source).transfer().merge(lambda shelf: shelf.record(shelf.call(CALL, 0.0), Lane(READER, "a", order)))
    moved(source, target, tmp_path)
    for store in pair:
        assert drawn(looking(store), READER, CALL, "a") == order


def test_what_was_given_back_stays_to_be_drawn(pair, tmp_path):
    """A position that failed is free in the other store, for its lane if it is one's (P3)."""
    source, target = pair
    draw(source, 3, "left")
    ticket, positions = depart(source, 1, "left")
    store_positions = list(positions)
    written(source, [Settle(ticket, None)])
    moved(source, target, tmp_path)
    assert draw(target, 1)[0] > store_positions[0]
    assert draw(target, 1, "left") == store_positions


def test_in_flight_counts_as_given_where_it_is_filled(pair, tmp_path):
    """A sample that may reach its reader at any moment is not given to its copy; a vacant slot is (P1, P3)."""
    source, _ = pair
    ticket, positions = depart(source, 2)
    fill(source, ticket, positions[:1])
    with keeping(source).transfer().snapshot() as snapshot:
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

    keeping(source).transfer().merge(far)
    draw(target, 1, start=50)
    moved(source, target, tmp_path)
    moved(target, source, tmp_path)
    assert [each.draws for each in looking(source).readers() if each.name == READER] == [1 << 60]


def replace(store, slot, record, stored):
    """Fill a slot anew, as a refresh does."""
    hand = Hand(store, Want(CALL, None, slot + 1, None), newer_than=stored - 1)
    assert hand.states[slot] is MINE
    written(
        store,
        [Fill(hand.ticket, Place(CALL, slot), Sample(record, stored), hand.newer_than), Settle(hand.ticket, ())],
    )
    hand.abandon()


def replaced(store, of=CALL):
    """Return what a shelf tells of replaced samples."""
    return keeping(store).transfer().merge(lambda shelf: list(shelf.replaced(shelf.call(of, 0.0))))


def adopt(store, old, new):
    keeping(store).adopt([Move(old, new)], lambda _move, record: record)


def use(store, *uses):
    keeping(store).count(store.flights.new_id(), {}, uses)


def stretches(store):
    """Return what runs used of each call."""
    with keeping(store).transfer().snapshot() as snapshot:
        return {entry.call: snapshot.stretches(entry) for entry in snapshot.entries(Part())}


def test_replaced_samples_are_remembered(pair):
    """By the slot, the moment and a digest; not those of other calls, nor what was never replaced."""
    store, _ = pair
    draw(store, 3)
    old = store.peek(CALL)
    replace(store, 1, b"new", 50.0)
    replace(store, 1, b"newer", 60.0)
    wanted = [Replaced(1, old[1].stored, digest_of(old[1].record)), Replaced(1, 50.0, digest_of(b"new"))]
    assert replaced(store) == wanted
    assert replaced(store, call("other")) == []


def test_an_answer_that_was_lost_replaces_nothing(pair):
    """Where another's answer stands, it stays, and nothing was replaced."""
    store, _ = pair
    draw(store, 1)
    written(store, [Fill(store.flights.depart(), Place(CALL, 0), Sample(b"late", 99.0), -1.0)])
    assert [sample.stored for sample in store.peek(CALL).values()] == [0.0]
    assert replaced(store) == []


def test_replaced_samples_go_where_their_call_goes(pair):
    """An adopted call takes along what was replaced of it, by its new slots; a forgotten one takes it away."""
    store, _ = pair
    draw(store, 2)
    replace(store, 0, b"new", 50.0)
    (before,) = replaced(store)
    to, far = call("to"), call("far")
    adopt(store, CALL, far)
    assert replaced(store, far) == [before]
    hand = Hand(store, Want(to, None, 3, None))
    hand.fill(b"0", b"1", b"2")
    hand.settle()
    adopt(store, far, to)
    assert (replaced(store, to), replaced(store, far)) == ([before._replace(slot=3)], [])
    keeping(store).forget(to)
    assert replaced(store, to) == []


def test_what_runs_used_goes_where_its_call_goes(pair):
    """What a run used of a call that is adopted is used by its new slots; of a forgotten one nothing is."""
    store, _ = pair
    to = call("to")
    draw(store, 3)
    use(store, Use("r", CALL, 0, 1, 1.0))
    adopt(store, CALL, to)
    assert stretches(store) == {to: [Stretch("r", 0, 1)]}
    draw(store, 3)
    use(store, Use("r", CALL, 1, 2, 1.0), Use("s", CALL, 0, 0, 1.0))
    adopt(store, CALL, to)
    assert stretches(store) == {to: [Stretch("r", 0, 1), Stretch("r", 4, 5), Stretch("s", 3, 3)]}
    keeping(store).forget(to)
    draw(store, 1)
    assert stretches(store) == {CALL: []}
    again = Hand(store, Want(to, None, 1, None))
    again.fill(b"0")
    again.settle()
    assert stretches(store)[to] == []
