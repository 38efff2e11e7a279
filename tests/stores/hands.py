"""Draws made by hand on a store."""

import random

from memollm._types.calls import Want
from memollm._types.requests import Take
from memollm.testing._bench import Hand, call


def want(n=1, reader="reader", *, of=None, lane=None):
    return Want(of or call(), reader, n, None, lane)


def take(store, n=1, reader="reader", *, of=None, lane=None, **options):
    return Hand(store, want(n, reader, of=of, lane=lane), **options)


def at_once(store, n=1, reader="reader"):
    """Draw without waiting; return positions and records, or None where that cannot be."""
    ticket = store.flights.depart()
    answer = store.at_once(Take(ticket, [want(n, reader)]))
    if answer is None:
        store.flights.arrive(ticket)
        return None
    return list(answer[0].positions), [getattr(state, "record", None) for state in answer[0].states]


def stock(store, *records, of=None):
    hand = take(store, len(records), reader=None, of=of)
    hand.fill(*records)
    hand.settle()


def calls_of_all(cluster, store):
    """Return a call of each node of a cluster."""
    calls = {}
    for number in range(100):
        each = call(f"question {number}")
        calls.setdefault(cluster.node_of(f"{store.base(each)}:call"), each)
        if len(calls) == 3:
            return [calls[node] for node in cluster.nodes[:3]]
    raise AssertionError(calls)


def large(seed):
    """Return a text that no compression makes small."""
    return random.Random(seed).randbytes(20_000).hex()
