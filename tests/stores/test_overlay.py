"""A reading store draws from another store and changes nothing there."""

import pytest
from hands import at_once, stock, take

from memollm._types.calls import Place, Want, resuming
from memollm._types.counting import Account, Counts, Use
from memollm._types.listings import Move
from memollm._types.requests import Take
from memollm._types.samples import MINE, Busy, Sample
from memollm.errors import StoreRefused
from memollm.stores.keeping import keeping
from memollm.stores.looking import drawn, looking
from memollm.stores.memory.store import MemoryStore
from memollm.stores.reading import ReadingStore
from memollm.stores.sqlite.reader import SqliteReader
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import NOON
from memollm.testing._bench import Hand, asked, call, nobody_fills, noted, somebody_fills


@pytest.fixture(params=["memory", "sqlite", "sqlite that may only be read"])
def stores(request, tmp_path):
    """Make a store, and what reads it."""
    base = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "cache")
    reading = ReadingStore(SqliteReader(tmp_path / "cache") if "only" in request.param else base)
    yield base, reading
    reading.close()
    base.close()


def everything(store):
    readers = [reader.name for reader in looking(store).readers()]
    standings = [looking(store).standing(reader, call()) for reader in [*readers, "run:9"]]
    listed = (
        looking(store).readers(),
        looking(store).survey(),
        looking(store).readers_of(call()),
        looking(store).inventory(),
    )
    return store.peek(call()), listed, standings, looking(store).counted(), store.epoch()


# Drawing.


def test_readers_begin_where_they_stand(stores):
    """A reader goes on where it stands in the other store, where nothing moves (P2)."""
    base, reading = stores
    stock(base, *(b"%d" % at for at in range(6)))
    take(base, 4).bring_back(1)
    before = everything(base)
    assert [take(reading, n).at for n in (1, 2)] == [[1], [4, 5]]
    assert [take(reading, reader=reader).records for reader in ("new", None)] == [[b"0"], [b"0"]]
    assert everything(base) == before
    assert drawn(looking(reading), "reader", call(), None) == [0, 1, 2, 3, 4, 5]
    assert drawn(looking(base), "reader", call(), None) == [0, 2, 3]


def test_what_is_filled_is_kept_here_alone(stores):
    """A sample that is made here is given to every reader of this process, and the other store has none of it (P2)."""
    base, reading = stores
    stock(base, b"zero")
    hand = take(reading, 2)
    assert hand.states == [Sample(b"zero", NOON), MINE]
    waiting = take(reading, 2, reader="b")
    assert waiting.states[1] == Busy(hand.ticket)
    assert somebody_fills(reading, Place(call(), 1))
    hand.fill(b"one")
    hand.settle()
    assert nobody_fills(reading, Place(call(), 1))
    assert waiting.look(1) == [Sample(b"one", NOON)]
    assert take(reading, 2, reader="c").records == [b"zero", b"one"]
    assert take(reading).at == [2]
    assert list(reading.peek(call())) == [0, 1]
    assert list(base.peek(call())) == [0]


def test_given_back_positions_come_first(stores):
    """A draw that fails gives its positions back, for the draws of this process (P3)."""
    base, reading = stores
    stock(base, b"zero")
    take(reading, 3).give_back()
    assert take(reading, 2).at == [0, 1]


def test_what_is_stored_meanwhile_is_drawn(stores):
    """A sample that another stored after the last look is given, and one that was removed is not (P2, P4)."""
    base, reading = stores
    stock(base, b"zero")
    assert take(reading).records == [b"zero"]
    hand = take(base, 2, reader="other")
    hand.fill(b"one")
    hand.settle()
    assert take(reading).records == [b"one"]
    keeping(base).forget(call())
    assert take(reading, reader="b").states == [MINE]
    stock(base, b"new")
    assert take(reading, reader="c").records == [b"new"]


