"""What is counted: every draw once, in the store, by function, namespace, run and day."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from models import run, until

import memollm
import memollm._spending.stats
from memollm import Cache, OptionError, configure
from memollm._spending import accounts
from memollm._spending.accounts import stretches
from memollm._types.counting import Counts
from memollm.errors import StoreUnavailable
from memollm.stores.transfer import Part, Stretch
from memollm.testing import FakeClock

DAY = 86400.0


def telling(cache, **options):
    """Return a function that tells its model and tokens: 1,000 in, 100 out."""

    def answer(prompt, model="small"):
        return {"text": prompt, "model": model, "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

    return cache.cached_llm(answer, **{"namespace": "a", "name": "ask", "version": 1, **options})


@pytest.fixture(autouse=True)
def prices():
    """Price a small model's call at $0.002 + $0.001, a large one's at ten times as much."""
    configure(prices={"small": (2.0, 10.0), "large": {"input": 20.0, "output": 100.0}, "free": (0, 0)})


def numbers(line):
    assert line.draws == line.hits + line.shared + line.made
    return (line.draws, line.hits, line.shared, line.paid, line.refused, line.failed, line.unpriced)


def test_a_workload_counts_to_the_cent(cache):
    """Draws, hits and calls, tokens and dollars, spent and saved, as worked out by hand."""
    ask = telling(cache)
    ask.draw(10, "x")
    with memollm.namespace("b"):
        ask.draw(10, "x")
        ask.draw(2, "x", model="large")
        ask("x", model="nobody-knows-this-model")
    stats = cache.stats()
    (line,) = stats
    assert line.name == "ask"
    assert numbers(line) == (23, 10, 0, 13, 0, 0, 1)
    assert (line.spent.input_tokens, line.spent.output_tokens) == (13_000, 1_300)
    assert round(line.spent.cost, 2) == 0.09
    assert line.spent.cost == pytest.approx(10 * 0.003 + 2 * 0.03)
    assert line.saved[1:3] == (10_000, 1_000)
    assert line.saved.cost == pytest.approx(0.03)
    assert line.saved.seconds <= line.spent.seconds
    assert 0 < line.hit_latency < 10
    assert dataclasses.replace(stats.total, name="ask") == line


def test_a_hit_whose_price_nobody_knows_saves_no_money(cache):
    """P14: its tokens and its time were saved; what they would have cost is not guessed."""
    ask = telling(cache)
    ask("x", model="nobody-knows-this-model")
    with memollm.namespace("b"):
        ask("x", model="nobody-knows-this-model")
    saved = cache.stats().total.saved
    assert saved[1:4] == (1000, 100, 0.0)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [((), []), ((3,), [(3, 3)]), ((0, 1, 2), [(0, 2)]), ((0, 2, 3, 7), [(0, 0), (2, 3), (7, 7)])],
)
def test_what_was_used_is_told_in_stretches(numbers, told):
    """A run of consecutive samples is one entry, and what lies between two runs is in neither."""
    assert [*stretches({*numbers})] == told


def test_by_namespace_run_and_day(tmp_path):
    """The same counts, grouped as the user asks; all groups add up to the same total."""
    clock = FakeClock()
    with Cache("memory:", clock=clock) as cache:
        ask = telling(cache)
        with memollm.run("first"):
            with memollm.namespace("a"):
                ask("x")
            ask("x")
            # A count is of the day on which it is handed over.
            cache.stats()
            clock.advance(DAY)
            with memollm.namespace("b"):
                ask("x")
        with memollm.run("second"):
            with memollm.namespace("a"):
                ask("x")
            ask.with_options(pool=1)("x")
        by = {name: cache.stats(name) for name in ("function", "namespace", "run", "day")}
    days = [time.strftime("%Y-%m-%d", time.localtime(clock() - ago)) for ago in (DAY, 0)]
    assert {name: [(line.name, line.draws, line.paid) for line in stats] for name, stats in by.items()} == {
        "function": [("ask", 5, 2)],
        "namespace": [("(none)", 2, 0), ("a", 2, 2), ("b", 1, 0)],
        "run": [("first", 3, 1), ("second", 2, 1)],
        "day": [(days[0], 2, 1), (days[1], 3, 1)],
    }
    for stats in by.values():
        assert numbers(stats.total) == (5, 3, 0, 2, 0, 0, 0)


def test_a_function_tells_its_own(cache):
    """`f.stats()` is that function alone, by namespace."""
    ask, other = telling(cache), telling(cache, name="other")
    ask.draw(2, "x")
    other("x")
    with memollm.namespace("b"):
        ask("x")
    stats = ask.stats()
    assert [(line.name, line.draws) for line in stats] == [("a", 2), ("b", 1)]
    assert stats["b"].hits == 1
    assert stats.total.draws == 3
    assert [line.name for line in cache.stats()] == ["ask", "other"]


def test_a_method_tells_its_own(cache):
    """Methods are asked on the object or on the class."""

    class Agent:
        @cache.cached_llm(namespace="a", ignore="self")
        def ask(self, prompt):
            return prompt

    Agent().ask("x")
    assert Agent().ask.stats().total.draws == 1
    assert Agent.ask.stats().total.draws == 1


def test_every_kind_of_draw_is_counted_once(cache):
    """Lists, batches, counts, streams, coroutine functions, maps, memoized and replayed samples."""

    async def answer(prompt):
        return prompt

    def tell(prompt):
        yield prompt

    options = {"namespace": "a", "version": 1}
    asynchronous = cache.cached_llm(answer, name="async", **options)
    stream = cache.cached_llm(tell, name="stream", **options)
    generate = cache.cached_llm(lambda prompts: prompts, batch="prompts", name="batch", **options)
    several = cache.cached_llm(lambda prompt, n: [prompt] * n, count="n", name="count", **options)
    memoized = cache.cached_llm(str.upper, pool=1, name="memoized", **options)
    mapped = cache.cached_llm(str.lower, name="map", **options)

    async def tasks():
        await asynchronous("x")
        await asynchronous.draw(2, "x")

    def draw():
        run(tasks())
        list(stream("x"))
        generate(["x", "y", "x"])
        several("x", 4)
        mapped.map(["x", "y"])
        for _ in range(5):
            memoized("x")

    draw()
    with memollm.replay("a"):
        draw()
    assert {line.name: numbers(line)[:4] for line in cache.stats()} == {
        "async": (6, 3, 0, 3),
        "batch": (6, 3, 0, 1),
        "count": (8, 4, 0, 1),
        "map": (4, 2, 0, 2),
        "memoized": (10, 9, 0, 1),
        "stream": (2, 1, 0, 1),
    }


def test_failed_and_refused_calls(cache):
    """They are counted apart; a refused answer was given and paid, a failed call was neither."""
    answers = iter([ConnectionError(), "bad", "good"])

    @cache.cached_llm(namespace="a", accept=lambda answer: answer == "good", name="ask", version=1)
    def ask(prompt):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ConnectionError):
        ask("x")
    ask.draw(2, "x")
    assert numbers(cache.stats()["ask"]) == (2, 0, 0, 2, 1, 1, 2)


def test_what_a_call_took_is_divided_exactly(cache):
    """However many samples a call makes, the tokens of its samples add up to the call's."""
    usage = memollm.Usage(1000, 101, 1.0)
    several = cache.cached_llm(lambda prompt, n: [prompt] * n, count="n", usage=lambda _: usage, name="f", version=1)
    for number in range(1, 30):
        with memollm.run():
            several(f"x{number}", number)
        with memollm.run():
            several(f"x{number}", number)
    (line,) = cache.stats()
    assert (line.paid, line.spent[1:4]) == (29, (29_000, 29 * 101, 29.0))
    assert line.saved[1:3] == (29_000, 29 * 101)
    assert round(line.saved.cost, 9) == 29.0


