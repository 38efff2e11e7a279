"""The memory store keeps what every store promises, and begins anew in a forked child."""

import os
from contextlib import suppress

import pytest

from memollm._types.calls import Want
from memollm._types.samples import MINE
from memollm.stores.memory.store import MemoryStore
from memollm.testing import StoreConformance
from memollm.testing._bench import Hand, call


class TestMemoryStore(StoreConformance):
    def make(self):
        return MemoryStore()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_waits_for_nobody():
    """In a forked child the parent's draws are void: nobody there will ever end them (P5)."""
    store = MemoryStore()
    hand = Hand(store, Want(call(), "reader", 1, None))
    with store._lock:
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                own = Hand(store, Want(call(), "reader", 1, None))
                status = 0 if (own.at, own.states) == ([0], [MINE]) else 2
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.flights.aloft(hand.ticket)