def test_lanes_of_the_other_store_are_respected(stores):
    """A lane gets what is recorded for it there; what it gets beyond that is recorded here (P2)."""
    base, reading = stores
    for lane in ("x", "y", "x"):
        take(base, reader="run:1", lane=lane).settle()
    before = everything(base)
    assert [take(reading, reader="run:2", lane=lane).at for lane in ("y", "y", "x", "x", "z")] == [
        *([1], [3], [0], [2], [4])
    ]
    assert [take(reading, reader="run:3", lane=lane).at for lane in ("z", "y", "y", None)] == [[4], [1], [3], [5]]
    assert take(reading, reader="run:1", lane="y").at == [3]
    assert everything(base) == before


def test_expired_samples_are_vacant(stores):
    """Expiry is the asker's here too."""
    base, reading = stores
    stock(base, b"zero")
    assert take(reading, reader=None, newer_than=NOON).states == [MINE]
    assert take(reading, reader="b", newer_than=NOON - 1).records == [b"zero"]


def test_several_wants_of_one_call(stores):
    """Wants of one take get different positions, all of them read (P1)."""
    base, reading = stores
    stock(base, *(b"%d" % at for at in range(4)))
    want = Want(call(), "reader", 2, None)
    taken = asked(reading, Take(reading.flights.depart(), [want, want]))
    assert [list(one.positions) for one in taken] == [[0, 1], [2, 3]]
    assert [state.record for one in taken for state in one.states] == [b"0", b"1", b"2", b"3"]


def test_an_epoch_that_begins_in_the_middle_of_a_request(stores, monkeypatch):
    """A request goes by all that it has read, though something was replaced while it read the rest (P4)."""
    base, reading = stores
    others = [call("a"), call("b")]
    for each in others:
        stock(base, b"0", of=each)
    read = reading._base.peek

    def peek(*asked):
        monkeypatch.setattr(reading._base, "epoch", lambda: 10**6)
        return read(*asked)

    monkeypatch.setattr(reading._base, "peek", peek)
    wants = [Want(each, "reader", 1, None) for each in others]
    hand = Hand(reading, *wants)
    assert [[state.record for state in taken.states] for taken in hand.taken] == [[b"0"], [b"0"]]


def test_pools_cycle(stores):
    """Pools read their slots."""
    base, reading = stores
    stock(base, b"zero", b"one")
    draws = [Want(call(), "reader", 1, 2)] * 3
    taken = asked(reading, Take(reading.flights.depart(), draws))
    assert [one.states[0].record for one in taken] == [b"zero", b"one", b"zero"]


def test_what_is_at_hand_is_not_waited_for(stores):
    """A draw that must not wait is given what is in memory; what must be read is left to one that may (P12)."""
    base, reading = stores
    stock(base, b"zero", b"one")
    assert at_once(reading) is None
    assert take(reading).at == [0]
    assert at_once(reading) == ([1], [b"one"])
    assert at_once(reading) is None
    assert take(reading).at == [2]


def test_samples_at_hand_are_bounded(stores, monkeypatch):
    """Only so many samples are kept in memory."""
    monkeypatch.setattr("memollm.stores.reading.SAMPLES_AT_HAND", 5)
    base, reading = stores
    for number in range(9):
        stock(base, b"0", b"1", of=call(f"{number}"))
        assert take(reading, 2, of=call(f"{number}")).records == [b"0", b"1"]
    assert sum(map(len, reading._at_hand.values())) <= 8
    assert reading._count_at_hand == sum(map(len, reading._at_hand.values()))


def test_what_is_vacant_is_looked_at_alone(stores, monkeypatch):
    """A call is read as a whole once; a miss after that reads only the slots that were vacant and are within reach."""
    base, reading = stores
    stock(base, b"zero", b"one")
    read, peek = [], reading._base.peek
    monkeypatch.setattr(reading._base, "peek", lambda of, slots=None: read.append(slots) or peek(of, slots))
    assert [take(reading).states for _ in range(4)] == [[Sample(b"zero", NOON)], [Sample(b"one", NOON)], [MINE], [MINE]]
    assert read == [None, [2], [2, 3]]
    assert reading.peek(call(), [1, 5]) == {1: Sample(b"one", NOON)}


