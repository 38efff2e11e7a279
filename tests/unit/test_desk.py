"""The desk: requests of several draws go to the store together, and a failure is told to whom it concerns."""

from __future__ import annotations

import signal
import threading

import pytest

from memollm._draws.desk import Debt, Desk
from memollm._types.calls import Place
from memollm._types.requests import Fill, Settle, Take, Write, Written
from memollm._types.samples import Sample
from memollm.errors import ChangeRefused, StoreUnavailable
from memollm.stores.flights import Flights
from memollm.testing._bench import call


class Failing:
    """A store that fails as it is told, and counts how often it was asked."""

    def __init__(self, refused=(), error=None):
        self.refused, self.error, self.asked, self.kept = refused, error, 0, []

    def perform(self, requests):
        self.asked += 1
        return [self.error or self._answer(request) for request in requests]

    def _answer(self, request):
        if isinstance(request, Take):
            return []
        if any(change.ticket in self.refused for change in request.changes):
            return ChangeRefused("too large")
        self.kept += [change.ticket for change in request.changes]
        return Written()


def fill(ticket):
    return Fill(ticket, Place(call(), ticket), Sample(b"x", 0.0))


def write(change):
    return Write(change.ticket, [change])


def brought(store, *requests, debts=()):
    """Hand in requests, without a helper, and bring them all at once; return the desk and the error of each."""
    desk = Desk(store, lambda: None)
    desk.debts.extend(debts)
    desk._drain_is_due = True
    pending = [desk.submit(request) for request in requests]
    desk.flush()
    assert all(each.done.is_set() for each in pending)
    return desk, [each._answer if isinstance(each._answer, Exception) else None for each in pending]


def test_store_that_lacks_something_is_asked_once_for_all():
    """P7: where the store is busy or full, 1,000 answers wait as long as one does, and not one after the other."""
    store = Failing(error=StoreUnavailable("busy"))
    _, errors = brought(store, *[write(fill(ticket)) for ticket in range(1000)])
    assert (store.asked, {type(each) for each in errors}) == (1, {StoreUnavailable})


@pytest.mark.parametrize("refused", [{0}, {41}, {99}, {3, 4, 77}])
def test_change_that_cannot_be_taken_fails_alone(refused):
    """P7: an answer that the store cannot take costs no other one, and no further commit."""
    store = Failing(refused)
    _, errors = brought(store, *[write(fill(ticket)) for ticket in range(100)])
    assert {at for at, error in enumerate(errors) if error is not None} == refused
    assert sorted(store.kept) == [at for at in range(100) if at not in refused]
    assert store.asked == 1


def test_requests_go_in_their_order():
    """P6: what was asked for first is brought first, takes and writes alike."""
    seen = []

    class Noting(Failing):
        def perform(self, requests):
            seen.extend(requests)
            return super().perform(requests)

    requests = [Take(1, []), write(fill(2)), Take(3, []), write(fill(4))]
    brought(Noting(), *requests)
    assert seen == requests


def test_what_is_owed_goes_first_and_costs_no_answer():
    """P7: what is owed and cannot be written stays owed, and what is handed in beside it is written."""
    debt = Debt(write(Settle(7, None)))
    desk, errors = brought(Failing({7}), write(fill(1)), write(fill(2)), debts=[debt])
    assert (errors, desk.debts) == ([None, None], [debt])
    desk, errors = brought(Failing({1}), write(fill(1)), write(fill(2)), debts=[debt])
    assert [type(error) for error in errors] == [ChangeRefused, type(None)]
    assert desk.debts == []


class Interrupted(Failing):
    """A store whose first use is interrupted by a signal, with what its handler raises."""

    def perform(self, requests):
        if not self.asked:
            self.asked += 1
            signal.raise_signal(signal.SIGUSR1)
        return super().perform(requests)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_interrupt_is_told_to_nobody_else(error):
    """P3, P7: who is interrupted leaves what others wait for to be brought, and its own end before another takes."""

    def handle(*_):
        raise error

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        store = Interrupted()
        desk = Desk(store, lambda: None)
        desk._drain_is_due = True
        other = desk.submit(write(fill(1)))
        with pytest.raises(error):
            desk.perform(write(Settle(2, None)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (other.done.is_set(), store.kept) == (False, [])
    desk.perform(Take(3, []))
    assert isinstance(other.outcome(), Written)
    assert store.kept[0] == 2


def test_what_follows_from_a_debt_is_paid_with_it():
    """P1, P3: what an answer that was never heard asks for is written before a draw that comes later takes."""
    store, heard = Failing(), []
    store.flights = Flights()

    def then(answer):
        heard.append(answer)
        return [Settle(2, None)]

    desk = Desk(store, lambda: None)
    store.refused = {1}
    desk.debts.append(Debt(write(Settle(1, None)), then))
    assert desk.paid(wait=True)
    assert (len(desk.debts), heard, store.kept) == (1, [], [])
    store.refused = set()
    assert desk.paid(wait=True)
    assert (desk.debts, len(heard), store.kept) == ([], 1, [1, 2])


def test_only_how_a_draw_ended_is_owed():
    """An end that could not be written is tried again; an answer is lost to the store, and its draw is told."""
    desk, _ = brought(Failing(error=StoreUnavailable("busy")), write(Settle(1, None)), write(fill(2)), Take(3, []))
    assert desk.debts == [Debt(write(Settle(1, None)))]


def test_desk_is_busy_until_what_the_helper_does_is_done():
    """P6: who comes meanwhile queues behind it; who comes afterwards need not."""
    desk, go = Desk(Failing(), lambda: None), threading.Event()
    pending = desk.do(go.wait)
    assert desk.is_busy
    go.set()
    desk.settle()
    assert pending.outcome() is True
    assert not desk.is_busy
    desk.close()


def test_what_is_owed_is_only_waited_for_where_one_may_wait():
    store, debt = Failing(), Debt(write(Settle(1, None)))
    desk = Desk(store, lambda: None)
    assert desk.paid(wait=False)
    desk.debts.append(debt)
    assert not desk.paid(wait=False)
    assert (store.asked, desk.debts) == (0, [debt])
    assert desk.paid(wait=True)
    assert (store.asked, desk.debts) == (1, [])
