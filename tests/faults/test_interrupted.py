"""Draws of signal handlers and destructors, which run in the middle of anything, never wait for what they interrupt."""

from __future__ import annotations

import itertools
import signal
import threading
from contextlib import contextmanager

import pytest

import memollm
from memollm import Cache, NotStoredWarning, ReentrantCall, StoreInUse
from memollm._calls import engines
from memollm._calls.function import Function
from memollm._draws.desk import Desk
from memollm._draws.flow import Draw
from memollm._draws.tender import Tender
from memollm._draws.waits import Waiting
from memollm._spending.accounts import Keeper
from memollm._spending.budget import Budget
from memollm._types.counting import Counts
from memollm._values.codec import Codec
from memollm.stores.flights import Flights, Signal
from memollm.stores.memory.store import MemoryDrawing
from memollm.stores.sqlite.connections import Readers
from memollm.stores.sqlite.ledger import Ledger
from memollm.stores.sqlite.link import Link
from memollm.stores.sqlite.reader import SqliteReader
from memollm.stores.sqlite.session import Session

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="these signals are POSIX")


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


class Interrupted:
    """Sends a real signal from inside functions of ours, and keeps what its handler drew or raised."""

    def __init__(self, monkeypatch, handler):
        self.outcomes = []
        self._monkeypatch = monkeypatch
        self._handler = handler
        self._armed = True

    def at(self, owner, name):
        """Send it when this function is called, before it does anything."""
        original = getattr(owner, name)

        def interrupted(*args, **kwargs):
            if self._armed and threading.current_thread() is threading.main_thread():
                self._armed = False
                signal.raise_signal(signal.SIGUSR1)
            return original(*args, **kwargs)

        self._monkeypatch.setattr(owner, name, interrupted)

    def handle(self, *_):
        try:
            self.outcomes.append(self._handler())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.outcomes.append(error)


@pytest.fixture
def interrupting(monkeypatch):
    @contextmanager
    def interrupting(handler, *places):
        interrupted = Interrupted(monkeypatch, handler)
        before = signal.signal(signal.SIGUSR1, interrupted.handle)
        try:
            for owner, name in places:
                interrupted.at(owner, name)
            yield interrupted.outcomes
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert len(interrupted.outcomes) == 1, "the signal came at another time, or not at all"

    return interrupting


def asking(cache, **options):
    numbers = itertools.count()
    return cache.cached_llm(
        lambda prompt: f"{prompt} {next(numbers)}", **{"name": "ask", "version": 1, "namespace": "a", **options}
    )


UNDER_LOCKS = {
    "taking": (Ledger, "take"),
    "writing": (Ledger, "perform"),
    "opening": (Session, "_open"),
    "connecting": (Link, "__init__"),
    "flushing": (Desk, "_bring"),
    "landing": (Flights, "land"),
    "settling": (Flights, "settle"),
    "arriving": (Flights, "arrive"),
    "signalling": (Signal, "set"),
    "counting": (Keeper, "open"),
    "tending": (Tender, "begin"),
    "introducing": (Function, "introduce"),
    "encoding": (Codec, "encode"),
    "making": (Draw, "_land"),
}


@pytest.mark.parametrize("place", UNDER_LOCKS)
@pytest.mark.parametrize("what", ["hit", "miss", "same call", "two", "stats"])
def test_a_handler_that_draws_waits_for_nothing_that_it_interrupted(cache, interrupting, place, what):
    """It gets its answer, or is told at once that the cache is in use; what it interrupted goes on."""
    ask = asking(cache)
    if place not in {"opening", "connecting", "introducing", "tending"}:
        with memollm.namespace("b"):
            ask("stored")

    def handler():
        match what:
            case "hit":
                return ask("stored")
            case "miss":
                return ask("new")
            case "same call":
                with memollm.namespace("b"):
                    return ask("x")
            case "two":
                return ask.draw(2, "new")
            case "stats":
                return len(cache.stats("function"))

    with interrupting(handler, UNDER_LOCKS[place]) as outcomes:
        assert ask("x").startswith("x ")
    (outcome,) = outcomes
    assert isinstance(outcome, str | int | list | StoreInUse | ReentrantCall), outcome
    drawn = [ask("x") for _ in range(3)]
    assert len({*drawn, *ask.peek("x")}) == len(ask.peek("x"))
    assert {each.draws for each in cache.namespaces() if each.name == "a"} <= {4, 5, 6}