def test_counts_last(tmp_path):
    """They are in the store when the cache is closed, and the next process adds to them."""
    for times in (1, 2):
        with Cache(tmp_path / "cache") as cache:
            ask = telling(cache)
            ask("x")
            assert cache.stats()["ask"].draws == times


def test_counts_are_handed_over_by_themselves(tmp_path):
    """About a second after a draw another process can read what was counted."""
    with Cache(tmp_path / "cache") as cache, Cache(tmp_path / "cache") as other:
        telling(cache)("x")
        until(lambda: other.stats().lines)
        assert other.stats()["ask"].paid == 1


def test_threads_and_handing_over_lose_no_count(cache):
    """Every draw is counted once, however many count while it is handed over."""
    ask = cache.cached_llm(str.upper, pool=1, name="ask", version=1)
    ask("x")
    over = threading.Event()

    def hand_over():
        while not over.is_set():
            cache._engine.keeper.hand_over()

    with ThreadPoolExecutor(5) as pool:
        handing = pool.submit(hand_over)
        drawing = [pool.submit(lambda: [ask("x") for _ in range(2000)]) for _ in range(4)]
        for each in drawing:
            each.result()
        over.set()
        handing.result()
    assert numbers(cache.stats()["ask"])[:4] == (8001, 8000, 0, 1)


