"""The PostgreSQL store: draws of many machines, each burst in one round trip."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
import psycopg

from memollm._types.requests import Take
from memollm.errors import ChangeRefused, StoreError
from memollm.stores.listening import UNKNOWN
from memollm.stores.postgres.asking import AT, KIND, Asking, one_draw, one_taken, taken_of
from memollm.stores.postgres.failures import RENUMBERED, StillUnderWay
from memollm.stores.postgres.line import claimants
from memollm.stores.postgres.session import ServerSession
from memollm.stores.served import ServedDrawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Place
    from memollm._types.requests import Answer, Request
    from memollm._types.samples import Taken
    from memollm.stores.postgres.asking import Row, Sending
    from memollm.stores.postgres.keeping import PostgresKeeping
    from memollm.stores.postgres.limiting import PostgresLimiting
    from memollm.stores.postgres.line import DirectLine
    from memollm.stores.postgres.looking import PostgresLooking
    from memollm.stores.postgres.matching import PostgresMatching
    from memollm.stores.postgres.reader import PostgresReader
    from memollm.stores.postgres.session import OpenServer

PERFORM = "SELECT * FROM {}.perform(%s, %s, %s, %s::bigint[], %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::bytea[], %s)"
DRAW = "SELECT * FROM {}.draw(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint, %s::float8{})"
BAR_FOR = 0.2
"""Seconds that whoever asks again waits at first for what was asked before to be over."""


class PostgresStore(ServerSession, ServedDrawing):
    """Keeps samples in a schema of a PostgreSQL database."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._draw = DRAW.format(f'"{self.address.schema}"', "").encode()
        self._draw_and_tell = DRAW.format(f'"{self.address.schema}"', ", %s::bigint[]").encode()
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

    @property
    def matching(self) -> PostgresMatching:
        """Keeps vectors and matches."""
        from memollm.stores.postgres.matching import PostgresMatching

        return PostgresMatching(self)

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for."""
        if len(requests) == 1 and type(take := requests[0]) is Take:
            taken = self._taken(take)
            if taken is not None:
                return [taken]
        return super().perform(requests)

    def _taken(self, take: Take) -> list[Taken] | StoreError | None:
        """Do what most draws are, by the shortest way; None where it is to be asked as all else is."""
        opened, drawn = self._open_as, self.drawn
        if opened is None or (one := one_draw(take, self.numbers)) is None or take.ticket in self.flights.answers:
            return None
        if self.holding is not None and self.holding.stretches(take.wants[0].call):
            return None
        numbers = drawn.begin_alone(take)
        if numbers is None:
            return None
        statement, more = (self._draw_and_tell, (drawn.arrived(),)) if drawn.many_arrived() else (self._draw, ())
        try:
            with opened.connections.lent() as connection:
                rows = connection.fetched(statement, (opened.line.owner, connection.number, *numbers, *one, *more))
        except psycopg.Error as error:
            return self._taken_after(error, take)
        if rows[0][KIND] == "given":
            taken = one_taken(rows[0])
            drawn.done_alone(take, taken)
        else:
            taken = taken_of(take, rows)
            drawn.done([take], [taken])
        return taken

    def _taken_after(self, error: psycopg.Error, take: Take) -> list[Taken] | StoreError:
        """Go on after a first attempt that failed."""
        if error.sqlstate == RENUMBERED:
            self.numbers.forget_calls()
        try:
            taken: Any = self._brought([take], None if error.sqlstate == RENUMBERED else error)[0]
        except StoreError as failure:
            return failure
        return cast("list[Taken]", taken)

    def _brought(self, requests: Sequence[Request], failed: psycopg.Error | None = None) -> list[Answer]:
        """Bring requests to the server, and bring them again if an answer is lost, or the first attempt has failed."""
        failures = [] if failed is None else [failed]

        def bring() -> tuple[Asking, list[Row]]:
            if failures:
                raise failures.pop()
            asking = Asking(self.numbers, self.drawn)
            over, lost = asking.settle_left()
            asking.add(requests)
            if not asking.asks:
                return asking, []
            self.opened()
            held = [] if self.holding is None else asking.held(self.holding)
            if asking.asks_again:
                self._bar()
            self.drawn.begin(requests)
            rows = self._sent(asking.asked, held)
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

    def _bar(self) -> None:
        """Have what was asked before be over: done, or never to be done."""
        opened = self.opened()
        # Also those that were lost with whoever had them.
        opened.connections.replace_lost()
        late, line = [*opened.connections.given_up], opened.line
        if late:
            if not line.is_up.is_set():
                line.require_server()
            if not line.bar(late, BAR_FOR):
                line.require_server()
                raise StillUnderWay
            opened.connections.given_up.difference_update(late)

    def _sent(self, asked: Sending, held: Sequence[Any]) -> list[Row] | None:
        """Send what is asked, and what is held; None if it has to be made anew, with the calls' own names."""
        opened, arrived = self.opened(), self.drawn.arrived()
        values = (asked.again, arrived, *asked[1:], time.time())
        if held:
            return self._fetched(opened, self.sql["perform_thin"], (*values, msgspec.json.encode(held).decode()))
        return self._fetched(opened, self._perform, values)

    def _fetched(self, opened: OpenServer, statement: bytes, values: tuple[Any, ...]) -> list[Row] | None:
        with opened.connections.lent() as connection:
            try:
                return connection.fetched(statement, (opened.line.owner, connection.number, *values))
            except psycopg.Error as error:
                if error.sqlstate == RENUMBERED:
                    return None
                raise

    def lasting_epoch(self) -> int:
        """Return what stands for the epoch that this process was told of, in this cache and in no other."""
        opened = self._open_as
        return UNKNOWN if opened is None else opened.line.lasting_epoch()

    # Watching.

    def _line(self) -> DirectLine:
        return self.opened().line

    def _busy(self, places: Sequence[Place]) -> set[int]:
        opened = self.opened()
        try:
            with opened.connections.lent() as connection:
                return {nth for nth, *_ in claimants(connection, self.sql, opened.line.owner, places)}
        except psycopg.Error:
            return set()
