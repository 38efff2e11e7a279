"""A tier before a server: what is asked, what is sent, and that no copy ever counts that the server has not."""

import itertools
import random
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from hands import stock, take
from hypothesis import HealthCheck, given, settings, strategies as some
from servers import Proxy, require_psycopg, require_redis

require_psycopg()
require_redis()

from memollm._types.calls import Place, Want
from memollm._types.listings import Move
from memollm._types.samples import MINE, Sample
from memollm.errors import MemollmWarning
from memollm.stores.keeping import keeping
from memollm.stores.postgres.store import PostgresStore
from memollm.stores.redis.store import RedisStore
from memollm.stores.tier import folder
from memollm.stores.tier.copies import Copy, HeldSlots
from memollm.stores.tier.folder import FolderCopies
from memollm.stores.tier.memory import MemoryCopies
from memollm.stores.tier.store import TierStore
from memollm.testing._bench import Hand, call
from memollm.testing.fakes import NOON

LARGE = random.Random(17).randbytes(100_000)
LITTLE = 2_000
"""More bytes than an answer without its record has."""


class Counting:
    """A server behind a proxy, by which is counted what is asked and sent."""

    def __init__(self, url, proxy, asked):
        self.url = url
        self._proxy = proxy
        self._asked = asked

    @contextmanager
    def expected(self, *, asked, least=0, most=None):
        """Have a block ask so often, and be sent so much."""
        before, told = self._asked(), self._proxy.told
        yield
        assert self._asked() - before == asked
        assert least <= self._proxy.told - told <= (LITTLE * max(1, asked) if most is None else most)


@pytest.fixture(params=["postgres", "redis"])
def counting(request):
    server = request.getfixturevalue(request.param)
    server.fresh()
    proxy = Proxy(server.port)
    try:
        if request.param == "postgres":
            yield Counting(server.url_at(proxy.port), proxy, lambda: proxy.asked)
        else:
            with server.client() as client:
                # Those that only keep alive are far apart.
                url = f"{server.url_at(proxy.port)}?lease=3600"
                yield Counting(url, proxy, lambda: scripts(client.info("commandstats")))
    finally:
        proxy.close()


def scripts(stats):
    """Count the scripts that were run, without those that list a call: they go along with its first draw."""
    run, listed = stats["cmdstat_evalsha"]["calls"], stats.get("cmdstat_zscore", {"calls": 0})["calls"]
    return run - listed


@pytest.fixture
def machine(counting, tmp_path):
    """Make stores, as processes of machines do: those of one machine have one folder."""
    stores = []

    def make(name="here", **options):
        kind = RedisStore if counting.url.startswith("redis") else PostgresStore
        store = TierStore(kind(counting.url), FolderCopies(tmp_path / name / "tier.db", **options), shown=name)
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


def memo(store, of=None, **options):
    """Draw as functions do of which one sample serves for ever."""
    hand = take(store, reader=None, of=of, **options)
    hand.abandon()
    return hand.states[0]


def drawn(store, n=1, reader="reader", **options):
    """Draw what is stored; return the records."""
    hand = take(store, n, reader, **options)
    hand.abandon()
    return hand.records


def refreshed(store, record, *, of=None, stored=NOON + 1):
    """Replace the sample of slot 0."""
    hand = take(store, reader=None, of=of, newer_than=NOON)
    hand.fill(record, stored=stored)
    hand.settle()


# What is asked, and what is sent.


def test_a_draw_of_what_is_here_takes_one_request_and_sends_no_record(counting, machine):
    """The server answers with the digest of a record where that is at hand, in another process, too."""
    first = machine()
    stock(first, LARGE, LARGE[::-1])
    second = machine()
    assert drawn(second) == [LARGE]
    with counting.expected(asked=1):
        assert drawn(second) == [LARGE[::-1]]
    with counting.expected(asked=1):
        assert drawn(first, 2, "other") == [LARGE, LARGE[::-1]]


