"""What goes wrong with a PostgreSQL server, in the user's words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from memollm.errors import ChangeRefused, MemollmError, StoreError, StoreReadOnly, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

OWNER_LOST: Final = "MM001"
RENUMBERED: Final = "MM002"
TOO_FAR: Final = "MM003"
_AGAIN: Final = ("08", "57P", "40", "53300", OWNER_LOST)
"""How the states of failures begin after which the same may come about a moment later."""
_OF_ONE_CHANGE: Final = ("22", "54")
_REFUSED: Final[Mapping[str, str]] = {
    "28": "refuses this user. Check the name and the password in the URL (or PGPASSWORD, or ~/.pgpass)",
    "3D000": "has no such database. Create it with createdb, or name another one in the URL",
    "3F": "has no such schema. Check ?schema= in the URL",
}
_SAID: Final[Mapping[str, str]] = {
    # The library tells of a connection that was not made by a text alone.
    "password authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "role": "28",
    "database": "3D000",
}


def may_pass(error: psycopg.Error) -> bool:
    """Tell whether the same may come about a moment later: the server restarts, or a connection was cut."""
    state = error.sqlstate
    if state is not None:
        return state.startswith(_AGAIN)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def translated(error: psycopg.Error, shown: str) -> StoreError:
    """Say in one sentence what failed, why, and what can be done."""
    said, state = _said(error), error.sqlstate or ""
    reason = next((text for start, text in _REFUSED.items() if state.startswith(start)), None)
    if reason is not None:
        return StoreRefused(f"The server of the cache {shown} {reason}. It says: {said}.")
    if state == TOO_FAR:
        return StoreUnavailable(
            f"The cache {shown} says that {said} positions of one call were drawn, which are too many to walk over. "
            "If it is damaged, draw in another namespace."
        )
    if state.startswith(_OF_ONE_CHANGE):
        return ChangeRefused(f"The cache {shown} cannot take this as it is: {said}.")
    if state in {"42501", "25006"}:
        return StoreReadOnly(
            f"The cache {shown} cannot be written by this user: {said}. Have its owner grant the right to write, "
            "or name another ?schema= in the URL."
        )
    if state.startswith("53"):
        return StoreUnavailable(f"The server of the cache {shown} has no room: {said}. Make some, and draw again.")
    if state.startswith(("42", "0A")):
        return StoreRefused(
            f"The cache {shown} is not as this version of memollm made it: {said}. Use the version that made it, or "
            "another ?schema=."
        )
    return StoreUnavailable(
        f"The cache {shown} cannot be reached: {said}. Check that the server runs and that the URL is right."
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
    is_of_login = "FATAL" in said and "starting up" not in said and "shutting down" not in said
    for text, start in _SAID.items() if is_of_login else ():
        if text in said:
            return StoreRefused(f"The server of the cache {shown} {_REFUSED[start]}. It says: {said}.")
    return translated(error, shown)


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
