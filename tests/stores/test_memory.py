"""The memory store keeps what every store promises, and begins anew in a forked child."""

import os
from contextlib import suppress

import pytest

from memollm._types.calls import Want
from memollm._types.samples import MINE
from memollm.errors import StoreRefused
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.memory.store import MemoryDrawing, MemoryStore
from memollm.testing import DrawingConformance, MatchingConformance, StoreConformance
from memollm.testing._bench import Hand, call


class TestDrawingAlone(DrawingConformance):
    """A store that draws and has nothing else."""

    def make(self):
        return MemoryDrawing()


class TestMemoryStore(StoreConformance, MatchingConformance):
    def make(self):
        return MemoryStore()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_waits_for_nobody():
    """In a forked child the parent's draws are void: nobody there will ever end them (P5)."""
    store = MemoryStore()
    hand = Hand(store, Want(call(), "reader", 1, None))
    with store._content.lock:
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                own = Hand(store, Want(call(), "reader", 1, None))
                status = 0 if (own.at, own.states) == ([0], [MINE]) else 2
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.flights.aloft(hand.ticket)


def test_what_a_store_lacks_is_said():
    """What needs more than drawing says in a sentence which store lacks it, and what to do."""
    for capability in (looking, keeping):
        with pytest.raises(StoreRefused, match=r"^MemoryDrawing draws.*; use a store that has `(looking|keeping)`"):
            capability(MemoryDrawing())
        assert capability(MemoryStore())