def test_a_draw_of_what_is_not_here_takes_one_request_too(counting, machine):
    """What no process of the machine has had is sent with the answer, and is here from then on."""
    there, here = machine("there"), machine()
    stock(there, LARGE, b"2")
    stock(there, b"another", of=call("another"))
    assert drawn(here, of=call("another")) == [b"another"]
    with counting.expected(asked=1, least=len(LARGE), most=2 * len(LARGE)):
        assert drawn(here) == [LARGE]
    with counting.expected(asked=1):
        assert drawn(here, reader="other") == [LARGE]


def test_a_pool_reads_copies_by_slot(counting, machine):
    """A pool cycles through slots, and no record of them is sent twice."""
    store = machine()
    stock(store, LARGE, b"1")
    records = []
    with counting.expected(asked=5):
        for _ in range(5):
            hand = Hand(store, Want(call(), "cycling", 1, 2))
            records += hand.records
            hand.abandon()
    assert records == [LARGE, b"1", LARGE, b"1", LARGE]


def test_a_memo_hit_takes_no_request(counting, machine):
    """A process that has seen a sample asks no more; with PostgreSQL neither does the next process of the machine."""
    first = machine()
    stock(first, LARGE)
    stock(first, b"other", of=call("other"))
    for _ in range(2):
        assert [memo(first).record, memo(first, of=call("other")).record] == [LARGE, b"other"]
    with counting.expected(asked=0, most=500):
        assert memo(first).record == LARGE
    second = machine()
    assert memo(second).record == LARGE
    with counting.expected(asked=0 if isinstance(second.server, PostgresStore) else 1):
        assert memo(second, of=call("other")).record == b"other"
    with counting.expected(asked=0):
        assert memo(second, of=call("other")).record == b"other"


@pytest.mark.parametrize("how", ["another", "made anew"])
def test_a_copy_of_another_cache_is_never_believed(postgres, tmp_path, how):
    """Two caches in one epoch that have one file, by whatever name, are each given their own samples (P8)."""
    import psycopg

    one = postgres.another()
    other = one if how == "made anew" else postgres.another()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for url, record in ((one, b"one"), (other, b"other")):
            schema = url.rpartition("=")[2]
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            with closing(PostgresStore(url)) as store:
                stock(store, record)
                stock(store, b"opening", of=call("opening"))
            connection.execute(f"UPDATE {schema}.about SET epoch = 5")
            for _ in range(2):
                with closing(TierStore(PostgresStore(url), FolderCopies(tmp_path / "tier.db"), shown="")) as store:
                    memo(store, of=call("opening"))
                    assert memo(store).record == record


# What is replaced.


@pytest.mark.parametrize("how", ["refreshed", "forgotten", "evicted", "adopted"])
def test_what_was_replaced_never_comes_back(machine, how):
    """As soon as one machine has replaced or removed a sample, no other gives it, nor does one that begins then."""
    here, there = machine("here"), machine("there")
    stock(here, b"old")
    for store in (here, here, there, there):
        assert memo(store).record == b"old"
    if how == "refreshed":
        refreshed(there, b"new")
    elif how == "forgotten":
        keeping(there).forget(call())
    elif how == "evicted":
        (item,) = there.looking.inventory()
        keeping(there).evict([item.handle], used_by=NOON + 10**9)
    else:
        keeping(there).adopt([Move(call(), call("adopted"))], lambda _, record: record + b"!")
        assert memo(here, of=call("adopted")).record == b"old!"
    for store in (here, there, machine("here"), machine("there")):
        state = memo(store)
        assert state == Sample(b"new", NOON + 1) if how == "refreshed" else type(state) is not Sample


def test_a_draw_with_a_time_to_live_finds_no_old_copy(machine):
    """What is too old for a draw is vacant, however near it is."""
    store = machine()
    stock(store, b"old")
    assert [memo(store).record, memo(store).record] == [b"old", b"old"]
    assert memo(store, newer_than=NOON) is MINE


def test_a_wrong_copy_is_asked_for_once_more(counting, machine):
    """A copy that is not what the server has is never given: the record is sent after all."""
    store = machine()
    stock(store, LARGE)
    wrong = Sample(b"wrong", NOON)
    store.copies.put({Place(call(), 0): Copy(wrong, b"0" * 16, 0), Place(call(), 1): Copy(wrong, b"1" * 16, 0)})
    with counting.expected(asked=2, least=len(LARGE), most=2 * len(LARGE)):
        assert drawn(store) == [LARGE]
    with counting.expected(asked=1):
        assert drawn(store, reader="other") == [LARGE]
    assert take(store).states == [MINE]


