"""Copying one cache into another: everything comes along, once, however often and whatever ended it."""

from __future__ import annotations

import itertools

import pytest

from memollm import Cache, OptionError, StoreRefused, lane, namespace, run
from memollm._types.calls import Call
from memollm._types.samples import Sample
from memollm._upkeep.transfer import copying
from memollm._values.codec import Codec
from memollm.stores.keeping import keeping

RECORD = Codec().encode("an answer")


@pytest.fixture(params=["memory", "sqlite"])
def other(request, tmp_path):
    """Make the cache that is copied to."""
    with Cache("memory:" if request.param == "memory" else tmp_path / "other") as made:
        yield made


def asking(cache, start=0, **options):
    """Make a function whose answers are numbers, and that says how often it was called."""
    numbers = itertools.count(start)
    return cache.cached_llm(lambda x: next(numbers), name="ask", version="1", **options)


def test_a_namespace_goes_on_where_it_was(cache, other):
    """What it has drawn it is not given again, what it has not drawn it is given, and nothing is paid twice."""
    with namespace("ahead"):
        asking(cache).draw(5, "q")
    with namespace("behind"):
        asking(cache).draw(2, "q")
    assert cache.copy(other)[:3] == (1, 5, 5)
    with namespace("behind"):
        assert asking(other, 100).draw(4, "q") == [2, 3, 4, 100]
    with namespace("ahead"):
        assert asking(other, 200)("q") == 100


def test_a_run_goes_on_where_it_was(cache, other):
    """What a run has drawn comes along, so that a program of the same run goes on in the other cache (P1)."""
    with run("r"):
        asking(cache).draw(3, "q")
    cache.copy(other)
    with run("r"):
        assert asking(other, 100).draw(1, "q") == [100]
    with run("another"):
        assert asking(other, 200).draw(4, "q") == [0, 1, 2, 100]


def test_what_a_run_resumes_comes_along(cache, other):
    """A run that reads again what a namespace drew goes on reading in the other cache, and gets nothing else."""
    with namespace("n"):
        asking(cache).draw(3, "q")
    with run("r"), namespace("n", resume=True):
        assert asking(cache)("q") == 0
    asking(other, 50).draw(1, "q")
    cache.copy(other)
    with run("r"), namespace("n", resume=True):
        assert [asking(other, 100)("q") for _ in range(4)] == [1, 2, 50, 100]


def test_plain_memoization_comes_along(cache, other):
    """With `pool=1` the answer stays what it was."""
    assert asking(cache, 7, pool=1)("q") == 7
    cache.copy(other)
    assert asking(other, 100, pool=1)("q") == 7


def test_lanes_come_along(cache, other):
    """A lane goes on in its own order."""
    ask = asking(cache)
    with namespace("n"):
        for name in ("a", "b", "a"):
            with lane(name):
                ask("q")
    cache.copy(other)
    with namespace("m"), lane("a"):
        assert asking(other, 100).draw(2, "q") == [0, 1]


def test_what_is_there_stays_and_is_not_doubled(cache, other):
    """Two caches that have the same call become one sequence, and copying again adds nothing."""
    asking(cache).draw(3, "q")
    with namespace("n"):
        asking(other, 100).draw(2, "q")
    assert cache.copy(other).added == 3
    assert cache.copy(other).added == other.copy(cache).added - 2 == 0
    assert asking(other).peek("q") == [100, 101, 0, 1, 2]


def test_a_copy_that_was_ended_is_completed_by_the_next(cache, other, monkeypatch):
    """Whatever call it came to, each one is there with its cursors or not at all, and the next copy brings the rest."""
    ask = asking(cache)
    with namespace("n"):
        for question in "abcdefgh":
            ask.draw(2, question)
    monkeypatch.setattr("memollm._upkeep.transfer.loading.BATCH", 2)
    put = copying.Load.put

    def ended(load, batch):
        put(load, batch)
        if load.calls == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(copying.Load, "put", ended)
        with pytest.raises(KeyboardInterrupt):
            cache.copy(other)
    assert [(each.calls, each.draws) for each in other.namespaces()] == [(3, 6)]
    assert cache.copy(other).added == 10
    with namespace("n"):
        assert {asking(other, 100)(question) for question in "abcdefgh"} == {*range(100, 101)}


def test_counts_come_along_once(cache, other):
    """What was drawn and paid is told in the other cache as it was here, however often it is copied."""
    asking(cache).draw(3, "q")
    cache.copy(other)
    cache.copy(other)
    assert str(other.stats()) == str(cache.stats())


def test_progress_is_told(cache, other):
    """Whoever asks is told how many samples of how many were looked at."""
    asking(cache).draw(3, "q")
    told = []
    cache.copy(other, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


def test_a_place_is_opened_and_closed(cache, tmp_path):
    """A path or a URL will do for the other cache."""
    asking(cache).draw(3, "q")
    assert cache.copy(tmp_path / "new").added == 3
    with Cache(tmp_path / "new") as new:
        assert new.holds().samples == 3


def test_a_cache_is_not_copied_to_itself(cache, tmp_path):
    """That can only be a mistake."""
    with pytest.raises(OptionError, match="to itself"):
        cache.copy(cache)
    with Cache(tmp_path / "one") as one, pytest.raises(OptionError, match="to itself"):
        one.copy(tmp_path / "one")


def test_what_no_export_writes_is_not_copied(cache, other):
    """A cache that somebody has changed by hand is refused with the way to repair it."""
    wrong = Call(b"0" * 16, '{"memollm":1}', "ask")
    keeping(cache.store).transfer().merge(lambda shelf: shelf.put(shelf.call(wrong, 0.0), 0, Sample(RECORD, 1.0)))
    with pytest.raises(StoreRefused, match=r"verify --repair"):
        cache.copy(other)
