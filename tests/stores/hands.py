"""Draws made by hand on a store."""

from memollm._types.calls import Want
from memollm.testing._bench import Hand, call


def take(store, n=1, reader="reader", *, of=None, lane=None, **options):
    return Hand(store, Want(of or call(), reader, n, None, lane), **options)


def stock(store, *records, of=None):
    hand = take(store, len(records), reader=None, of=of)
    hand.fill(*records)
    hand.settle()