def test_a_sample_that_is_forgotten_between_two_requests_is_vacant(machine, monkeypatch):
    """Where a record is asked for once more and is no longer there, the draw makes it anew."""
    store, other = machine(), machine("other")
    stock(store, b"old")
    held, perform = store.copies.get, store.server.perform

    def forgetting(*asked):
        monkeypatch.setattr(store.copies, "get", held)
        keeping(other).forget(call())
        return {}

    monkeypatch.setattr(store.copies, "get", forgetting)
    assert memo(store, newer_than=NOON - 1) is MINE
    assert store.server.perform == perform


# A tier that fails.


def harm(copies, how):
    """Do something to the file of a tier."""
    path = copies.path
    copies.close()
    content = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        # Bytes of a record, which no check of SQLite's looks at.
        at = content.index(LARGE[-500:-400])
        path.write_bytes(content[:at] + bytes(100) + content[at + 100 :])
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()


@pytest.mark.parametrize("how", ["deleted", "garbage", "cut", "flipped", "of another version"])
def test_a_damaged_tier_loses_nothing(counting, machine, how):
    """Whatever became of the file, draws give what the server has, and the tier is begun anew without a word."""
    store = machine()
    stock(store, LARGE)
    harm(store.copies, how)
    again = machine()
    assert [memo(again).record, memo(again).record, *drawn(again)] == [LARGE] * 3
    with counting.expected(asked=1):
        assert drawn(again, reader="other") == [LARGE]


@pytest.mark.parametrize("how", ["the folder", "the file", "begun anew by another process"])
def test_a_tier_that_is_deleted_while_it_is_open_is_begun_anew(counting, machine, tmp_path, how):
    """Whoever deletes it may do so at any time: what is drawn from then on is kept in a new one, without a word."""
    store = machine()
    for text in ("old", "other"):
        stock(store, LARGE, of=call(text))
        if how == "the folder":
            shutil.rmtree(tmp_path / "here")
        else:
            (tmp_path / "here" / "tier.db").unlink()
        if how == "begun anew by another process":
            stock(machine(), LARGE, of=call(f"not {text}"))
    stock(store, LARGE[::-1])
    with counting.expected(asked=1):
        assert drawn(store) == [LARGE[::-1]]
    assert drawn(store, of=call("old")) == [LARGE]
    again = FolderCopies(tmp_path / "here" / "tier.db")
    with closing(again):
        assert again.get(call(), [0])[0].sample.record == LARGE[::-1]


@pytest.mark.parametrize("harm", ["full", "unusable"])
def test_a_tier_is_tried_again(machine, tmp_path, monkeypatch, harm):
    """A program that goes on for days keeps copies again as soon as there is room, or the folder can be made."""
    store, copies = machine(), FolderCopies(tmp_path / "here" / "tier.db")
    if harm == "full":
        store.copies._open().execute("PRAGMA max_page_count = 1")
    else:
        (tmp_path / "here").write_text("a file")
    with pytest.warns(MemollmWarning, match="cannot be used") as told, closing(copies):
        stock(store, LARGE)
        stock(store, LARGE, of=call("meanwhile"))
        if harm == "full":
            store.copies._connection.execute("PRAGMA max_page_count = 10000")
        else:
            (tmp_path / "here").unlink()
        monkeypatch.setattr(folder, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + folder.REST))
        stock(store, LARGE, of=call("later"))
        assert [*copies.get(call("later"), [0])] == [0]
    assert len(told) == 1


@pytest.mark.parametrize("pragma", ["max_page_count = 1", "query_only = ON"])
def test_a_tier_that_takes_nothing_more_is_told_once(machine, pragma):
    """On a full disk, or where nothing may be written, what is in the tier is read, and draws go on."""
    store = machine()
    stock(store, LARGE)
    store.copies._connection.execute(f"PRAGMA {pragma}")
    with pytest.warns(MemollmWarning, match=r"The tier .* cannot be used: .*\. Draws go on without it") as told:
        stock(store, LARGE[::-1], of=call("more"))
        stock(store, b"more", of=call("still more"))
    assert len(told) == 1
    assert drawn(store) + drawn(store, of=call("more")) == [LARGE, LARGE[::-1]]