def test_both_ways_out_are_met(cache, interrupting):
    """In the middle of a transaction a handler is refused; between two of them it draws."""
    ask = asking(cache)
    ask("first")
    with interrupting(lambda: ask("new"), (Ledger, "take")) as outcomes:
        ask("x")
    assert [*map(type, outcomes)] == [StoreInUse]
    with interrupting(lambda: ask("new"), (Draw, "_land")) as outcomes:
        ask("x")
    assert outcomes[0].startswith("new ")


def test_an_answer_that_was_paid_for_is_returned(cache):
    """P7: where a thread cannot store an answer, as it has the lock already, it returns it with a warning."""
    lock = cache.store._opened()[0].lock.threads

    def model(prompt):
        lock.acquire()
        return "paid"

    ask = cache.cached_llm(model, name="ask", version=1, namespace="a")
    with pytest.warns(NotStoredWarning, match="in the middle of using the cache"):
        assert ask("x") == "paid"
    lock.release()
    assert ask.peek("x") == []
    assert asking(cache)("x") == "x 0"
    assert [(each.name, each.draws) for each in cache.namespaces()] == [("a", 1)]


@pytest.mark.parametrize("pool", [0, 1])
def test_a_handler_that_interrupts_a_flush_stores_its_answer(cache, interrupting, pool):
    """P7: while the desk is busy and the store is not, the answer goes to the store by itself."""
    ask = asking(cache)
    other = asking(cache, name="other", **({"pool": 1, "namespace": None} if pool else {}))
    ask("first")
    other("first")
    with interrupting(lambda: other("new"), (Desk, "_bring")) as outcomes:
        answer = ask("x")
    assert other.peek("new") == outcomes
    assert ask.peek("x") == [answer]


def test_another_object_for_the_same_file_is_no_way_round(tmp_path, interrupting):
    """The lock of the file is the thread's, whichever `Cache` has it."""
    with Cache(tmp_path / "cache") as one, Cache(tmp_path / "cache") as two:
        first, second = asking(one), asking(two)
        first("x")
        second("x")
        with interrupting(lambda: second("y"), (Ledger, "take")) as outcomes:
            first("x")
        assert [*map(type, outcomes)] == [StoreInUse]


def test_a_handler_that_asks_for_what_its_own_thread_is_making_is_told_so(cache, interrupting):
    """Wherever the draw beneath it is: about to call, calling, or landing."""
    ask = asking(cache, pool=1, namespace=None)
    ask("first")
    for prompt, place in [("p", (Draw, "flow")), ("q", (Draw, "_run")), ("r", (Draw, "_land")), ("s", (Draw, "_save"))]:
        with interrupting(lambda prompt=prompt: ask(prompt), place) as outcomes:
            assert ask(prompt).startswith(prompt)
        assert [*map(type, outcomes)] == [ReentrantCall]


def test_a_handler_may_close_the_cache(tmp_path, interrupting):
    """In the middle of a transaction it is told that it cannot, and the cache goes on."""
    with Cache(tmp_path / "cache") as cache:
        ask = asking(cache)
        ask("first")
        with interrupting(cache.close, (Ledger, "take")) as outcomes:
            assert ask("x").startswith("x ")
        assert [*map(type, outcomes)] == [StoreInUse]
    with Cache(tmp_path / "cache") as again:
        assert len(asking(again).peek("x")) == 1


def test_a_memory_store_is_not_changed_in_the_middle_of_a_change(interrupting):
    """P1: a handler's draw between reading a cursor and moving it would be given the same position."""
    ask = asking(Cache("memory:"))
    ask("first")
    with interrupting(lambda: ask("x"), (MemoryDrawing, "_states")) as outcomes:
        ask("x")
    assert [*map(type, outcomes)] == [StoreInUse]
    assert len({ask("x") for _ in range(3)} | {*ask.peek("x")}) == 4


@pytest.mark.parametrize("place", ["connecting", "opening", "letting go"])
def test_reading_may_be_interrupted(tmp_path, interrupting, place):
    """Whoever only reads is in nobody's way, not even in its own."""
    with Cache(tmp_path / "cache") as cache:
        asking(cache).draw(2, "x")
        where = {
            "connecting": (Readers, "_another"),
            "opening": (SqliteReader, "_open"),
            "letting go": (SqliteReader, "_let_go"),
        }[place]
        reading = asking(cache, mode="readonly")
        with interrupting(lambda: reading("x"), where) as outcomes:
            assert reading("x").startswith("x ")
        # What is read is kept in this process, where the same holds as in a memory store.
        assert isinstance(outcomes[0], str | StoreInUse)


