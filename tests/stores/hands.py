"""Draws made by hand on a SQLite store."""

from memollm._model import Want
from memollm.testing._bench import Hand, call


def take(store, n=1, reader="reader", **options):
    return Hand(store, Want(call(), reader, n, None), **options)


def stock(store, *records):
    hand = take(store, len(records), reader=None)
    hand.fill(*records)
    hand.settle()
