"""Pruning removes what it was told to, whole calls at a time, and nothing else."""

import subprocess
import sys
from datetime import timedelta

import pytest

from memollm import Cache, OptionError, Pruned
from memollm._types.calls import Want
from memollm._types.counting import Use
from memollm._upkeep.prune import bytes_of, size_text
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.testing import NOON, FakeClock
from memollm.testing._bench import PATIENCE, Hand, call

NAMES = [f"{number:03}" for number in range(8)]


@pytest.fixture(params=["memory:", "disk"])
def cache(request, tmp_path):
    """Make eight calls with two samples each, a day apart, and use the first again on the last day."""
    place = "memory:" if request.param == "memory:" else tmp_path / "cache"
    clock = FakeClock(NOON)
    with Cache(place, clock=clock) as cache:
        for name in NAMES:
            fill(cache, name, b"x" * 100, b"y" * 100)
            clock.advance(86400)
        keeping(cache.store).count(cache.store.flights.new_id(), {}, [Use(None, call("000"), 0, 1, clock())])
        cache.clock = clock
        yield cache


def fill(cache, name, *records):
    hand = Hand(cache.store, Want(call(name), "namespace:n", len(records), None))
    hand.fill(*records, stored=cache._engine.clock())
    hand.settle()


def kept(cache):
    return [name for name in NAMES if cache.store.peek(call(name))]


SIZE = 200 + len(call("000").form)


# What goes.


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        ({"max_samples": 16}, 0),
        ({"max_samples": 15}, 1),
        ({"max_samples": 6}, 5),
        ({"max_samples": 0}, 8),
        ({"max_bytes": 8 * SIZE}, 0),
        ({"max_bytes": 8 * SIZE - 1}, 1),
        ({"max_bytes": "1kB"}, 4),
        ({"max_bytes": 0}, 8),
        ({"older_than": "4d"}, 4),
        ({"older_than": timedelta(days=100)}, 0),
        ({"older_than": 6 * 86400, "max_samples": 14, "max_bytes": "1 KiB"}, 4),
        ({"older_than": 3 * 86400, "max_samples": 14, "max_bytes": "1GB"}, 5),
    ],
)
def test_oldest_go_until_every_limit_holds(cache, limits, gone):
    """Whole calls go, those made first first, until the last limit holds, and no further."""
    pruned = cache.prune(**limits, policy="fifo")
    assert kept(cache) == NAMES[gone:]
    assert pruned == Pruned(gone, 2 * gone, SIZE * gone, 8 - gone, 16 - 2 * gone, SIZE * (8 - gone))


def test_least_recently_used_go_first(cache):
    """By default what was used least recently goes first, whenever it was made."""
    cache.prune(max_samples=4)
    assert kept(cache) == ["000", "007"]


def test_age_is_counted_from_the_last_use(cache):
    """With lru a call is old when it was not used for so long, and a sample stored is a use."""
    fill(cache, "001", b"z")
    cache.prune(older_than="5d")
    assert kept(cache) == ["000", "001", *NAMES[3:]]


def test_dry_run_changes_nothing(cache):
    """A dry run tells what would go, and everything stays, cursors too."""
    before = (looking(cache.store).inventory(), looking(cache.store).readers(), cache.store.epoch())
    told = []
    pruned = cache.prune(max_samples=4, dry_run=True, progress=lambda *progress: told.append(progress))
    assert (pruned.calls, pruned.kept_calls) == (6, 2)
    assert (looking(cache.store).inventory(), looking(cache.store).readers(), cache.store.epoch()) == before
    assert cache.prune(max_samples=4) == pruned


def test_cursors_go_with_their_call(cache):
    """A call that went is drawn anew; one that stayed goes on (P1)."""
    cache.prune(max_samples=4)
    at = {name: Hand(cache.store, Want(call(name), "namespace:n", 1, None)).at for name in ("000", "001")}
    assert at == {"000": [2], "001": [0]}


def test_call_in_use_stays_and_the_next_goes(cache):
    """A call that is being drawn stays; limits are reached with those after it."""
    Hand(cache.store, Want(call("001"), "namespace:n", 1, None))
    pruned = cache.prune(max_samples=10)
    assert kept(cache) == ["000", "001", *NAMES[5:]]
    assert (pruned.calls, pruned.kept_calls) == (3, 5)


@pytest.mark.parametrize(("policy", "stays"), [("lru", True), ("fifo", False)])
def test_call_used_meanwhile_stays(cache, monkeypatch, policy, stays):
    """What another process uses after the inventory was taken is no longer the least recently used."""
    kind = type(looking(cache.store))
    inventory = kind.inventory

    def and_then_used(self):
        items = inventory(self)
        keeping(cache.store).count(
            cache.store.flights.new_id(), {}, [Use(None, call("001"), 0, 0, cache.clock.advance(1))]
        )
        return items

    monkeypatch.setattr(kind, "inventory", and_then_used)
    cache.prune(max_samples=10, policy=policy)
    assert ("001" in kept(cache)) is stays


