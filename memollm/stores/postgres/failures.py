"""What goes wrong with a PostgreSQL server, in the user's words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from memollm.errors import ChangeRefused, MemollmError, StoreError, StoreReadOnly, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

OWNER_LOST: Final = "MM001"
RENUMBERED: Final = "MM002"
TOO_FAR: Final = "MM003"
GIVEN_UP: Final = "MM004"
_AGAIN: Final = ("08", "57P", "40", "53300", OWNER_LOST, GIVEN_UP)
"""How the states of failures begin after which the same may come about a moment later."""
_STOPPED: Final = ("57014", "55P03")
"""The states of what a timeout or an operator has stopped."""
_NO_LOGIN: Final = (
    "The server of the cache {shown} refuses this user. Check the name and the password in the URL (or PGPASSWORD, or "
    "~/.pgpass). It says: {said}."
)
_NO_DATABASE: Final = (
    "The server of the cache {shown} has no such database. Create it with createdb, or name another one in the URL. It "
    "says: {said}."
)
_TOO_FAR: Final = (
    "The cache {shown} says that {said} positions of one call were drawn, which are too many to walk over. If it is "
    "damaged, draw in another namespace."
)
_READ_ONLY: Final = (
    "The cache {shown} cannot be written by this user: {said}. Have its owner grant the right to write, or name "
    "another ?schema= in the URL."
)
_STANDBY: Final = (
    "The server of the cache {shown} takes no changes, as a standby does, or where default_transaction_read_only is on "
    "for the role: {said}. Name the primary in the URL, or both servers: postgresql://a:5432,b:5432/db."
)
_OTHER_SCHEMA: Final = (
    "The cache {shown} is not as this version of memollm made it: {said}. Use the version that made it, or another "
    "?schema= in the URL."
)
_FAILED: Final = (
    "The server of the cache {shown} failed at this: {said}. Nothing of it was done; its log says more, and if "
    "it is damaged, restore it from a backup."
)
_BUSY: Final = (
    "The server of the cache {shown} could not do this beside what others did: {said}. Nothing of it was done; do it "
    "again, or give it more time with ?patience= in the URL."
)
_WAS_STOPPED: Final = (
    "The server of the cache {shown} stopped this twice: {said}. Nothing of it was done. If statement_timeout or "
    "lock_timeout of the role or the database is too short, raise it: ALTER ROLE NAME SET statement_timeout = '1min'."
)
_UNDER_WAY: Final = (
    "The server of the cache {shown} answers, but has not ended what was asked before by a connection that was lost. "
    "Nothing is done beside that, as it might be done twice; do it again, or give it more time with ?patience= in the "
    "URL."
)
_SILENT: Final = "Nothing is said there: the server is busy or stopped, or its machine is away. "
_AWAY: Final = (
    *("Connection refused", "Connection reset", "closed the connection unexpectedly", "No such file or directory"),
    # Of several servers none is the primary yet, while a standby is about to become it.
    *("the database system is", "session is read-only", "server is in hot standby mode"),
)
"""What is said where a server does not take a connection that may take one soon."""
_TOLD: Final[Sequence[tuple[tuple[str, ...], type[StoreError], str]]] = [
    (("28",), StoreRefused, _NO_LOGIN),
    (("3D000",), StoreRefused, _NO_DATABASE),
    (("40",), StoreUnavailable, _BUSY),
    (_STOPPED, StoreUnavailable, _WAS_STOPPED),
    ((TOO_FAR,), StoreUnavailable, _TOO_FAR),
    (("22", "54"), ChangeRefused, "The cache {shown} cannot take this as it is: {said}."),
    (("25006",), StoreReadOnly, _STANDBY),
    (("42501",), StoreReadOnly, _READ_ONLY),
    (("53",), StoreUnavailable, "The server of the cache {shown} has no room: {said}. Make some, and draw again."),
    (("42", "0A"), StoreRefused, _OTHER_SCHEMA),
    (("23", "58", "XX"), StoreUnavailable, _FAILED),
]
"""By how the state of a failure begins, in this order: what it is, and what is said."""
_SAID: Final[Mapping[str, str]] = {
    # The library tells of a connection that was not made by a text alone.
    "password authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "role": "28",
    "database": "3D000",
}


class StillUnderWay(psycopg.OperationalError):
    """What is asked again may still be done by what was given up, and the server answers."""


def may_pass(error: psycopg.Error) -> bool:
    """Tell whether the same may come about a moment later: the server restarts, or a connection was cut."""
    state = error.sqlstate
    if state is not None:
        return state.startswith(_AGAIN)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def was_stopped(error: BaseException | None) -> bool:
    """Tell whether a timeout or an operator has stopped it."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _STOPPED


def is_rolled_back(error: psycopg.Error) -> bool:
    """Tell whether the end of a transaction that failed so has certainly come to nothing."""
    return error.sqlstate is not None and not error.sqlstate.startswith(("08", "57P"))


def translated(error: psycopg.Error, shown: str) -> StoreError:
    """Say in one sentence what failed, why, and what can be done."""
    if isinstance(error, StillUnderWay):
        return StoreUnavailable(_UNDER_WAY.format(shown=shown))
    said, state = _said(error), error.sqlstate or ""
    for starts, kind, text in _TOLD:
        if state.startswith(starts):
            return kind(text.format(shown=shown, said=said))
    why = _SILENT if is_silent(error) else ""
    return StoreUnavailable(
        f"The cache {shown} cannot be reached: {said}. {why}Check that the server runs and that the URL is right."
    )


def not_connected(error: psycopg.Error, shown: str) -> StoreError:
    """Say why no connection came about; only the text tells."""
    said = _said(error)
    if "invalid response" in said or "unsupported frontend protocol" in said:
        return StoreRefused(
            f"What answers at {shown} is no PostgreSQL server: {said}. Check the host and the port in the URL."
        )
    if "SSL" in said or "certificate" in said:
        return StoreRefused(
            f"No encrypted connection to {shown} came about: {said}. Check sslmode= and sslrootcert= in the URL."
        )
    is_of_login = "FATAL" in said and "the database system is" not in said
    for text, start in _SAID.items() if is_of_login else ():
        if text in said:
            return next(kind(told.format(shown=shown, said=said)) for starts, kind, told in _TOLD if start in starts)
    return translated(error, shown)


def is_away(error: BaseException | None) -> bool:
    """Tell whether a server that exists did not take a connection, as one that starts; only the text tells."""
    said = str(error)
    return any(text in said for text in _AWAY) and "could not translate" not in said


def is_silent(error: BaseException | None) -> bool:
    """Tell whether whoever is there said nothing until the time for connecting was over; only the text tells."""
    return "timeout expired" in str(error)


def _said(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


@contextmanager
def translating(shown: str) -> Generator[None]:
    """Say in the user's words what fails in a block."""
    try:
        yield
    except MemollmError:
        raise
    except psycopg.Error as error:
        raise translated(error, shown) from error