# What is not drawing.


def test_reading_operations_pass_through(stores):
    """Calls, readers, counts, the inventory and notes are the other store's."""
    base, reading = stores
    stock(base, b"zero")
    take(base)
    keeping(base).count(1 << 40, {Account("d", "r", "n", "f"): Counts(draws=1)}, [Use(None, call(), 0, 0, NOON + 1)])
    for name in "ab":
        noted(base, "function", name, {"is": "kept"})
    assert looking(reading).calls("tests.ask") == looking(base).calls("tests.ask")
    assert looking(reading).readers() == looking(base).readers()
    assert dict(looking(reading).counted()) == dict(looking(base).counted())
    assert looking(reading).inventory() == looking(base).inventory()
    assert looking(reading).survey(text="a") == looking(base).survey(text="a")
    assert looking(reading).readers_of(call()) == looking(base).readers_of(call()) != []
    assert list(looking(reading).notes("function").items()) == [("a", {"is": "kept"}), ("b", {"is": "kept"})]
    assert dict(looking(reading).notes("function", "a")) == {"a": {"is": "kept"}}


@pytest.mark.parametrize(
    "change",
    [
        lambda store: keeping(store).adopt([Move(call(), call("new"))], lambda _, record: record),
        lambda store: keeping(store).forget(call()),
        lambda store: keeping(store).rewind("reader"),
        lambda store: keeping(store).drop("reader"),
        lambda store: keeping(store).evict([], used_by=NOON),
        lambda store: keeping(store).shrink(lambda *_: None),
        lambda store: keeping(store).count(1 << 40, {Account("d", "r", "n", "f"): Counts(draws=1)}, []),
        lambda store: keeping(store).note("run", "one", {}, instead_of=None),
    ],
)
def test_changes_are_refused(stores, change):
    """Whatever would change the other store is refused, saying why and what to do."""
    base, reading = stores
    stock(base, b"zero")
    take(base)
    before = everything(base)
    with pytest.raises(StoreRefused, match=r"read-only here.*Nothing was changed; open it for writing"):
        change(reading)
    assert everything(base) == before


def test_what_another_reader_was_given_is_read_again_here(stores):
    """A reader that resumes another has what that one was given, in lanes too, and goes on where it has begun."""
    base, reading = stores
    stock(base, *(b"%d" % at for at in range(6)))
    for lane in ("x", None, "x", None):
        take(base, reader="namespace:a", lane=lane)
    run_1, run_2 = resuming("1", "a"), resuming("2", "a")
    assert take(base, reader=run_1).at == [1]
    before = everything(base)
    for n, at in ((1, [3]), (1, [])):
        assert take(reading, n, reader=run_1).at == at
    assert take(reading, 3, reader=run_1, lane="x").records == [b"0", b"2"]
    assert [take(reading, 1, reader=run_2).records for _ in range(3)] == [[b"1"], [b"3"], []]
    assert take(reading, reader="namespace:a").at == [4]
    assert everything(base) == before


def test_where_nobody_tells_what_is_replaced_it_is_read_anew(stores, monkeypatch):
    """An epoch below zero says nothing, so nothing is kept at hand from one draw to the next."""
    base, reading = stores
    stock(base, b"old")
    monkeypatch.setattr(reading._base, "epoch", lambda: -1, raising=False)

    def read():
        (taken,) = asked(reading, Take(reading.flights.depart(), [Want(call(), None, 1, 1)]))
        return taken.states[0].record

    assert read() == b"old"
    keeping(base).forget(call())
    stock(base, b"new")
    assert read() == b"new"
