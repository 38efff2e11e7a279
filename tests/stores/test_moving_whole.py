"""What is copied or adopted is there whole or not at all, whoever is killed or draws meanwhile, in all stores."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from memollm import Cache, CacheMiss, OptionError, mode
from memollm._upkeep.transfer import Joining
from memollm._values.codec import Codec

pytestmark = [
    pytest.mark.usefixtures("team_key"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]
N = 4
KILLED = 9


class Target:
    """Where a cache is that samples come to."""

    def __init__(self, fresh, bury=lambda: None, stride=1):
        self.fresh = fresh
        self.steps = itertools.count(0, stride)
        """At which somebody is killed."""
        self.bury = bury
        """Let so much time pass that who was killed is taken for dead."""


@pytest.fixture(params=["sqlite", "postgres", "redis", pytest.param("cluster", marks=pytest.mark.deep)])
def target(request, tmp_path):
    """Give each kind of store."""
    if request.param == "sqlite":
        numbers = itertools.count()
        return Target(lambda: tmp_path / f"target {next(numbers)}")
    server = request.getfixturevalue(request.param)
    if request.param == "postgres":
        return Target(server.fresh)

    def bury():
        for node in getattr(server, "nodes", [server]):
            with node.client() as client:
                for leases in client.keys("memollm:*:o"):
                    client.hset(leases, mapping=dict.fromkeys(client.hkeys(leases), 1))

    # A cluster takes its time.
    return Target(server.fresh, bury, stride=5 if request.param == "cluster" else 1)


def asking(cache, **options):
    """Return a function of which no two answers are equal."""
    return cache.cached_llm(lambda x: os.urandom(8).hex(), **{"name": "ask", "version": "1", **options})


@pytest.fixture
def old(tmp_path):
    """Fill a cache that is copied: `exp` has drawn all but one of its samples."""
    with Cache(tmp_path / "old") as cache:
        samples = asking(cache, namespace="other").draw(N, "q")
        assert asking(cache, namespace="exp").draw(N - 1, "q") == samples[:-1]
        yield cache, samples


def killed_at(step, work, *places):
    """Do work upon caches in a process that is killed at a step of it; tell whether it came so far."""
    steps = itertools.count()

    def counting(plain):
        def count(*arguments, **options):
            if next(steps) == step:
                os._exit(KILLED)
            return plain(*arguments, **options)

        return count

    child = os.fork()
    if child == 0:
        try:
            caches = [Cache(place) for place in places]
            for cache in caches:
                cache.namespaces()
            for owner, name in (*_REQUESTS, (Joining, "put"), (Joining, "cursor"), (Codec, "resign")):
                setattr(owner, name, counting(getattr(owner, name)))
            work(*caches)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, KILLED}
    return status == KILLED


try:
    from memollm.stores.redis.cluster import ClusterWay
    from memollm.stores.redis.connections import Channel

    _REQUESTS = [(Channel, "ask"), (ClusterWay, "ask"), (ClusterWay, "run")]
except ImportError:
    _REQUESTS = []


def offline(ask):
    """Draw what is there, or None."""
    try:
        with mode("offline"):
            return ask("q")
    except CacheMiss:
        return None


def test_a_copy_that_is_killed(target, old, tmp_path):
    """A call is there whole or not at all; its reader is given nothing again, and the copy goes on (P1, P4)."""
    source, samples = old
    for step in target.steps:
        url = target.fresh()
        was_killed = killed_at(step, Cache.copy, tmp_path / "old", url)
        target.bury()
        with Cache(url) as cache:
            held = asking(cache).peek("q")
            assert held in ([], samples), step
            assert offline(asking(cache, namespace="exp")) in {None, samples[-1]}, step
            if step % 3 == 0:
                assert source.copy(cache).samples == N
                assert offline(asking(cache, namespace="exp")) in ({samples[-1]} if not held else {samples[-1], None})
                assert offline(asking(cache, namespace="exp")) is None
                assert [offline(asking(cache, namespace="new")) for _ in range(N + 1)] == [*samples, None]
        if not was_killed:
            return


def test_draws_while_a_copy_comes(target, old):
    """Whoever draws meanwhile is given nothing twice, and all that was copied is there for others (P1, P2)."""
    source, samples = old
    with Cache(target.fresh()) as cache:
        given = {"exp": [], "mine": []}
        has_begun, is_done = threading.Barrier(3), threading.Event()

        def draw(name):
            ask = asking(cache, namespace=name)
            given[name].append(ask("q"))
            has_begun.wait(60)
            while not is_done.is_set():
                given[name].append(ask("q"))

        with ThreadPoolExecutor(2) as pool:
            drawing = [pool.submit(draw, name) for name in given]
            try:
                has_begun.wait(60)
                assert source.copy(cache).added == N
                assert source.copy(cache).added == 0
            finally:
                is_done.set()
            for each in drawing:
                each.result()
        assert not {*given["exp"]}.intersection(samples[:-1])
        held = asking(cache).peek("q")
        assert {*samples} <= {*held}
        for drawn in given.values():
            assert len({*drawn}) == len(drawn)
            assert {*drawn} <= {*held}


def test_two_copies_at_once(target, old, tmp_path):
    """Each sample comes once, also where two bring it."""
    source, samples = old
    url = target.fresh()
    with Cache(url) as one, Cache(url) as other, ThreadPoolExecutor(2) as pool:
        done = list(pool.map(source.copy, (one, other)))
        assert sum(each.added for each in done) == N
        assert asking(one).peek("q") == samples
        assert offline(asking(other, namespace="exp")) == samples[-1]
        assert offline(asking(one, namespace="exp")) is None


# Adopting.


def draw_old(cache, tmp_path):
    """Draw of the old call first."""
    return cache, [offline(asking(cache, namespace="exp", version=version)) for version in "12"]


def draw_new(cache, tmp_path):
    """Draw of the new call first."""
    return cache, [offline(asking(cache, namespace="exp", version=version)) for version in "21"]


def adopt_again(cache, tmp_path):
    """Adopt what was not adopted."""
    with contextlib.suppress(OptionError):
        cache.adopt("ask", version="1")
    assert asking(cache, version="1").peek("q") == []
    return draw_old(cache, tmp_path)


def copy_on(cache, tmp_path):
    """Copy what there is, and go on there."""
    copied = Cache(tmp_path / f"copied {os.urandom(4).hex()}")
    assert cache.copy(copied).samples == N + 1
    return draw_new(copied, tmp_path)


GOING_ON = (draw_old, draw_new, adopt_again, copy_on)


@pytest.mark.parametrize("first", [0, *(pytest.param(each, marks=pytest.mark.deep) for each in (1, 2, 3))])
def test_an_adoption_that_is_killed(target, first, tmp_path):
    """Each sample is in one of two calls, and a reader is given it once, whatever comes first (P1, P2, P7)."""
    for step in target.steps:
        url = target.fresh()
        with Cache(url) as cache:
            samples = asking(cache, namespace="other").draw(N, "q")
            asking(cache, namespace="exp").draw(N - 1, "q")
            asking(cache, version="2")("another")
        was_killed = killed_at(step, lambda cache: cache.adopt("ask", version="1"), url)
        target.bury()
        go_on = GOING_ON[(step + first) % len(GOING_ON)]
        with Cache(url) as cache:
            place, drawn = go_on(cache, tmp_path)
            assert {*drawn} == {None, samples[-1]}, (step, go_on)
            held = [asking(place, version=version).peek("q") for version in "12"]
            assert held in ([samples, []], [[], samples]), (step, go_on)
            if place is not cache:
                place.close()
        if not was_killed:
            return
