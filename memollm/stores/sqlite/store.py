"""The SQLite store: one file, shared by any number of threads and processes of one machine."""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING
from weakref import WeakMethod

from memollm._types.calls import new_tuple
from memollm._types.locks import WouldBlock
from memollm._types.requests import Fill, Look, Take, Write, Written
from memollm._types.samples import Sample, Taken
from memollm.errors import ChangeRefused, StoreError, StoreRefused, StoreUnavailable
from memollm.stores.drawing import Drawing, InLine
from memollm.stores.poller import Poller
from memollm.stores.sqlite.check import SqliteChecks
from memollm.stores.sqlite.connections import Closed
from memollm.stores.sqlite.files import translated
from memollm.stores.sqlite.keeping import SqliteKeeping
from memollm.stores.sqlite.ledger import Ledger
from memollm.stores.sqlite.limiting import SqliteLimiting
from memollm.stores.sqlite.link import Link
from memollm.stores.sqlite.looking import SqliteLooking, peeked
from memollm.stores.sqlite.owner_locks import is_alive
from memollm.stores.sqlite.session import NOT_OPEN, Session
from memollm.stores.sqlite.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from memollm._types.calls import Call, Place
    from memollm._types.requests import Answer, Request
    from memollm._types.samples import State
    from memollm.stores.looking import Document
    from memollm.stores.sqlite.matching import SqliteMatching
    from memollm.stores.sqlite.reader import SqliteReader


