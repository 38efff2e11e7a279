"""In which order runs draw: it is written down across functions, lanes and namespaces, and read again."""

from __future__ import annotations

import asyncio

import pytest

import memollm
from memollm import Cache
from memollm._spending import accounts
from memollm._spending.order import TICK, in_order
from memollm._types.calls import Call
from memollm._types.counting import DrawnStretch
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.sqlite.keeping import SqliteKeeping
from memollm.stores.transcripts import transcribing, transcript_of


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


def told(cache, **which):
    """Return what was drawn: functions by their names, and slots."""
    cache.stats()
    return [
        (each.call.function, slot)
        for each in transcript_of(cache.store, **which)
        for slot in range(each.first, each.last + 1)
    ]


def test_draws_stand_in_the_order_of_asking(cache):
    """Whichever functions drew, whether samples were made, stored or remembered; memoized ones stand once."""
    ask = cache.cached_llm(str.upper, name="ask", version=1)
    rate = cache.cached_llm(str.lower, name="rate", version=1)
    once = cache.cached_llm(str.title, name="once", version=1, pool=1)
    for run in ("one", "two"):
        with memollm.run(run):
            ask("x")
            rate.draw(2, "x")
            once("x")
            ask("y")
            ask("x")
            rate.draw(2, "x")
            once("x")
            rate("y")
    drawn = [("ask", 0), ("rate", 0), ("rate", 1), ("once", 0), ("ask", 0), ("ask", 1), ("rate", 2), ("rate", 3)]
    assert told(cache, run="one") == told(cache, run="two") == [*drawn, ("rate", 0)]
    assert told(cache) == 2 * [*drawn, ("rate", 0)]


def test_namespaces_and_lanes_are_told_apart(cache):
    """What was drawn is found by the run, by the namespace and by the lane."""
    ask = cache.cached_llm(str.upper, name="ask", version=1, namespace="a")
    alone = cache.cached_llm(str.upper, name="alone", version=1)
    ask("x")
    with memollm.lane("left"):
        ask("x")
        alone("x")
    with memollm.namespace("b"):
        ask("x")
    assert told(cache, namespace="a") == [("ask", 0), ("ask", 1)]
    assert told(cache, namespace="b") == [("ask", 0)]
    assert told(cache, namespace="") == [("alone", 0)]
    assert told(cache, lane="left") == [("ask", 1), ("alone", 0)]
    assert told(cache, namespace="a", lane="") == [("ask", 0)]
    assert told(cache, run="none") == []


def test_tasks_stand_as_they_asked(cache):
    """Of draws side by side the one that was asked for first comes first, though it is answered last (P6)."""
    turns = [asyncio.Event() for _ in range(3)]

    @cache.cached_llm(name="ask", version=1)
    async def ask(at):
        await turns[at].wait()
        return at

    async def program():
        tasks = [asyncio.create_task(ask(at)) for at in range(3)]
        for turn in reversed(turns):
            await asyncio.sleep(0)
            turn.set()
        await asyncio.gather(*tasks)

    asyncio.run(asyncio.wait_for(program(), 30))
    cache.stats()
    forms = [each.call.form for each in transcript_of(cache.store)]
    assert [f'"at":{at}' in form for at, form in enumerate(forms)] == [True] * 3


def test_what_is_not_kept_is_not_told(cache):
    """Answers that were refused, made in mode off, or forgotten since are in no transcript."""
    ask = cache.cached_llm(str.upper, name="ask", version=1, accept=lambda answer: answer != "BAD")
    for prompt in ("bad", "x", "y"):
        ask(prompt)
    with memollm.mode("off"):
        ask("z")
    assert told(cache) == [("ask", 0), ("ask", 0)]
    ask.forget("x")
    assert [each.call.form.count('"y"') for each in transcript_of(cache.store)] == [1]


def test_a_namespace_that_is_dropped_has_drawn_nothing(cache):
    """What a dropped namespace drew is told no more; what was drawn in others is."""
    ask = cache.cached_llm(str.upper, name="ask", version=1)
    for name in "ab":
        with memollm.namespace(name):
            ask("x")
    assert len(told(cache)) == 2
    cache.drop("a")
    assert told(cache, namespace="a") == []
    assert told(cache, namespace="b") == [("ask", 0)]


def test_stretches_follow_one_another():
    """What follows in one sequence is one stretch; of two that were asked for at once each has a time of its own."""
    one, two = Call(b"1", "one", "f"), Call(b"2", "two", "f")

    def drawn(call, slot, at, lane=""):
        return DrawnStretch("r", "", lane, call, slot, slot, at)

    mixed = [drawn(one, 2, 3.0), drawn(one, 0, 1.0), drawn(one, 1, 2.0), drawn(two, 0, 4.0), drawn(one, 3, 4.0)]
    assert in_order([*mixed, drawn(one, 4, 5.0, "l")]) == [
        DrawnStretch("r", "", "", one, 0, 2, 1.0),
        drawn(two, 0, 4.0),
        drawn(one, 3, 4.0 + TICK),
        drawn(one, 4, 5.0, "l"),
    ]
    assert in_order([]) == []


def test_what_the_store_does_not_take_is_written_later(cache, monkeypatch):
    """While a store fails, what was drawn is kept, and written down when it answers again, each part once."""
    monkeypatch.setattr(accounts, "AT_ONE_TIME", 1)
    ask, write, fails = cache.cached_llm(str.upper, name="ask", version=1), SqliteKeeping.transcribe, [True]
    written = []

    def fail(self, drawn):
        if fails and written:
            raise StoreUnavailable("not now")
        write(self, drawn)
        written.extend(drawn)

    monkeypatch.setattr(SqliteKeeping, "transcribe", fail)
    ask("x")
    ask("y")
    assert told(cache) == [("ask", 0)]
    fails.clear()
    ask("x")
    assert told(cache) == [("ask", 0), ("ask", 0), ("ask", 1)]
    assert len(written) == 3


def test_a_store_that_keeps_none_says_so():
    """A store without transcripts draws all the same, and reading one names what to use."""
    with Cache("memory:") as cache:
        assert cache.cached_llm(str.upper, name="ask", version=1)("x") == "X"
        cache.stats()
        assert transcribing(cache.store) is None
        with pytest.raises(StoreRefused, match=r"does not keep in which order runs draw; use a path"):
            transcript_of(cache.store)