def test_progress_is_told(cache, monkeypatch):
    """Progress comes in bytes, chunk by chunk, and ends with all of them."""
    monkeypatch.setattr("memollm._upkeep.prune.CALLS_AT_ONCE", 2)
    monkeypatch.setattr("memollm._drive.progress.TICK", 0)
    told = []
    cache.prune(max_samples=6, policy="fifo", progress=lambda *progress: told.append(progress))
    assert told[:3] == [(2 * SIZE, 5 * SIZE), (4 * SIZE, 5 * SIZE), (5 * SIZE, 5 * SIZE)]


def test_large_calls_go_a_few_at_a_time(cache, monkeypatch):
    """What goes in one transaction is bounded by its size too."""
    monkeypatch.setattr("memollm._upkeep.prune.BYTES_AT_ONCE", SIZE)
    monkeypatch.setattr("memollm._drive.progress.TICK", 0)
    told = []
    cache.prune(max_samples=12, policy="fifo", progress=lambda *progress: told.append(progress))
    assert told[:2] == [(SIZE, 2 * SIZE), (2 * SIZE, 2 * SIZE)]


def test_empty_cache_is_pruned(tmp_path):
    """Where there is nothing, nothing goes."""
    with Cache(tmp_path / "cache") as cache:
        assert cache.prune(max_bytes=0) == Pruned(0, 0, 0, 0, 0, 0)


def test_pruned_is_readable():
    """What was pruned reads as a sentence does."""
    assert str(Pruned(1, 1, 999, 1200, 12345, 2_500_000)) == (
        "1 sample of 1 call (999 B) to remove, 12,345 samples of 1,200 calls (2.5 MB) to keep"
    )
    assert [size_text(10**power) for power in (0, 3, 9, 13)] == ["1 B", "1 kB", "1 GB", "10 TB"]


# What is refused.


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, r"no limit.*max_bytes=.*max_samples=.*older_than="),
        ({"max_bytes": "lots"}, r"max_bytes='lots' is no size\. Give .*1GiB"),
        ({"max_samples": 1.5}, r"max_samples=1\.5.*whole number"),
        ({"max_samples": -1}, r"max_samples=-1.*whole number"),
        ({"older_than": "soon"}, r"older_than='soon' is no length of time"),
        ({"max_bytes": 1, "policy": "random"}, r"policy='random'.*'lru'.*'fifo'"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, match):
    """A wrong option is an error that says what to give instead, before anything is opened."""
    with pytest.raises(OptionError, match=match):
        Cache(tmp_path / "cache").prune(**options)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("written", "size"),
    [(0, 0), (10, 10), ("10", 10), ("10B", 10), ("1.5k", 1500), (" .5 tib ", 1 << 39)],
)
def test_sizes_are_read(written, size):
    """Sizes are bytes, or text with a unit of thousands or of 1024."""
    assert bytes_of("max_bytes", written) == size


@pytest.mark.parametrize("wrong", ["", "GB", "1iB", "-1", -1, True, None, "1 PB", float("inf"), float("nan")])
def test_what_is_no_size_is_refused(wrong):
    """Anything else is refused."""
    with pytest.raises(OptionError, match="is no size"):
        bytes_of("max_bytes", wrong)


# Among others.


DRAWER = """
import sys, time
from memollm import Cache
from memollm._types.calls import Want
from memollm._types.counting import Use
from memollm.stores.keeping import keeping
from memollm.testing._bench import Hand, call

cache = Cache(sys.argv[1])
store, name, seen = cache.store, sys.argv[2], set()
print("ready", flush=True)
sys.stdin.readline()
for turn in range(60):
    text = f"{name}-{turn % 3}"
    hand = Hand(store, Want(call(text), f"namespace:{name}", 2, None))
    made = [b"%s %d %d" % (name.encode(), turn, at) for at in hand.at]
    hand.fill(*made, stored=time.time())
    hand.settle()
    records = [store.peek(call(text))[at].record for at in hand.at]
    assert not seen.intersection(records), (name, records)
    seen.update(records)
    keeping(store).count(store.flights.new_id(), {}, [Use(None, call(text), 0, 0, time.time())])
print("done", flush=True)
cache.close()
"""


def test_processes_draw_while_pruning(tmp_path):
    """While four processes draw, what is old goes and nothing of theirs, and no sample is given twice (P1)."""
    with Cache(tmp_path / "cache") as cache:
        for number in range(300):
            hand = Hand(cache.store, Want(call(f"old {number}"), None, 1, None))
            hand.fill(b"x" * 2000, stored=NOON)
            hand.settle()
        drawers = [start_drawer(cache, name) for name in "abcd"]
        try:
            for drawer in drawers:
                assert drawer.stdout.readline() == b"ready\n"
            for drawer in drawers:
                drawer.stdin.write(b"go\n")
                drawer.stdin.flush()
            pruned = [cache.prune(older_than="1h") for _ in range(3)]
            answers = [drawer.communicate(timeout=PATIENCE) for drawer in drawers]
        finally:
            for drawer in drawers:
                drawer.kill()
                drawer.wait(PATIENCE)
        assert answers == [(b"done\n", b"")] * 4
        assert [each.calls for each in pruned] == [300, 0, 0]
        assert [sorted(cache.store.peek(call(f"{name}-0"))) for name in "abcd"] == [list(range(40))] * 4


def start_drawer(cache, name):
    command = [sys.executable, "-c", DRAWER, str(cache.store.files.folder), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
