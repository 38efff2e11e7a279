"""One thread looks at what others fill, wakes each who waits once, and ends when nobody waits."""

import threading

import pytest

from memollm._types.calls import Place
from memollm.errors import StoreUnavailable
from memollm.stores.poller import Poller
from memollm.testing._bench import PATIENCE, call

PLACES = [Place(call(), slot) for slot in range(3)]


class Slots:
    """What others fill: each place is busy until it is let go."""

    def __init__(self):
        self.free = set()
        self.looks = threading.Semaphore(0)
        self.fails = None

    def poll(self, places):
        self.looks.release()
        if self.fails is not None:
            raise self.fails
        return [place in self.free for place in places]


class Woken:
    def __init__(self):
        self.places = []
        self._every = threading.Semaphore(0)

    def __call__(self, place):
        self.places.append(place)
        self._every.release()

    def wait_for(self, count):
        for _ in range(count):
            assert self._every.acquire(timeout=PATIENCE)
        return self.places


@pytest.fixture
def slots():
    return Slots()


@pytest.fixture
def poller(slots):
    return Poller(slots.poll)


def ended(poller):
    """Tell whether the thread ends, for which nobody may wait any more."""
    thread = poller._thread
    if thread is not None:
        thread.join(PATIENCE)
    return poller._thread is None


def test_each_is_woken_once(poller, slots):
    """Everybody who waits for a place is woken once when it is free, and the thread ends with the last."""
    one, other = Woken(), Woken()
    poller.watch(PLACES[:2], one)
    poller.watch(PLACES[1:], other)
    slots.free.add(PLACES[1])
    assert (one.wait_for(1), other.wait_for(1)) == ([PLACES[1]], [PLACES[1]])
    slots.free.update(PLACES)
    assert (one.wait_for(1), other.wait_for(1)) == ([PLACES[1], PLACES[0]], [PLACES[1], PLACES[2]])
    assert ended(poller)


def test_what_is_free_already_wakes_at_once(poller, slots):
    """The first look is at once."""
    slots.free.update(PLACES)
    woken = Woken()
    poller.watch(PLACES, woken)
    assert sorted(place.slot for place in woken.wait_for(3)) == [0, 1, 2]


def test_nobody_is_woken_who_has_stopped(poller, slots):
    """Who stops watching is not woken, others are, and where nobody is left the thread ends."""
    left, stays = Woken(), Woken()
    stop = poller.watch(PLACES[:1], left)
    stop_too = poller.watch(PLACES[:1], stays)
    stop()
    stop()
    slots.free.add(PLACES[0])
    stays.wait_for(1)
    stop_too()
    assert (left.places, ended(poller)) == ([], True)


def test_a_store_that_does_not_answer_wakes_all(poller, slots):
    """Each looks again by itself, and is told what is wrong (P7)."""
    slots.fails = StoreUnavailable("gone")
    woken = Woken()
    poller.watch(PLACES, woken)
    woken.wait_for(3)
    assert ended(poller)


def test_a_thread_that_dies_leaves_nobody_waiting(poller, slots, monkeypatch):
    """Whatever ends the thread, who waits is woken, and the next to wait has another thread."""
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: died.set())
    slots.fails = MemoryError()
    woken = Woken()
    poller.watch(PLACES[:1], woken)
    woken.wait_for(1)
    assert died.wait(PATIENCE)
    slots.fails = None
    slots.free.add(PLACES[0])
    poller.watch(PLACES[:1], woken)
    woken.wait_for(1)


def test_watching_nothing(poller):
    """Nothing to watch begins no thread."""
    poller.watch([], Woken())()
    assert poller._thread is None


def test_pauses_grow(poller, slots, monkeypatch):
    """While nothing happens the looks become rarer, and somebody new has one at once."""
    pauses = []
    wait = poller._changed.wait
    monkeypatch.setattr(poller._changed, "wait", lambda pause: pauses.append(pause) or wait(pause / 100))
    stop = poller.watch(PLACES[:1], Woken())
    for _ in range(8):
        assert slots.looks.acquire(timeout=PATIENCE)
    stop()
    assert ended(poller)
    assert pauses[:7] == sorted(pauses[:7])
    assert pauses[0] < pauses[6] == max(pauses)


def test_what_waits_in_the_looking_thread_is_looked_at_by_another(slots):
    """A destructor may run in that very thread, and draw, and wait for what nobody else would look at."""
    inner, outer = Woken(), Woken()

    def poll(places):
        if not inner.places:
            slots.free.add(PLACES[1])
            inner.places.append("asked")
            poller.watch([PLACES[1]], inner)
            inner.wait_for(1)
            slots.free.add(PLACES[0])
        return slots.poll(places)

    poller = Poller(poll)
    poller.watch([PLACES[0]], outer)
    assert outer.wait_for(1) == [PLACES[0]]
    assert inner.places == ["asked", PLACES[1]]
    assert ended(poller)
