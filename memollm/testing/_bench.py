"""What the parts of the conformance suite share: a store under test, calls to draw from, and draws made by hand."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memollm._types.calls import Call, Place, Position, Want
from memollm._types.requests import Fill, Look, Return, Settle, Take, Write, Written
from memollm._types.samples import EVER, MINE, Sample, State, Taken
from memollm.errors import StoreError
from memollm.stores.keeping import keeping
from memollm.stores.looking import drawn, looking
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.counting import Account, Counts, Use
    from memollm._types.requests import Change, Request
    from memollm.stores.drawing import Drawing
    from memollm.stores.keeping import Keeping
    from memollm.stores.looking import Document, Looking

T = TypeVar("T")
PATIENCE: Final = 30.0
"""Seconds after which a test that waits has failed."""
A_MOMENT: Final = 0.1
"""Seconds after which who was not woken is taken to wait for somebody."""


def call(text: str = "hello", *, key: bytes | None = None) -> Call:
    """Make a call with its canonical form, and its hash unless one is given."""
    form = f'{{"prompt":"{text}"}}'
    return Call(key or hashlib.blake2b(form.encode(), digest_size=16).digest(), form, "tests.ask")


def asked(store: Drawing, request: Request) -> Any:
    """Ask one thing of a store, and raise what it fails with."""
    (answer,) = store.perform([request])
    if isinstance(answer, StoreError):
        raise answer
    return answer


def written(store: Drawing, changes: Sequence[Change]) -> Written:
    """Make changes."""
    answer: Written = asked(store, Write(store.flights.new_id(), changes))
    return answer


def noted(store: Drawing, kind: str, name: str, document: Document) -> None:
    """Keep a document, whatever is there."""
    assert keeping(store).note(kind, name, document, instead_of=looking(store).notes(kind, name).get(name))


def nobody_fills(store: Drawing, *places: Place) -> bool:
    """Tell whether nobody is waited for at any of some places; a store that has to ask may take its time."""
    return _woken(store, places, PATIENCE) == set(places)


def somebody_fills(store: Drawing, *places: Place) -> bool:
    """Tell whether somebody is waited for at each of some places, also a moment later."""
    return not _woken(store, places, A_MOMENT)


def _woken(store: Drawing, places: Sequence[Place], seconds: float) -> set[Place]:
    """Watch places until all of them are worth a look, or nothing more is heard for so long."""
    woken: set[Place] = set()
    every = threading.Semaphore(0)

    def wake(place: Place) -> None:
        woken.add(place)
        every.release()

    stop = store.watch(places, wake)
    while len(woken) < len(set(places)) and every.acquire(timeout=seconds):
        pass
    stop()
    return woken


class Hand:
    """A draw made by hand: a ticket, what it has taken, and what becomes of it."""

    def __init__(self, store: Drawing, *wants: Want, newer_than: float = EVER) -> None:
        self.store = store
        self.newer_than = newer_than
        self.ticket = store.flights.depart()
        self.wants = wants
        self.taken: list[Taken] = asked(store, self.request)

    @property
    def request(self) -> Take:
        """What it asked for."""
        return Take(self.ticket, self.wants, self.newer_than)

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
        return [
            Fill(self.ticket, place, Sample(record, stored), self.newer_than)
            for place, record in zip(places, records, strict=True)
        ]

    def fill(self, *records: bytes, stored: float = NOON) -> None:
        """Fill the claimed slots of the first want, in order, and land them."""
        written(self.store, self.fills(*records, stored=stored))

    def positions(self, *at: int) -> list[Position]:
        """Name positions of the first want."""
        reader, generation = self.want.reader, self.taken[0].generation
        return [] if reader is None else [Position(self.want.call, reader, each, generation) for each in at]

    def leave(self, *returned: int) -> None:
        """End the draw, giving these positions of the first want back, and keep its claims."""
        written(self.store, [Settle(self.ticket, self.positions(*returned), keeps_claims=True)])

    def settle(self, *returned: int) -> Written:
        """End the draw, giving these positions of the first want back."""
        answer = written(self.store, [Settle(self.ticket, self.positions(*returned))])
        self.abandon()
        return answer

    def refuse(self, *at: int) -> None:
        """End the draw, whose answers at these positions of the first want were given and not kept."""
        written(self.store, [Settle(self.ticket, [], refused=self.positions(*at))])
        self.abandon()

    def bring_back(self, *at: int) -> None:
        """Give positions back that were delivered."""
        written(self.store, [Return(self.ticket, each) for each in self.positions(*at)])

    def give_back(self) -> None:
        """End the draw as one that does not know its positions: all of them go back."""
        written(self.store, [Settle(self.ticket, None)])
        self.abandon()

    def abandon(self) -> None:
        """End the draw in this process and tell the store nothing."""
        self.store.flights.arrive(self.ticket)

    def look(self, *slots: int) -> list[State]:
        """Look at slots of the first want's call again."""
        places = [Place(self.want.call, slot) for slot in slots]
        states: list[State] = asked(self.store, Look(self.ticket, places, self.newer_than))
        return states


class Bench:
    """The store under test. It is made on first need, so that fixtures of a subclass come before it."""

    _store: Drawing | None = None
    _others: list[Drawing]

    def make(self) -> Drawing:
        """Make an empty store; the one thing that every subclass provides."""
        raise NotImplementedError(f"{type(self).__name__}.make() is to return an empty store.")

    @property
    def store(self) -> Drawing:
        """The store under test."""
        if self._store is None:
            self._store = self.make()
        return self._store

    @property
    def looking(self) -> Looking:
        """What looks into it."""
        return looking(self.store)

    @property
    def keeping(self) -> Keeping:
        """What keeps it."""
        return keeping(self.store)

    def write(self, *changes: Change) -> Written:
        """Make changes."""
        return written(self.store, changes)

    def note(self, kind: str, name: str, document: Document) -> None:
        """Keep a document, whatever is there."""
        noted(self.store, kind, name, document)

    def count(self, counts: Mapping[Account, Counts], uses: Sequence[Use] = ()) -> None:
        """Count something new."""
        self.keeping.count(self.store.flights.new_id(), counts, uses)

    def positions_of(self, reader: str, lane: str | None = None) -> list[int]:
        """List what a reader was given of the usual call."""
        return drawn(self.looking, reader, call(), lane)

    def closing(self, store: Drawing) -> Drawing:
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
        order: tuple[str, ...] = (),
        newer_than: float = EVER,
        store: Drawing | None = None,
    ) -> Hand:
        """Begin a draw."""
        want = Want(of or call(), reader, n, pool, lane, order)
        return Hand(store or self.store, want, newer_than=newer_than)

    def stock(
        self, *records: bytes, of: Call | None = None, stored: float = NOON, store: Drawing | None = None
    ) -> None:
        """Fill the first slots of a call, by a draw without a reader."""
        hand = self.take(len(records), of=of, reader=None, store=store)
        hand.fill(*records, stored=stored)
        hand.settle()

    def drawn(
        self, n: int = 1, *, of: Call | None = None, reader: str = "reader", store: Drawing | None = None
    ) -> Taken:
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
