"""One process's use of a PostgreSQL server: opening and leaving it, and asking until it answers."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from memollm._types.samples import Sample
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.listening import UNKNOWN
from memollm.stores.postgres import sql
from memollm.stores.postgres.address import address_of
from memollm.stores.postgres.asking import Numbers
from memollm.stores.postgres.connections import Connections, require_begun_right
from memollm.stores.postgres.failures import (
    GIVEN_UP,
    OWNER_LOST,
    StillUnderWay,
    is_away,
    is_rolled_back,
    is_silent,
    may_pass,
    not_connected,
    translated,
    was_stopped,
)
from memollm.stores.postgres.line import DirectLine
from memollm.stores.postgres.sql import statements
from memollm.stores.serving import PAUSE_FIRST, ServedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from memollm._types.calls import Call
    from memollm.errors import StoreError
    from memollm.stores.postgres.connections import KeptConnection

T = TypeVar("T")
OF_OWNER: Final = ("bury_loose", "bury_new", "bury_claims", "bury_asked")
MOST_BEHIND: Final = 1.0
"""Seconds that whoever replaced a sample waits for those who still go by the epoch before."""


class OpenServer:
    """What is open at a time, in this process."""

    def __init__(self, line: DirectLine, connections: Connections) -> None:
        self.line = line
        self.connections = connections

    def close(self) -> None:
        """End all connections."""
        self.line.close()
        self.connections.close()

    def leave_to_parent(self) -> None:
        """Let go of all in a forked child."""
        self.line.leave_to_parent()
        self.connections.leave_to_parent()


class ServerSession(ServedSession[OpenServer]):
    """One process's use of a server. It opens on first use, and again after a fork."""

    failures = (psycopg.Error,)
    owns = True
    """Whether this process is known to the server as one that may have something in flight."""

    def __init__(self, url: str) -> None:
        self.address = address_of(url)
        self.sql = statements(self.address.schema)
        super().__init__(self.address.shown, self.address.patience)

    def _begin_process(self) -> None:
        super()._begin_process()
        self.numbers = Numbers()

    # Opening and leaving.

    def _open(self) -> OpenServer:
        try:
            line = DirectLine(self.address, owns=self.owns, within=self.within, tell=self.tell_silence)
        except psycopg.Error as error:
            raise not_connected(error, self.address.shown) from error
        try:
            self._bring_up_to_date(line.connection)
            line.begin()
            connections = Connections(self.address, prepares=not line.is_pooled and not self.address.is_direct_given)
            with connections.lent() as connection:
                if line.is_pooled or self.address.is_direct_given:
                    require_begun_right(connection, self.address.shown)
                self._bury(connection)
        except psycopg.Error as error:
            line.close()
            raise not_connected(error, self.address.shown) from error
        except BaseException:
            line.close()
            raise
        return OpenServer(line, connections)

    def _bring_up_to_date(self, connection: KeptConnection) -> None:
        """Make the tables, or migrate them; refuse those of a newer version."""
        if self._version(connection) == sql.SCHEMA_VERSION:
            return
        # Not inside the transaction: what it sees is settled when it begins.
        connection.execute(self.sql["lock_schema"])
        try:
            self._make_or_migrate(connection)
        finally:
            connection.execute(self.sql["unlock_schema"])

    def _make_or_migrate(self, connection: KeptConnection) -> None:
        with connection.transaction():
            version = self._version(connection)
            self._require_known(version)
            if version < sql.SCHEMA_VERSION:
                for statement in sql.MIGRATIONS[version - sql.FIRST_VERSION :] if version else [self.sql["schema"]]:
                    connection.execute(statement)
                for functions in sql.FUNCTIONS:
                    connection.execute(self.sql[functions])
                connection.execute(self.sql["set_version"], (sql.SCHEMA_VERSION,))

    def _require_known(self, version: int) -> None:
        if version > sql.SCHEMA_VERSION:
            raise StoreRefused(
                f"The cache {self.address.shown} was made by a newer memollm (schema {version}, this one knows "
                f"{sql.SCHEMA_VERSION}). Update memollm: pip install --upgrade memollm."
            )
        if 0 < version < sql.FIRST_VERSION:
            raise StoreRefused(
                f"The cache {self.address.shown} was made by an early memollm (schema {version}), which this one "
                "cannot read. It was left as it is; name another ?schema= in the URL, or drop that schema."
            )

    def _version(self, connection: KeptConnection) -> int:
        (is_there,) = connection.execute(self.sql["has_schema"]).fetchone() or (False,)
        row = connection.execute(self.sql["version"]).fetchone() if is_there else None
        return int(row[0]) if row else 0

    def _bury(self, connection: KeptConnection) -> None:
        """Forget those who are long dead: nobody goes by what they had any more, so this is only for space."""
        connection.execute(self.sql["find_dead"])
        dead = [owner for (owner,) in connection.execute(self.sql["long_dead"]).fetchall()]
        if dead:
            with connection.transaction():
                connection.execute(self.sql["alone"])
                for statement in OF_OWNER:
                    connection.execute(self.sql[statement], (dead,))

    def _leave(self, opened: OpenServer) -> None:
        """Void what this process has in flight; what its draws have in hand counts as delivered."""
        me = opened.line.owner
        aloft = [ticket for ticket in list(self.drawn.held) if self.flights.holds(ticket)]
        with opened.connections.lent() as connection, connection.transaction():
            connection.execute(self.sql["alone"])
            connection.execute(self.sql["in_hand"], {"me": me, "aloft": aloft})
            for statement in OF_OWNER:
                connection.execute(self.sql[statement], ([me],))
            connection.execute(self.sql["leave"], (me,))

    # Asking.

    @contextmanager
    def transaction(self) -> Generator[KeptConnection]:
        """Give a connection with a transaction under way."""
        opened = self.opened()
        try:
            with opened.connections.lent() as connection, connection.transaction():
                yield connection
        except psycopg.Error as error:
            raise translated(error, self.address.shown) from error

    def changed(self, work: Callable[[KeptConnection], T], *, is_once: bool = False) -> T:
        """Work in a transaction of its own, and again where that came to nothing; `is_once` if asking twice is once."""

        def attempt() -> T:
            opened, is_ending = self.opened(), False
            try:
                with opened.connections.lent() as connection, connection.transaction():
                    result = work(connection)
                    is_ending = True
            except psycopg.Error as error:
                if is_ending and not is_once and not is_rolled_back(error):
                    raise StoreUnavailable(
                        f"The connection to the cache {self.address.shown} was lost while this was being made durable, "
                        "so it is not known whether it was done. Look, and do it again if it was not."
                    ) from error
                raise
            return result

        return self.patiently(attempt)

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what is done once however often it is asked; what was stopped by a setting or an operator, once more."""
        try:
            return super().patiently(work)
        except StoreUnavailable as error:
            if not was_stopped(error.__cause__):
                raise
        return super().patiently(work)

    def rows(self, statement: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
        """Run a statement by its name."""

        def fetch() -> list[tuple[Any, ...]]:
            with self.opened().connections.lent() as connection:
                return connection.execute(self.sql[statement], named or values or None, binary=True).fetchall()

        return self.patiently(fetch)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        if slots is not None and not slots:
            return {}
        wanted = None if slots is None else list(slots)
        rows = self.rows("samples_of", call.key, call.form, wanted, wanted)
        return {row[0]: Sample._make(row[1:]) for row in rows}

    def may_pass(self, error: Exception) -> bool:
        """Tell whether the same may come about a moment later."""
        return isinstance(error, psycopg.Error) and may_pass(error)

    def is_away(self, error: Exception) -> bool:
        """Tell whether it is the server that does not answer."""
        is_known = isinstance(error, psycopg.Error) and error.sqlstate in {OWNER_LOST, GIVEN_UP}
        return not (is_known or isinstance(error, StillUnderWay))

    def is_coming(self, error: StoreError) -> bool:
        """Tell whether what was not opened is a server that is away."""
        return is_away(error.__cause__)

    def is_silent(self, error: StoreError) -> bool:
        """Tell whether what was not opened said nothing."""
        return is_silent(error.__cause__)

    def translated(self, error: Exception) -> StoreError:
        """Say in one sentence what failed, why, and what can be done."""
        assert isinstance(error, psycopg.Error)  # noqa: S101 - for the checkers
        return translated(error, self.shown)

    def get_ready(self, error: Exception, pause: float) -> None:
        """Get ready for another attempt."""
        opened = self._open_as
        if opened is not None:
            opened.connections.close()
            if not self.is_away(error):
                opened.line.is_up.wait(pause)

    def outlast(self, epoch: int) -> None:
        """Wait until nobody goes by an earlier epoch, but for those who do not answer."""
        until = time.monotonic() + MOST_BEHIND
        while time.monotonic() < until:
            # Whoever loses the connection meanwhile has not waited yet.
            with suppress(psycopg.Error), self.opened().connections.lent() as connection:
                self._outlast(connection, epoch, until)
                return
            time.sleep(PAUSE_FIRST)

    def _outlast(self, connection: KeptConnection, epoch: int, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            ((behind,),) = connection.execute(self.sql["behind"], (epoch,)).fetchall()
            if behind is None:
                return
            with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                connection.execute(b"SET LOCAL lock_timeout = %d" % max(1, int(left * 1000)))
                connection.execute(self.sql["outlast"], (behind,))

    def epoch(self) -> int:
        """Return the epoch that this process was told of; below zero where it is not told."""
        opened = self._open_as
        return UNKNOWN if opened is None else opened.line.epoch
