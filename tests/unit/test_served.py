"""Draws of one process that wait for what another process fills at a server."""

from memollm._types.calls import Place
from memollm._types.requests import Look
from memollm._types.samples import MINE, Busy
from memollm.errors import StoreUnavailable
from memollm.stores.drawn import Drawn
from memollm.stores.flights import Flights
from memollm.stores.served import ServedDrawing
from memollm.testing._bench import call

SLOT = Place(call(), 0)


class Line:
    """Notes what is watched at the server."""

    def __init__(self):
        self.watched = []

    def watch(self, places, wake):
        self.watched += places
        return lambda: None


class Faked(ServedDrawing):
    """A store whose server answers as it is told, after what happens meanwhile."""

    def __init__(self, answer, meanwhile=lambda: None):
        self.flights = Flights()
        self.drawn = Drawn(self.flights)
        self.line = Line()
        self.answer, self.meanwhile = answer, meanwhile

    def _brought(self, requests):
        self.drawn.begin(requests)
        self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        self.drawn.done(requests, [[self.answer]])
        return [[self.answer]]

    def _line(self):
        return self.line

    def _busy(self, places):
        return set(range(len(places)))


def watched_at_server(answer, *, while_asked):
    """Watch a place, while a draw of the same process looks at it or after that; list what the server is to tell."""

    def watch():
        store.watch((SLOT,), lambda place: None)

    store = Faked(answer, watch if while_asked else lambda: None)
    store.perform([Look(store.flights.depart(), (SLOT,))])
    if not while_asked:
        watch()
    return store.line.watched


def test_nobody_waits_for_a_draw_that_has_only_asked_for_the_place():
    """A draw that looks may be told to wait, too: it would wait with the others for itself."""
    assert watched_at_server(Busy(None), while_asked=True) == [SLOT]


def test_nobody_waits_for_a_draw_whose_look_failed():
    """What a look without an answer has claimed is not known, so the server is asked."""
    assert watched_at_server(StoreUnavailable("away"), while_asked=False) == [SLOT]


def test_who_was_given_the_place_is_waited_for_in_the_process():
    """What a draw of this process fills for certain needs no word of the server."""
    assert watched_at_server(MINE, while_asked=False) == []
