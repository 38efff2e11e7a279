"""What the parts of the conformance suite share: a store under test, calls to draw from, and draws made by hand."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

from memollm._types.calls import Call, Place, Position, Want
from memollm._types.requests import Fill, Settle
from memollm._types.samples import EVER, MINE, Sample, State, Taken
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm.stores.base import Store

T = TypeVar("T")
PATIENCE: Final = 30.0
"""Seconds after which a test that waits has failed."""


def call(text: str = "hello", *, key: bytes | None = None) -> Call:
    """Make a call with its canonical form, and its hash unless one is given."""
    form = f'{{"prompt":"{text}"}}'
    return Call(key or hashlib.blake2b(form.encode(), digest_size=16).digest(), form, "tests.ask")


class Hand:
    """A draw made by hand: a ticket, what it has taken, and what becomes of it."""

    def __init__(self, store: Store, *wants: Want, newer_than: float = EVER, wait: bool = True) -> None:
        self.store = store
        self.newer_than = newer_than
        self.ticket = store.flights.depart()
        self.wants = wants
        self.taken = store.take(wants, self.ticket, newer_than=newer_than, wait=wait)

    @property
    def want(self) -> Want:
        """The first want."""
        return self.wants[0]

    @property
    def at(self) -> list[int]:
        """The positions of the first want."""
        return list(self.taken[0].positions)

    @property
    def states(self) -> list[State]:
        """The states of the first want."""
        return list(self.taken[0].states)

    @property
    def records(self) -> list[bytes]:
        """The records of a draw whose slots were all filled."""
        return [state.record for state in self.states if isinstance(state, Sample)]

    def fills(self, *records: bytes, stored: float = NOON) -> list[Fill]:
        """Make the changes that fill the claimed slots of the first want, in order."""
        claimed = [at for at, state in zip(self.at, self.states, strict=True) if state is MINE]
        places = [Place(self.want.call, slot) for slot in dict.fromkeys(map(self.want.slot, claimed))]
        return [Fill(self.ticket, place, Sample(record, stored)) for place, record in zip(places, records, strict=True)]

    def fill(self, *records: bytes, stored: float = NOON) -> None:
        """Fill the claimed slots of the first want, in order, and land them."""
        fills = self.fills(*records, stored=stored)
        self.store.write(fills)
        for fill in fills:
            self.store.flights.land(self.ticket, fill.place)

    def settle(self, *returned: int) -> None:
        """End the draw, giving these positions of the first want back."""
        reader = self.want.reader
        positions = [] if reader is None else [Position(self.want.call, reader, at) for at in returned]
        self.store.write([Settle(self.ticket, positions)])
        self.abandon()

    def give_back(self) -> None:
        """End the draw as one that does not know its positions: all of them go back."""
        self.store.write([Settle(self.ticket, None)])
        self.abandon()

    def abandon(self) -> None:
        """End the draw in this process and tell the store nothing."""
        self.store.flights.arrive(self.ticket)

    def look(self, *slots: int) -> list[State]:
        """Look at slots of the first want's call again."""
        places = [Place(self.want.call, slot) for slot in slots]
        return self.store.look(places, self.ticket, newer_than=self.newer_than, wait=True)


class Bench:
    """The store under test. It is made on first need, so that fixtures of a subclass come before it."""

    _store: Store | None = None
    _others: list[Store]

    def make(self) -> Store:
        """Make an empty store; the one thing that every subclass provides."""
        raise NotImplementedError(f"{type(self).__name__}.make() is to return an empty store.")

    @property
    def store(self) -> Store:
        """The store under test."""
        if self._store is None:
            self._store = self.make()
        return self._store

    def closing(self, store: Store) -> Store:
        """Have another store closed after the test."""
        self.__dict__.setdefault("_others", []).append(store)
        return store

    def teardown_method(self) -> None:
        """Close what the test has opened."""
        for store in [*self.__dict__.pop("_others", ()), self.__dict__.pop("_store", None)]:
            if store is not None:
                store.close()

    # Drawing.

    def take(
        self,
        n: int = 1,
        *,
        of: Call | None = None,
        reader: str | None = "reader",
        pool: int | None = None,
        lane: str | None = None,
        newer_than: float = EVER,
        store: Store | None = None,
    ) -> Hand:
        """Begin a draw."""
        return Hand(store or self.store, Want(of or call(), reader, n, pool, lane), newer_than=newer_than)

    def stock(self, *records: bytes, of: Call | None = None, stored: float = NOON, store: Store | None = None) -> None:
        """Fill the first slots of a call, by a draw without a reader."""
        hand = self.take(len(records), of=of, reader=None, store=store)
        hand.fill(*records, stored=stored)
        hand.settle()

    def drawn(self, n: int = 1, *, of: Call | None = None, reader: str = "reader", store: Store | None = None) -> Taken:
        """Draw stored samples, which are delivered at once."""
        hand = self.take(n, of=of, reader=reader, store=store)
        assert all(isinstance(state, Sample) for state in hand.states), f"expected stored samples, got {hand.states}"
        hand.abandon()
        return hand.taken[0]

    # Crowds.

    def together(self, *works: Callable[[], T]) -> list[T]:
        """Run each in a thread of its own, all let go at one time, and return what they return."""
        assert self.store is not None, "made now, once, before the threads ask for it"
        barrier = threading.Barrier(len(works))

        def run(work: Callable[[], T], future: Future[T]) -> None:
            try:
                barrier.wait(PATIENCE)
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - the test raises it
                future.set_exception(error)

        futures: list[Future[T]] = [Future() for _ in works]
        for work, future in zip(works, futures, strict=True):
            threading.Thread(target=run, args=(work, future), daemon=True).start()
        return [future.result(PATIENCE) for future in futures]