def test_another_programs_file_is_left_alone(machine, tmp_path):
    """A database that is none of ours is not touched; draws go on without the tier, and say so once."""
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "tier.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (it)")
    connection.close()
    before = path.read_bytes()
    store = machine()
    with pytest.warns(MemollmWarning, match="is a database of another program") as told:
        stock(store, LARGE)
        assert drawn(store) + drawn(store, reader="other") == [LARGE, LARGE]
    assert len(told) == 1
    assert path.read_bytes() == before


def test_a_folder_that_is_none_is_told_once(machine, tmp_path):
    """A file in the place of the folder breaks no draw."""
    (tmp_path / "here").write_text("a file")
    store = machine()
    with pytest.warns(MemollmWarning, match="cannot be used") as told:
        stock(store, LARGE)
        assert drawn(store) + drawn(store, reader="other") == [LARGE, LARGE]
    assert len(told) == 1


# What copies are.


def kept(copies, *slots, record=b"x" * 1000):
    copies.put({Place(call(), slot): Copy(Sample(record, NOON), b"d" * 16, 7) for slot in slots})


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_copies_make_room(tmp_path, kind):
    """A tier takes as much room as it is given; what was kept first goes first."""
    room = 200_000
    copies = MemoryCopies(room) if kind == "memory" else FolderCopies(tmp_path / "tier.db", room=room)
    for slot in range(640):
        kept(copies, slot)
    assert copies.get(call(), [0]) == {}
    assert copies.get(call(), [639])[639].sample == Sample(b"x" * 1000, NOON)
    (first, last), *_ = copies.stretches(call())
    assert 100 < first < last == 639
    copies.close()


def test_memory_counts_what_it_takes_besides_records():
    """Small samples of many calls with long texts take no more room than large ones."""
    copies = MemoryCopies(200_000)
    for number in range(100):
        copies.put({Place(call(f"{number}" * 5_000), 0): Copy(Sample(b"x", NOON), b"d" * 16, 7)})
    assert len(copies._slots) == len(copies._copies) < 40
    copies.drop([*map(Place._make, copies._copies)])
    assert (copies._size, copies._slots) == (0, {})


def test_a_file_is_the_users_alone(tmp_path):
    """Nobody else may read samples in a tier."""
    copies = FolderCopies(tmp_path / "new" / "tier.db")
    kept(copies, 1)
    copies.close()
    assert [path.stat().st_mode & 0o777 for path in (copies.path, copies.path.parent)] == [0o600, 0o700]


def test_processes_see_what_others_keep(tmp_path):
    """What one keeps or removes, another finds or misses at once."""
    one, other = (FolderCopies(tmp_path / "tier.db") for _ in range(2))
    assert [one.stretches(call()), other.stretches(call())] == [[], []]
    kept(one, 1, 2, 5)
    assert other.stretches(call()) == [(1, 2), (5, 5)]
    kept(other, 3)
    assert one.stretches(call()) == [(1, 3), (5, 5)]
    one.drop([Place(call(), 2)])
    assert one.stretches(call()) == [(1, 1), (3, 3), (5, 5)]
    assert [*other.get(call(), [1, 2])] == [1]
    for copies in (one, other):
        copies.close()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(some.lists(some.tuples(some.booleans(), some.integers(0, 12)), max_size=40))
def test_held_slots_are_told_as_stretches(changes):
    """Stretches are what a set of the same slots holds."""
    held, slots = HeldSlots(), set()
    for adds, slot in changes:
        (held.add if adds else held.remove)(slot)
        (slots.add if adds else slots.discard)(slot)
        told = held.stretches()
        assert [each for first, last in told for each in range(first, last + 1)] == sorted(slots)
        assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(told))


def test_only_so_many_stretches_are_told():
    """Of what is held in many pieces, the longest are told."""
    held = HeldSlots([*range(0, 1000, 3), 1, 2])
    assert len(held.stretches()) == 32
    assert (0, 3) in held.stretches()
