"""The PostgreSQL store: draws of many machines, each burst in one round trip."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import psycopg

from memollm._types.requests import Look, Settle, Take, Write, Written
from memollm.errors import ChangeRefused, StoreError
from memollm.stores.drawing import Drawing
from memollm.stores.postgres.asking import AT, KIND, Asking
from memollm.stores.postgres.failures import RENUMBERED
from memollm.stores.postgres.line import claimants
from memollm.stores.postgres.session import ServerSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Place
    from memollm._types.requests import Answer, Request
    from memollm.stores.postgres.asking import Row, Sending
    from memollm.stores.postgres.keeping import PostgresKeeping
    from memollm.stores.postgres.limiting import PostgresLimiting
    from memollm.stores.postgres.looking import PostgresLooking
    from memollm.stores.postgres.reader import PostgresReader
    from memollm.stores.postgres.session import OpenServer

PERFORM = "SELECT * FROM {}.perform(%s, %s, %s::bigint[], %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::bytea[], %s)"

DRAW = "SELECT * FROM {}.draw(%s, %s, %s, %s, %s, %s, %s::bigint, %s::float8)"


class PostgresStore(ServerSession, Drawing):
    """Keeps samples in a schema of a PostgreSQL database."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._draw = DRAW.format(f'"{self.address.schema}"').encode()
        self._perform = PERFORM.format(f'"{self.address.schema}"').encode()

    def __repr__(self) -> str:
        return f"PostgresStore({self.address.shown!r})"

    @property
    def looking(self) -> PostgresLooking:
        """Looks into the store."""
        from memollm.stores.postgres.looking import PostgresLooking

        return PostgresLooking(self)

    def reader(self) -> PostgresReader:
        """Read the same samples and write nowhere."""
        from memollm.stores.postgres.reader import PostgresReader

        return PostgresReader(self.address.url)

    @property
    def keeping(self) -> PostgresKeeping:
        """Keeps the store."""
        from memollm.stores.postgres.keeping import PostgresKeeping

        return PostgresKeeping(self)

    @property
    def limiting(self) -> PostgresLimiting:
        """Limits what programs spend."""
        from memollm.stores.postgres.limiting import PostgresLimiting

        return PostgresLimiting(self)

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for, in one transaction of the server."""
        answers: list[Answer | StoreError] = []
        for some in _apart(requests):
            answers += self._performed(some)
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(request, Write) and isinstance(answer, Written):
                self.flights.landed(request.changes, answer)
        return answers

    def _performed(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        known = [self._known(request) for request in requests]
        new = [request for request, answer in zip(requests, known, strict=True) if answer is None]
        done = iter(self._done(new))
        return [next(done) if answer is None else answer for answer in known]

    def _known(self, request: Request) -> Answer | None:
        """Return what was answered before."""
        if isinstance(request, Take):
            answer: Any = self.flights.answers.get(request.ticket)
            return None if answer is None else cast("Answer", answer[1])
        return self.drawn.written.get(request.id) if isinstance(request, Write) else None

    def _done(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        try:
            return [*self._brought(requests)]
        except ChangeRefused as error:
            if len(requests) == 1:
                return [error]
        except StoreError as error:
            return [error] * len(requests)
        # Without whatever it was that is at fault, the others can be done.
        return [answer for request in requests for answer in self._done([request])]

    def _brought(self, requests: Sequence[Request]) -> list[Answer]:
        """Bring requests to the server, and bring them again if an answer is lost."""

        def bring() -> tuple[Asking, list[Row]]:
            asking = Asking(self.numbers, self.drawn)
            over, lost = asking.settle_left()
            asking.add(requests)
            if not asking.asks:
                return asking, []
            self.opened()
            one, asked = None if self.drawn.many_arrived() else asking.one_draw, asking.asked
            self.drawn.begin(requests)
            rows = self._sent_one(one) if one else self._sent(asked)
            if rows is None:
                # Calls have other numbers now, and nothing was done.
                self.numbers.forget_calls()
                return bring()
            self.drawn.end(over, lost)
            return asking, rows

        try:
            asking, rows = self.patiently(bring)
        except ChangeRefused:
            self.drawn.refused(requests)
            raise
        answers = asking.answers(requests, rows)
        self.drawn.done(requests, answers)
        epochs = [row[AT] for row in rows if row[KIND] == "epoch"]
        if epochs:
            self.outlast(max(epochs))
        return answers

    def _sent_one(self, one: tuple[Any, ...]) -> list[Row] | None:
        opened = self.opened()
        return self._fetched(opened, self._draw, (opened.line.owner, *one))

    def _sent(self, asked: Sending) -> list[Row] | None:
        """Send what is asked; None if it has to be made anew, with the calls' own names."""
        opened, arrived = self.opened(), self.drawn.arrived()
        values = (opened.line.owner, asked.again, arrived, *asked[1:], time.time())
        return self._fetched(opened, self._perform, values)

    def _fetched(self, opened: OpenServer, statement: bytes, values: tuple[Any, ...]) -> list[Row] | None:
        with opened.connections.lent() as connection:
            try:
                return connection.execute(statement, values, binary=True).fetchall()
            except psycopg.Error as error:
                if error.sqlstate == RENUMBERED:
                    return None
                raise

    def settle_left(self) -> None:
        """Settle what draws of this process hold that are over and have not said so."""
        self._brought([])

    # Watching.

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Have a draw of this process tell when it lands, and the server what others fill."""
        try:
            line = self.opened().line
        except StoreError:
            for place in places:
                wake(place)
            return _nothing
        own, left = self._own(places)
        stops = [self.flights.watch(own, wake)]
        if left and not _is_in_loop():
            left = self._still_busy(left, wake)
        stops.append(line.watch(left, wake))

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def _own(self, places: Sequence[Place]) -> tuple[dict[Place, int], list[Place]]:
        """Tell which places draws of this process are filling."""
        mine = {place: ticket for ticket, held in list(self.drawn.held.items()) for place in list(held.claims)}
        own = {place: mine[place] for place in places if place in mine and self.flights.aloft(mine[place])}
        return own, [place for place in places if place not in own]

    def _still_busy(self, places: Sequence[Place], wake: Callable[[Place], None]) -> list[Place]:
        """Look once, in a thread that may wait; wake for those places that nobody fills."""
        opened = self.opened()
        try:
            with opened.connections.lent() as connection:
                busy = {nth for nth, *_ in claimants(connection, self.sql, opened.line.owner, places)}
        except psycopg.Error:
            busy = set[int]()
        for nth, place in enumerate(places):
            if nth not in busy:
                wake(place)
        return [place for nth, place in enumerate(places) if nth in busy]


def _apart(requests: Sequence[Request]) -> list[list[Request]]:
    """Divide requests where one settles what another takes: what it was given has to be known first."""
    some: list[list[Request]] = [[]]
    taken: set[int] = set()
    for request in requests:
        if isinstance(request, Write) and any(
            change.ticket in taken for change in request.changes if isinstance(change, Settle)
        ):
            some.append([])
            taken.clear()
        some[-1].append(request)
        if isinstance(request, Take | Look):
            taken.add(request.ticket)
    return [each for each in some if each]


def _nothing() -> None:
    """Stop what has not begun."""


def _is_in_loop() -> bool:
    """Tell whether this thread runs an event loop, which is not to wait for a network."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
