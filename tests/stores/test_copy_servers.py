"""A cache that moves from one kind of store to the next keeps what its readers have drawn."""

from __future__ import annotations

import itertools

from memollm import Cache, namespace, run


def asking(cache, start=0, **options):
    numbers = itertools.count(start)
    return cache.cached_llm(lambda x: next(numbers), name="ask", version="1", **options)


def test_round_all_stores(redis, cluster, postgres, tmp_path, monkeypatch):
    """Through all kinds of stores and back to a file: no slot is lost, none given twice, and readers go on (P1, P3)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    places = [tmp_path / "first", redis.fresh(), cluster.fresh(), postgres.fresh(), tmp_path / "last"]
    first, *others = caches = [Cache(place) for place in places]
    for name, n in (("ahead", 5), ("behind", 2)):
        with namespace(name):
            asking(first).draw(n, "q")
    with run("r"):
        asking(first)("q")
    assert asking(first, 50, pool=1)("memo") == 50
    for here, there in itertools.pairwise(caches):
        assert here.copy(there)[1:3] == (6, 6)
        assert here.copy(there)[1:3] == (6, 0)
    for cache in others:
        with namespace("behind"):
            assert asking(cache, 100).draw(4, "q") == [2, 3, 4, 100]
        with namespace("ahead"):
            assert asking(cache, 200)("q") == 100
        with run("r"):
            assert asking(cache, 300).draw(2, "q") == [1, 2]
        assert asking(cache, 400, pool=1)("memo") == 50
        cache.close()
    first.close()