@pytest.mark.parametrize("pool", [None, 1])
def test_a_note_that_comes_while_books_are_closed(cache, pool):
    """It is handed over with the next, not left in closed books for ever."""

    class Interrupted(list):
        """Notes that are handed over just when another is about to be noted."""

        def append(self, note):
            cache._engine.keeper.hand_over()
            super().append(note)

    ask = cache.cached_llm(str.upper, pool=pool, name="ask", version=1)
    ask("x")
    (plan,) = ask._self_function.plans.values()
    plan.books.given = Interrupted(plan.books.given)
    for _ in range(3):
        ask("x")
    assert cache.stats()["ask"].draws == 4


def test_a_store_that_does_not_count(tmp_path, monkeypatch):
    """Counting never fails a draw; what could not be handed over is handed over later."""
    with Cache(tmp_path / "cache") as cache:
        ask = telling(cache)
        keeping = type(cache.store.keeping)
        count = keeping.count

        def refuse(*_):
            raise memollm.StoreUnavailable("the disk is full")

        monkeypatch.setattr(keeping, "count", refuse)
        ask("x")
        assert cache.stats().lines == ()
        monkeypatch.setattr(keeping, "count", count)
        ask("x")
        assert cache.stats()["ask"].draws == 2


def test_nothing_counted(cache):
    """A cache that was never drawn from has an empty table with a total of nothing."""
    stats = cache.stats()
    assert (len(stats), stats.total.draws, stats.total.hit_latency) == (0, 0, None)


def test_stats_are_shown(cache):
    """As text, and as a table in notebooks, with the money that is not known."""
    ask = telling(cache)
    ask.draw(2, "x")
    ask("x", model="nobody-knows-this-model")
    text = str(cache.stats())
    head, line, total = text.splitlines()
    assert head.split()[:3] == ["function", "draws", "hits"]
    assert line.split()[:5] == ["ask", "3", "0", "0", "3"]
    assert "$0.006 + 1 unpriced" in line
    assert total.startswith("total")
    assert "<table>" in cache.stats()._repr_html_()


def test_a_line_is_found_by_name(cache):
    """A name that was not counted is an error that names the nearest."""
    telling(cache)("x")
    stats = cache.stats()
    assert stats["ask"] is next(iter(stats))
    with pytest.raises(KeyError, match=r"function 'aks'.*'ask'"):
        stats["aks"]
    with pytest.raises(OptionError, match=r"by='functon'.*'function'"):
        cache.stats("functon")


def test_spending_is_shown():
    """Dollars, tokens and time in one line."""
    line = memollm._spending.stats.Line.of(
        "f", Counts(spent_cost=1234.5, spent_input=1000, spent_output=5, spent_seconds=90)
    )
    assert str(line.spent) == "$1,234.50, 1,005 tokens, 1.5 min"


def test_what_a_store_does_not_take_is_handed_over_later(cache, monkeypatch):
    """While the store refuses, neither what was counted is lost nor which samples a run used."""
    ask, keeper = cache.cached_llm(str.upper, pool=1, name="ask", version=1), cache._engine.keeper
    with memollm.run("r"):
        ask("x")
        with monkeypatch.context() as refusing:
            refusing.setattr(type(cache.store.keeping), "count", refuse)
            keeper.hand_over()
        ask("y")
        keeper.hand_over()
    with cache.store.keeping.transfer().snapshot() as snapshot:
        used = [snapshot.stretches(entry) for entry in snapshot.entries(Part(function="ask"))]
    assert used == [[Stretch("r", 0, 0)]] * 2
    assert cache.stats()["ask"].paid == 2


def refuse(*_):
    raise StoreUnavailable("busy")


def test_much_is_handed_over_in_parts_each_of_which_counts_once(cache, monkeypatch):
    """Where the answer to one of several parts is lost, that part is asked again as it was, and no other."""
    monkeypatch.setattr(accounts, "AT_ONE_TIME", 2)
    monkeypatch.setattr(accounts, "BETWEEN", 3600.0)
    ask, keeper, kept = (
        cache.cached_llm(str.upper, name="ask", version=1),
        cache._engine.keeper,
        type(cache.store.keeping),
    )
    for prompt in "abcde":
        ask(prompt)
    asked, count = [], kept.count

    def lose(self, number, counts, uses):
        count(self, number, counts, uses)
        asked.append((number, len(uses)))
        if len(asked) == 2:
            raise StoreUnavailable("the answer is lost")

    monkeypatch.setattr(kept, "count", lose)
    keeper.hand_over()
    keeper.hand_over()
    numbers = [number for number, _ in asked]
    assert [uses for _, uses in asked] == [2, 2, 2, 1]
    assert numbers[1] == numbers[2]
    assert len(set(numbers)) == 3
    assert cache.stats()["ask"].paid == 5


def test_stats_are_a_table_in_ipython(cache):
    """A shell that prints what an expression gives prints the table."""
    shown = []
    stats = cache.stats()
    stats._repr_pretty_(SimpleNamespace(text=shown.append), cycle=False)
    assert shown == [str(stats)]
