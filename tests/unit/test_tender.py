"""The threads that come round by themselves: they pause, ever longer while nothing happens, and they end (P5)."""

from __future__ import annotations

import threading

import pytest
from models import until

from memollm import Cache
from memollm._draws.desk import Debt
from memollm._draws.tender import RETRY, RETRY_FIRST, Tender
from memollm._spending import accounts
from memollm._types.requests import Write
from memollm.errors import StoreUnavailable
from memollm.stores.poller import POLL_FIRST, POLL_LAST, Poller


class Pauses(threading.Condition):
    """Notes the pauses, which take no time."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def wait(self, timeout=None):
        self.seen.append(timeout)
        return False


def pauses_of(thread):
    """Wait until nothing is left to do, and return the pauses that were made."""
    until(lambda: thread._thread is None)
    return thread._changed.seen


def tender(owing=(), due=()):
    owing, due = iter(owing), iter(due)
    made = Tender(lambda: next(owing, False), lambda: next(due, None))
    made._changed = Pauses()
    return made


def poller(*polls):
    """Make a poller whose looks are told beforehand: what each gives, in turn, and in the end everything."""
    polls = iter(polls)

    def poll(places):
        settled = next(polls, "all")
        if isinstance(settled, Exception):
            raise settled
        return [settled == "all" or place in settled for place in places]

    made = Poller(poll)
    made._changed = Pauses()
    return made


def woken(polling, *places):
    """Wait until those who watch the places are woken."""
    seen = []
    with polling._changed:
        polling.watch(places, seen.append)
    until(lambda: len(seen) == len(places))
    return seen


NOTHING = ()


def test_looks_at_a_slot_are_ever_further_apart():
    """Between two looks at a slot that another process fills is a pause, which doubles up to a limit."""
    polling = poller(*[NOTHING] * 8)
    woken(polling, "slot")
    assert pauses_of(polling) == [POLL_FIRST * factor for factor in (2, 4, 8, 16)] + [POLL_LAST] * 4


def test_a_slot_that_was_settled_makes_the_looks_frequent_again():
    """Where something happens more is to be expected: the pauses begin anew."""
    polling = poller(NOTHING, NOTHING, {"one"}, NOTHING)
    assert woken(polling, "one", "two") == ["one", "two"]
    assert pauses_of(polling) == [POLL_FIRST * factor for factor in (2, 4, 1, 2)]


def test_a_store_that_fails_makes_everybody_look():
    """P7: where the store cannot say who fills a slot, each who waits looks, and meets the failure."""
    polling = poller(NOTHING, StoreUnavailable("gone"))
    assert woken(polling, "slot") == ["slot"]
    assert pauses_of(polling) == [2 * POLL_FIRST]


def test_who_no_longer_waits_is_not_woken():
    """A place that nobody watches any more is not looked at, and the thread ends."""
    polling, seen = poller(*[NOTHING] * 3), []
    with polling._changed:
        stop = polling.watch(["slot"], seen.append)
        stop()
    pauses_of(polling)
    assert seen == []


def test_a_polling_thread_that_has_ended_is_begun_again():
    """Whoever comes after the thread has ended has another."""
    polling = poller()
    woken(polling, "slot")
    pauses_of(polling)
    assert woken(polling, "slot") == ["slot"]


def test_attempts_to_settle_are_ever_further_apart():
    """What is owed to a store that fails is tried again and again, in the end once in a longer while."""
    tending = tender(owing=[True] * 12)
    tending.begin()
    pauses = pauses_of(tending)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1], len(pauses)) == (2 * RETRY_FIRST, RETRY, 12)


def test_what_is_due_later_is_waited_for():
    """Where nothing but a later task is left, one pause leads to it."""
    tending = tender(due=[0.75, -1.0, None])
    tending.begin()
    assert pauses_of(tending) == [0.75, 0.0]


def test_a_tending_thread_that_has_ended_is_begun_again():
    """Whoever has something for it after it has ended has another."""
    tending = tender()
    tending.begin()
    pauses_of(tending)
    tending.begin()
    assert pauses_of(tending) == []


@pytest.mark.parametrize("come_round", ["_tend", "close"])
def test_what_draws_give_back_is_brought_before_counts(come_round, monkeypatch):
    """Others may wait for positions that are free again, and nobody waits for counts."""
    monkeypatch.setattr(accounts, "BETWEEN", 3600.0)
    cache, order = Cache("memory:"), []
    engine, kept = cache._engine, type(cache.store.keeping)
    perform, count = type(cache.store).perform, kept.count
    cache.cached_llm(str.upper, name="ask", version=1)("x")
    monkeypatch.setattr(type(cache.store), "perform", lambda *of: (order.append("paid"), perform(*of))[1])
    monkeypatch.setattr(kept, "count", lambda *of: (order.append("counted"), count(*of))[1])
    engine.keeper._due = 0.0
    engine.desk.debts.append(Debt(Write(engine.flights.new_id(), ())))
    getattr(engine, come_round)()
    assert order == ["paid", "counted"]