class SqliteStore(Session, Drawing, InLine):
    """Keeps samples in one SQLite file."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        super().__init__(path, allow_network=allow_network)
        self._first_touch = statements()["first_touch"]

    def _begin_process(self) -> None:
        super()._begin_process()
        self._poller = Poller(partial(_poll, WeakMethod(self._poll)))

    # Nothing that the store has refers to it: a store that is dropped is closed at once, and not by a collection, which
    # would end the write lock with it.

    @property
    def looking(self) -> SqliteLooking:
        """Looks into the store."""
        return LookingHere(self)

    @property
    def limiting(self) -> SqliteLimiting:
        """Limits what programs spend."""
        return SqliteLimiting(self)

    @property
    def keeping(self) -> SqliteKeeping:
        """Keeps the store."""
        return SqliteKeeping(self)

    @property
    def matching(self) -> SqliteMatching:
        """Keeps vectors and matches."""
        from memollm.stores.sqlite.matching import SqliteMatching

        return SqliteMatching(self)

    def reader(self) -> SqliteReader:
        """Return what reads the same file and writes nowhere."""
        from memollm.stores.sqlite.reader import SqliteReader

        return SqliteReader(self.files.database, allow_network=self._allow_network)

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for, in one transaction."""
        request = requests[0] if len(requests) == 1 else None
        if type(request) is Take:
            # One draw, by far the most frequent: without what several need.
            try:
                seen = self._seen(request, wait=True) if request.wants[0].reader is None else None
                return [seen or self.transact(Ledger.take, request)]
            except StoreError as error:
                return [error]
        answers: dict[int, Answer | StoreError] = self._seen_first(requests)
        left = [index for index in range(len(requests)) if index not in answers]
        if left:
            answers.update(zip(left, self._written([requests[index] for index in left]), strict=True))
        return [answers[index] for index in range(len(requests))]

    def _seen_first(self, requests: Sequence[Request]) -> dict[int, Answer | StoreError]:
        """Answer without any lock what is stored, as far as nothing is to be written before."""
        answers: dict[int, Answer | StoreError] = {}
        try:
            for index, request in enumerate(requests):
                if isinstance(request, Write):
                    break
                answer = self._seen(request, wait=True)
                if answer is not None:
                    answers[index] = answer
        except StoreError as error:
            return dict.fromkeys(range(len(requests)), error)
        return answers

    def _written(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do the rest in a transaction, and wake who waits for what it has filled or let go."""
        answers = [*map(self._or_left, requests, self._transacted(requests))]
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(request, Write) and isinstance(answer, Written):
                self.flights.landed(request.changes, answer)
        return answers

    def _transacted(self, requests: Sequence[Request]) -> Sequence[Answer | StoreError]:
        durable = any(map(_fills, requests))
        try:
            return self.transact(Ledger.perform, requests, durable=durable)
        except ChangeRefused as error:
            if len(requests) == 1:
                return [error]
        except StoreError as error:
            return [error] * len(requests)
        # Without whatever it was that is at fault, the others can be done.
        try:
            answers = self.transact(Ledger.perform_each, requests, durable=durable)
        except StoreError as error:
            return [error] * len(requests)
        return [self._told(answer) if isinstance(answer, Exception) else answer for answer in answers]

    def _told(self, error: Exception) -> StoreError:
        return error if isinstance(error, StoreError) else translated(error, self.files.database)

    def _or_left(self, request: Request, answer: Answer | StoreError) -> Answer | StoreError:
        """Settle what could not be written down by leaving, so that no other process waits for it."""
        may_leave = isinstance(answer, StoreUnavailable) and isinstance(request, Write) and not _fills(request)
        return Written() if may_leave and self._resign() else answer

    def _resign(self) -> bool:
        opened = self._open_as
        if opened is None:
            return False
        link, ledger = opened
        try:
            with self.translating(), link.locked():
                return ledger.ownership.resign()
        except (Closed, StoreError):
            return False

    def at_once(self, request: Take | Look) -> list[Taken] | list[State] | None:
        """Answer, unless the file is not open yet, or somebody else writes at this moment."""
        if self._open_as is None and not self._closed:
            return None
        try:
            if type(request) is Take and request.wants[0].reader is not None:
                return self.transact(Ledger.take, request, wait=False)
            return self._seen(request, wait=False) or self.transact(Ledger.answer, request, wait=False)
        except WouldBlock:
            return None

    def _seen(self, request: Take | Look, *, wait: bool) -> list[Taken] | list[State] | None:
        """Answer without any lock, if that moves no cursor and all is stored."""
        try:
            if type(request) is Take:
                want = request.wants[0]
                if (
                    want.reader is None
                    and want.n == 1 == len(request.wants)
                    and request.ticket not in self.flights.answers
                ):
                    call = want.call
                    for row in self._read(self._first_touch, (call.key, 0), wait=wait):
                        if row[0] == call.form and row[2] > request.newer_than:
                            return [new_tuple(Taken, ((0,), (new_tuple(Sample, row[1:]),), 0))]
                return None
            samples = [self._sample(place, request.newer_than, wait=wait) for place in request.places]  # type: ignore[union-attr]
        except TypeError as error:
            # Whoever has written the row, what stands in the place of a time is none.
            raise translated(error, self.files.database) from error
        return None if None in samples else samples  # type: ignore[return-value]

    def _sample(self, place: Place, newer_than: float, *, wait: bool) -> Sample | None:
        """Read a slot without any lock, comparing the call's form."""
        for row in self._read(self._first_touch, (place.call.key, place.slot), wait=wait):
            if row[0] == place.call.form and row[2] > newer_than:
                return Sample._make(row[1:])
        return None

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read without any lock."""
        return peeked(self.rows, call, slots)

    def epoch(self) -> int:
        """Read the number beside the file; a store that is not open has read nothing that could have been replaced."""
        opened = self._open_as
        return NOT_OPEN if opened is None else opened[0].epoch.recent()

    # Waiting.

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Have a draw of this process tell when it lands, and look now and then at what other processes fill."""
        own: dict[Place, int] = {}
        others: list[Place] = []
        try:
            for place in places if self._open_as is not None else ():
                self._sort(place, own, others)
        except StoreError:
            own, others = {}, list(places)
        if self._open_as is None:
            others = list(places)
        stops = self.flights.watch(own, wake), self._poller.watch(others, wake)
        for place in {*places}.difference(own, others):
            wake(place)

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def _sort(self, place: Place, own: dict[Place, int], others: list[Place]) -> None:
        """Find out who is filling a slot: a draw of this process, or another process."""
        me = self._me()
        for form, name, ticket in self.rows("claimant", place.call.key, place.slot):
            if form == place.call.form and name == me:
                own[place] = ticket
            elif form == place.call.form:
                others.append(place)

    def _me(self) -> str | None:
        return None if self._open_as is None else self._open_as[1].ownership.name

    def _poll(self, places: Sequence[Place]) -> list[bool]:
        """Tell for each place whether nobody alive is filling it any more."""
        # Many places may be those of one other process.
        alive = cache(partial(is_alive, self.files.owners))
        with self.translating():
            return [self._is_settled(place, alive) for place in places]

    def _is_settled(self, place: Place, alive: Callable[[str], bool]) -> bool:
        rows, me = self.rows("claimant", place.call.key, place.slot), self._me()
        return not any(
            form == place.call.form and (self.flights.aloft(ticket) if name == me else alive(name))
            for form, name, ticket in rows
        )

    # Its file.

    def checks(self) -> SqliteChecks:
        """Give access to the file; an older schema is brought up to date first, where the file allows it."""
        if self._open_as is None and self.files.database.exists():
            with suppress(StoreUnavailable, StoreRefused):
                self._opened()
            with suppress(StoreUnavailable):
                self.rest()
        return SqliteChecks(self.files, self.rest)


class LookingHere(SqliteLooking):
    """Looks into the file that is at the path now: what another one notes is nothing to go by."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.rows, session.files.database)
        self._session = session

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read documents of the catalog."""
        with self._session.translating():
            self._session.in_place(Link.require_unmoved)
        return super().notes(kind, name)


def _poll(poll: WeakMethod[Callable[[Sequence[Place]], list[bool]]], places: Sequence[Place]) -> list[bool]:
    """Ask a store, if there still is one."""
    living = poll()
    return [True] * len(places) if living is None else living(places)


def _fills(request: Request) -> bool:
    return isinstance(request, Write) and any(isinstance(change, Fill) for change in request.changes)
