"""The PostgreSQL store: draws of many machines, each burst in one round trip."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from memollm.errors import ChangeRefused
from memollm.stores.listening import UNKNOWN
from memollm.stores.postgres.asking import AT, KIND, Asking, Sending
from memollm.stores.postgres.failures import RENUMBERED
from memollm.stores.postgres.line import claimants
from memollm.stores.postgres.session import ServerSession
from memollm.stores.served import ServedDrawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Place
    from memollm._types.requests import Answer, Request
    from memollm.stores.postgres.asking import Row
    from memollm.stores.postgres.keeping import PostgresKeeping
    from memollm.stores.postgres.limiting import PostgresLimiting
    from memollm.stores.postgres.line import DirectLine
    from memollm.stores.postgres.looking import PostgresLooking
    from memollm.stores.postgres.matching import PostgresMatching
    from memollm.stores.postgres.reader import PostgresReader
    from memollm.stores.postgres.session import OpenServer

PERFORM = "SELECT * FROM {}.perform(%s, %s, %s::bigint[], %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::bytea[], %s)"

DRAW = "SELECT * FROM {}.draw(%s, %s, %s, %s, %s, %s, %s::bigint, %s::float8)"


class PostgresStore(ServerSession, ServedDrawing):
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

    @property
    def matching(self) -> PostgresMatching:
        """Keeps vectors and matches."""
        from memollm.stores.postgres.matching import PostgresMatching

        return PostgresMatching(self)

    # Asking.

    def _brought(self, requests: Sequence[Request]) -> list[Answer]:
        """Bring requests to the server, and bring them again if an answer is lost."""

        def bring() -> tuple[Asking, list[Row]]:
            asking = Asking(self.numbers, self.drawn)
            over, lost = asking.settle_left()
            asking.add(requests)
            if not asking.asks:
                return asking, []
            self.opened()
            held = [] if self.holding is None else asking.held(self.holding)
            one = None if held or self.drawn.many_arrived() else asking.one_draw
            asked = one or asking.asked
            self.drawn.begin(requests)
            rows = self._sent(asked, held) if isinstance(asked, Sending) else self._sent_one(asked)
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

    def _sent(self, asked: Sending, held: Sequence[Any]) -> list[Row] | None:
        """Send what is asked, and what is held; None if it has to be made anew, with the calls' own names."""
        opened, arrived = self.opened(), self.drawn.arrived()
        values = (opened.line.owner, asked.again, arrived, *asked[1:], time.time())
        if held:
            return self._fetched(opened, self.sql["perform_thin"], (*values, msgspec.json.encode(held).decode()))
        return self._fetched(opened, self._perform, values)

    def _fetched(self, opened: OpenServer, statement: bytes, values: tuple[Any, ...]) -> list[Row] | None:
        with opened.connections.lent() as connection:
            try:
                return connection.fetched(statement, values)
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