def test_making_things_once_may_be_interrupted(tmp_path, interrupting, monkeypatch):
    """A handler that comes while an engine or a key is being made uses the one that all others use afterwards."""
    path = str(tmp_path / "shared")
    with interrupting(lambda: engines.engine_of(path), (engines, "make_engine")) as outcomes:
        engine = engines.engine_of(path)
    assert outcomes == [engine]
    assert engines.engine_of(path) is engine
    engine.close()


def test_budgets_and_tracks_are_told_by_handlers_too(cache, interrupting):
    """P14: what a handler draws inside a block counts, and the block's own draws, too."""
    ask = asking(cache, usage=lambda _: memollm.Usage(cost=0.01))
    ask("first")
    for place in ((Budget, "_foreseen"), (Budget, "_put_back"), (Counts, "plus")):
        prompt = f"{place}"
        with memollm.budget(cost=5.0, calls=10) as budget, memollm.track() as track:
            with interrupting(lambda prompt=prompt: ask(prompt), place) as outcomes:
                ask("x")
            assert outcomes[0].startswith(prompt)
        assert (budget.calls, budget._under_way, track.paid, len(track.draws)) == (2, 0, 2, 2)


def test_waiting_may_be_interrupted(cache, interrupting):
    """A handler that comes while a draw looks whether it may wait draws, and waits itself if it must."""
    begun, go = threading.Event(), threading.Event()

    @cache.cached_llm(pool=1, name="slow", version=1)
    def slow(prompt):
        begun.set()
        go.wait()
        return prompt

    ask = asking(cache)
    ask("first")
    thread = threading.Thread(target=slow, args=("x",), daemon=True)
    thread.start()
    begun.wait()

    def handler():
        go.set()
        return slow("x"), ask("y")

    with interrupting(handler, (Waiting, "_circle")) as outcomes:
        assert slow("x") == "x"
    thread.join()
    assert outcomes[0][0] == "x"


def test_a_destructor_in_a_transaction_is_told_so(cache, monkeypatch):
    """An object that draws as it is collected gets an error, which Python prints; the draw that made it go goes on."""
    ask = asking(cache)
    ask("first")
    told = []

    class Last:
        def __del__(self):
            try:
                told.append(ask("del"))
            except StoreInUse as error:
                told.append(error)

    take, left = Ledger.take, [Last()]

    def taking(ledger, request):
        left.clear()
        return take(ledger, request)

    monkeypatch.setattr(Ledger, "take", taking)
    assert ask("x").startswith("x ")
    assert [*map(type, told)] == [StoreInUse]


SWEPT = """
    import itertools, signal, sys, time, warnings
    from collections import Counter
    from memollm import Cache, NotStoredWarning, ReentrantCall, StoreInUse, namespace

    warnings.simplefilter("ignore", NotStoredWarning)
    cache = Cache(sys.argv[1])
    numbers = itertools.count()
    ask = cache.cached_llm(lambda prompt: next(numbers), name="ask", version=1, namespace="a")
    memo = cache.cached_llm(lambda prompt: next(numbers), name="memo", version=1, pool=1)
    outcomes, drawn, turns = Counter(), [], itertools.count()

    def handle(*_):
        turn = next(turns)
        try:
            if turn % 3 == 0:
                drawn.append(ask("x"))
            elif turn % 3 == 1:
                memo(f"{turn % 50}")
            else:
                cache.stats("function")
            outcomes["done"] += 1
        except (StoreInUse, ReentrantCall) as error:
            outcomes[type(error).__name__] += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + turn % 17 * 0.0001)

    ask("first")
    signal.signal(signal.SIGALRM, handle)
    end = time.monotonic() + float(sys.argv[2])
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while time.monotonic() < end or outcomes["done"] < 20:
        drawn.append(ask("x"))
        memo(f"{next(numbers) % 50}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(drawn) == len(set(drawn))
    stored = ask.peek("x")
    assert sys.argv[1] == "memory:" or set(stored) <= set(drawn) | {*stored}
    with namespace("b"):
        assert ask.draw(len(stored), "x") == stored
    cache.close()
    print(outcomes["done"] >= 20)
"""


@pytest.mark.parametrize("place", ["cache", "memory:"])
def test_handlers_that_draw_at_any_time_never_hang(project, place):
    """P1: signals come in between whatever a program that draws does, for a while; every draw ends and is distinct."""
    project.write("swept.py", SWEPT)
    assert project.run("swept.py", place, 2.0) == ["True"]
