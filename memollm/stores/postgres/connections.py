"""The connections of a process to a PostgreSQL server."""

from __future__ import annotations

import os
from contextlib import suppress
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from memollm.errors import StoreRefused
from memollm.stores.lending import Lending
from memollm.stores.postgres.address import KEPT
from memollm.stores.postgres.failures import not_connected
from memollm.stores.postgres.foreign import Connecting, has_one_host, refuse_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm.stores.postgres.address import Address

    Tell = Callable[[float, str], None]

OLDEST: Final = 14_00_00
SETTINGS: Final = (
    b"SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; "
    b"SET default_transaction_isolation = 'read committed'; "
    # What waits for standbys, too, stays as the role or the database says.
    b"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
"""What is written, how draws wait for one another and what a crash may lose: whatever the role says."""
TOLD: Final[Mapping[str, str]] = {"standard_conforming_strings": "on", "client_encoding": "UTF8"}
"""Those of which a server, and a pooler, says at once that they are set."""
BEGUN_WITH: Final = (
    b"SELECT name, reset_val FROM pg_settings WHERE name IN ('default_transaction_isolation', 'synchronous_commit')"
)
"""With which of these a session begins."""
ANSWERED: Final = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)
"""The states of a connection of which everything that was asked by it was answered."""
SEVERAL: Final = ","
"""What stands between the hosts of a URL that names several."""
WRITABLE: Final = "read-write"
"""Which of several servers is meant, unless the URL says it: the primary, and not a standby."""
LEAST_SECONDS: Final = 2
MOST_SECONDS: Final = 130
"""What the client takes for a shorter time to connect in, and for none."""


_numbers = SystemRandom()


class KeptConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection with a cursor that is kept: making one takes as long as all that a draw does here besides."""

    _kept: psycopg.Cursor[tuple[Any, ...]] | None = None
    number = 0
    """What the server knows it by: see `require_asker` in drawing.sql."""

    def fetched(self, statement: bytes, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a statement; one thread at a time does."""
        if self._kept is None:
            self._kept = self.cursor(binary=True)
        return self._kept.execute(statement, values).fetchall()


class Opening(NamedTuple):
    """How the first connection is made."""

    within: float | None
    """Seconds within which the server must answer, if it has not before."""
    tell: Tell
    """What is called where nothing is said."""


def connect(conninfo: str, shown: str, *, prepares: bool = True, first: Opening | None = None) -> KeptConnection:
    """Make a connection; what the URL says wins over what we would. The `first` tells what else answers."""
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        raise not_connected(error, shown) from error
    kept = {name: value for name, value in KEPT.items() if name not in given}
    if SEVERAL in f"{given.get('host')}{given.get('hostaddr')}":
        kept.setdefault("target_session_attrs", given.get("target_session_attrs") or WRITABLE)
    # A pooler may give each transaction another session, which does not know what the one before has prepared.
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 5 if prepares else None, **kept}
    if first is not None and first.within is not None:
        options["connect_timeout"] = min(int(first.within), _seconds(given))
    if first is not None and has_one_host(given):
        connection = Connecting(lambda: KeptConnection.connect(conninfo, **options), KeptConnection.close).result(
            lambda: refuse_foreign(given, shown), lambda: first.tell(_seconds(given), "connect_timeout")
        )
    else:
        connection = KeptConnection.connect(conninfo, **options)
    connection.number = _numbers.getrandbits(31)
    try:
        connection.execute(SETTINGS, prepare=False)
        _require_settings(connection, shown)
    except BaseException:
        connection.close()
        raise
    return connection


def _seconds(given: Mapping[str, Any]) -> int:
    """Return how long the client waits for a connection: two seconds at least, and long where none are said."""
    with suppress(TypeError, ValueError):
        said = int(float(given.get("connect_timeout") or KEPT["connect_timeout"]))
        return max(said, LEAST_SECONDS) if said > 0 else MOST_SECONDS
    return MOST_SECONDS


def _require_settings(connection: KeptConnection, shown: str) -> None:
    """Refuse a pooler that does not tell that a setting was made: records would be written otherwise than they are."""
    for name, value in TOLD.items():
        has = connection.info.parameter_status(name)
        if has != value:
            raise StoreRefused(
                f"Connections to {shown} have {name} = {has}, and setting it to {value} had no effect. Set it for the "
                f"role: ALTER ROLE NAME SET {name} = {value}."
            )


def require_begun_right(connection: KeptConnection, shown: str) -> None:
    """Refuse another isolation, and losing commits, where a pooler shares sessions, which do not keep what was set."""
    for name, value in connection.execute(BEGUN_WITH).fetchall():
        needed = "on" if name == "synchronous_commit" else "read committed"
        if value != needed and (needed != "on" or value == "off"):
            raise StoreRefused(
                f"The cache {shown} is reached through a pooler, and its sessions begin with {name} = {value}; drawing "
                f"needs {needed}. Set it for the role: ALTER ROLE NAME SET {name} = '{needed}'."
            )


def require_known_server(connection: KeptConnection, shown: str) -> None:
    """Refuse what cannot be used."""
    version = connection.info.server_version
    if version < OLDEST:
        raise StoreRefused(
            f"The server of the cache {shown} is PostgreSQL {version // 10_000}; memollm needs 14 or newer."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreRefused(
            f"The database of the cache {shown} is encoded in {encoding}, which cannot hold every text. Create one "
            "with: createdb --encoding=UTF8 --template=template0 NAME."
        )


class Connections(Lending["KeptConnection"]):
    """Connections that are lent to one thread at a time."""

    def __init__(self, address: Address, *, prepares: bool) -> None:
        super().__init__(address.pool)
        self._address = address
        self._prepares = prepares
        self.given_up: set[int] = set()
        """The numbers of those that were ended while something was asked by them, which may come to the server late."""

    def connect(self) -> KeptConnection:
        """Make one."""
        return connect(self._address.conninfo, self._address.shown, prepares=self._prepares)

    def end(self, connection: KeptConnection) -> None:
        """End one."""
        if connection.pgconn.transaction_status not in ANSWERED:
            self.given_up.add(connection.number)
        connection.close()

    def leave(self, connection: KeptConnection) -> None:
        """Let go of one in a forked child."""
        leave_to_parent(connection)


def leave_to_parent(connection: KeptConnection) -> None:
    """Let go of a connection in a forked child; the session, with its locks, ends with the parent alone."""
    with suppress(OSError, psycopg.Error):
        # Not the socket of the parent is closed, but the child's own number for it.
        os.close(connection.pgconn.socket)
