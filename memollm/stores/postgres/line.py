"""The direct connection of a process: it holds the locks by which others know that the process lives, and listens."""

from __future__ import annotations

import threading
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql as composed

from memollm.errors import StoreRefused
from memollm.stores.listening import UNKNOWN, ListeningThread
from memollm.stores.postgres.connections import Opening, connect, leave_to_parent, require_known_server
from memollm.stores.postgres.sql import channel, statements

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from memollm._types.calls import Place
    from memollm.stores.postgres.address import Address
    from memollm.stores.postgres.connections import KeptConnection, Tell

PROBES: Final = 3
BAR_EVERY: Final = 0.01
"""Seconds between attempts to keep out what comes late, while it is being done."""
BARRED: Final = 256
"""How many connections that were given up are remembered: what is older comes no more."""
PID: Final = b"SELECT pg_backend_pid()"


class DirectLine(ListeningThread):
    """A connection with the owner's lock and the notices of others, and the thread that reads them."""

    failures = (psycopg.Error,)
    thread_name = "memollm-postgres"

    def __init__(self, address: Address, *, owns: bool, within: float | None, tell: Tell) -> None:
        """Connect; who only reads has no lock, and listens all the same.

        The first time the server may have to answer `within` some seconds; `tell` is called where it says nothing.
        """
        self._owns = owns
        self._first: Opening | None = Opening(within, tell)
        self._address = address
        self._sql = statements(address.schema)
        self.is_pooled = False
        self.owner = 0
        self._identity = b""
        self._barred: dict[int, bool] = {}
        """By the numbers of connections that were given up, whether what comes late by them is kept out."""
        self._has_barred = threading.Event()
        super().__init__()

    # Connecting.

    def _connect(self) -> None:
        self._connection = self._connected()

    def _disconnect(self) -> None:
        self._connection.close()

    def _descriptor(self) -> int:
        return self._connection.pgconn.socket

    def _connected(self) -> KeptConnection:
        # Whoever tells may be dropped while this goes on.
        first, self._first = self._first, None
        connection = connect(self._address.direct, self._address.shown, prepares=False, first=first)
        try:
            require_known_server(connection, self._address.shown)
            self.is_pooled = _is_pooled(connection)
            if self.is_pooled:
                self._refuse_shared_sessions(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_shared_sessions(self, connection: KeptConnection) -> None:
        """Refuse a pooler that gives a session to another connection as soon as a transaction is over."""
        for _ in range(PROBES):
            (mine,) = _one(connection, PID)
            with connect(self._address.direct, self._address.shown, prepares=False) as other, other.transaction():
                (others,) = _one(other, PID)
                (again,) = _one(connection, PID)
            if mine == others or again != mine:
                raise StoreRefused(
                    f"The cache {self._address.shown} is reached through a pooler that shares sessions between "
                    "transactions, as PgBouncer does with pool_mode=transaction. Locks and notices need one direct "
                    "connection: add ?direct=HOST:PORT of the server itself to the URL. All others may stay pooled."
                )

    def begin(self) -> None:
        """Take the owner's lock, once the schema is there, and listen where something is told."""
        connection = self._connection
        if self._owns:
            # First, as without the lock of the owner nothing is done that comes late.
            self._bar(connection)
            self._own(connection)
        connection.pgconn.notify_handler = self._on_notice
        if self._owns or not _is_standby(connection):
            connection.execute(composed.SQL("LISTEN {}").format(composed.Identifier(channel(self._address.schema))))
            (self._identity,) = connection.execute(self._sql["identity"], binary=True).fetchall()[0]
            self._hear(connection)
        self.is_up.set()
        self._poke()

    def _own(self, connection: KeptConnection) -> None:
        """Be the owner that this process has been already, or a new one."""
        if not self.owner:
            (self.owner,) = _one(connection, self._sql["new_owner"])
        else:
            connection.execute(self._sql["end_ghost"], (self.owner,))
        connection.execute(self._sql["own"], (self.owner,))
        connection.execute(self._sql["owner_is_back"], (self.owner,))

    @property
    def connection(self) -> KeptConnection:
        """The connection; only before `begin`, and by the thread."""
        return self._connection

    # Listening.

    def _attend(self) -> None:
        connection = self._connection
        connection.pgconn.consume_input()
        while (notice := connection.pgconn.notifies()) is not None:
            self._on_notice(notice)
        if self.epoch != self._announced:
            self._hear(connection)
        self._bar(connection)
        self._look(connection)

    def _pause(self) -> float | None:
        return super()._pause() if all(self._barred.values()) else BAR_EVERY

    _announced = UNKNOWN

    def _on_notice(self, notice: Any) -> None:
        kind, _, rest = bytes(notice.extra).decode().partition(" ")
        if kind == "epoch":
            self._announced = max(self._announced, int(rest))
        elif kind == "slot":
            key, _, slot = rest.partition(" ")
            self._wake(
                [place for place in list(self._watched) if place.call.key.hex() == key and place.slot == int(slot)]
            )

    def _hear(self, connection: KeptConnection) -> None:
        """Go by the latest epoch: whoever has begun it waits until nobody goes by the one before."""
        while True:
            (latest,) = _one(connection, self._sql["epoch"])
            if latest == self.epoch:
                self._announced = latest
                return
            connection.execute(self._sql["hear_epoch"], (latest,))
            before, self.epoch = self.epoch, latest
            if before != UNKNOWN:
                connection.execute(self._sql["leave_epoch"], (before,))

    def lasting_epoch(self) -> int:
        """Return what stands for the epoch of this cache, and of no other; below zero where it is not known."""
        identity, epoch = self._identity, self.epoch
        if epoch < 0 or identity is not self._identity:
            return UNKNOWN
        return int.from_bytes(blake2b(identity + b"%d" % epoch, digest_size=8).digest()) >> 1

    def _lose(self) -> None:
        self._announced = UNKNOWN
        with self._changed:
            self._barred = dict.fromkeys(self._barred, False)
        super()._lose()

    # What comes late.

    def require_server(self) -> None:
        """Raise why the server cannot be reached, if that is so now."""
        connect(self._address.direct, self._address.shown, prepares=False).close()

    def bar(self, numbers: Collection[int], seconds: float) -> bool:
        """Have nothing be done any more that was asked by connections that were given up; tell whether that is so now.

        What is asked once more might be done twice otherwise, when it comes late, and the second time for nobody.
        """
        with self._changed:
            for number in numbers:
                self._barred.setdefault(number, False)
            if all(self._barred.values()):
                return True
            self._has_barred.clear()
        self._poke()
        return self._has_barred.wait(seconds)

    def _bar(self, connection: KeptConnection) -> None:
        with self._changed:
            new = [number for number, is_barred in self._barred.items() if not is_barred]
        if not new:
            return
        rows = connection.execute(self._sql["bar"], (new,)).fetchall()
        late = [number for number, is_barred in rows if not is_barred]
        if late:
            with suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute(self._sql["end_late"], (late,))
        with self._changed:
            self._barred.update((number, True) for number, is_barred in rows if is_barred)
            old = [number for number, is_barred in self._barred.items() if is_barred][:-BARRED]
            for number in old:
                del self._barred[number]
            if all(self._barred.values()):
                self._has_barred.set()
        if old:
            connection.execute(self._sql["unbar"], (old,))

    # Watching.

    def _look(self, connection: KeptConnection) -> None:
        with self._changed:
            places = list(self._watched)
        if places:
            busy = {
                nth for nth, owner, _ in claimants(connection, self._sql, self.owner, places) if owner != self.owner
            }
            self._wake([place for nth, place in enumerate(places) if nth not in busy])

    # Leaving.

    def close(self) -> None:
        """Let go of the locks, and end the thread."""
        was_up = self.is_up.is_set()
        self._end_thread()
        if was_up:
            with suppress(psycopg.Error):
                # At once: the server may take a moment to know that a connection is gone.
                self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.close()
        self._wake(list(self._watched))

    def leave_to_parent(self) -> None:
        """Let go of it in a forked child."""
        leave_to_parent(self._connection)
        self._close_pipe()


def claimants(
    connection: KeptConnection, sql: dict[str, bytes], owner: int, places: Sequence[Place]
) -> list[tuple[int, int, int]]:
    """Tell who alive is filling which of some places, and that somebody waits for it."""
    keys, forms = [place.call.key for place in places], [place.call.form for place in places]
    values = (owner, keys, forms, [place.slot for place in places])
    return connection.execute(sql["claimants"], values).fetchall()


def _one(connection: KeptConnection, statement: bytes, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Run a statement that gives one row."""
    (row,) = connection.execute(statement, values or None).fetchall()
    return row


def _is_standby(connection: KeptConnection) -> bool:
    """Tell whether it is a server that follows another: it takes no change, and passes on no notice."""
    return bool(_one(connection, b"SELECT pg_is_in_recovery()")[0])


def _is_pooled(connection: KeptConnection) -> bool:
    """Tell whether a pooler answers, which makes numbers of its own for the sessions that it hides."""
    return bool(_one(connection, PID)[0] != connection.pgconn.backend_pid)
