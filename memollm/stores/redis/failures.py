"""What goes wrong with a Redis server, in the user's words."""

from __future__ import annotations

from ssl import SSLError
from typing import TYPE_CHECKING, Final

from redis import exceptions as failed

from memollm._types.secret import said_by
from memollm.errors import ChangeRefused, StoreError, StoreReadOnly, StoreRefused, StoreUnavailable
from memollm.stores.redis.strangers import is_silence

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURES: Final[tuple[type[Exception], ...]] = (failed.RedisError,)
"""What a connection raises that fails; an `OSError` is none of them, but the user's (`theirs.py`)."""
UNKNOWN_CALL: Final = "MMUNKNOWN"
MOVING: Final = "MMMOVING"
HALFWAY: Final = "MMHALFWAY"
"""Who was moving a call has died, and whoever comes is to end that."""
TOO_FAR: Final = "MMFAR"
EMPTIED: Final = "MMEMPTIED"
"""The cache is another one than this process has opened, or none."""
_NO_LOGIN: Final = (
    "The server of the cache {shown} refuses this user. Check the name and the password in the URL. It says: {said}."
)
_NO_RIGHT: Final = (
    "The cache {shown} cannot be written by this user: {said}. Have its owner grant the right to run scripts and to "
    "write, or name another ?prefix= in the URL."
)
_NO_ROOM: Final = (
    "The server of the cache {shown} has no room: {said}. Raise maxmemory, or prune the cache, and draw again."
)
_NO_DISK: Final = (
    "The server of the cache {shown} cannot write to its disk and takes nothing: {said}. Its log says more."
)
_REPLICA: Final = (
    "The server of the cache {shown} is a replica and takes no writes: {said}. Name the primary in the URL."
)
_NO_DATABASE: Final = "The server of the cache {shown} has no such database: {said}. Choose another number in the URL."
_NO_DATABASES: Final = (
    "The cluster of the cache {shown} has no database but 0: {said}. Name that one in the URL, and a ?prefix= to have "
    "a cache of its own."
)
_OTHER_KEYS: Final = (
    "What the server of the cache {shown} holds under these names is something else: {said}. Choose another ?prefix= "
    "in the URL."
)
_TOO_FAR: Final = (
    "The cache {shown} says that so many positions of one call were drawn that they cannot be walked over ({said}). If "
    "it is damaged, draw in another namespace."
)
_MOVED: Final = (
    "Another program is moving samples to or from a call of the cache {shown}, for longer than this one waits. Draw "
    "again when it has ended, or raise ?patience= in the URL."
)
_EMPTIED: Final = (
    "The cache {shown} was emptied while this program used it: by FLUSHALL, or since its server came back without its "
    "files. Nothing is drawn from what is left. Restore it, or start the program again to begin a new cache."
)
_TOLD: Final[Sequence[tuple[tuple[str, ...], type[StoreError], str]]] = [
    (
        ("WRONGPASS", "NOAUTH", "invalid username-password", "invalid password", "Authentication required"),
        *(StoreRefused, _NO_LOGIN),
    ),
    (("without any password configured",), StoreRefused, _NO_LOGIN),
    (("NOPERM", "no permissions", "has no permissions"), StoreReadOnly, _NO_RIGHT),
    (("OOM", "maxmemory"), StoreUnavailable, _NO_ROOM),
    (("MISCONF",), StoreUnavailable, _NO_DISK),
    (("READONLY", "read only replica"), StoreReadOnly, _REPLICA),
    (("DB index is out of range",), StoreRefused, _NO_DATABASE),
    ((TOO_FAR,), StoreUnavailable, _TOO_FAR),
    ((EMPTIED,), StoreRefused, _EMPTIED),
    ((MOVING, HALFWAY), StoreUnavailable, _MOVED),
    (("WRONGTYPE",), StoreRefused, _OTHER_KEYS),
    (("SELECT is not allowed in cluster mode",), StoreRefused, _NO_DATABASES),
]
"""By what is said: what it is, and what the user is told."""
_NOT_REDIS: Final = (
    "What answers at {shown} is no Redis or Valkey server: {said}. Check the host and the port in the URL."
)
_NO_TLS: Final = (
    "No encrypted connection to {shown} came about: {said}. Check that the server speaks TLS at this port, and "
    "ssl_ca_certs= in the URL."
)
_CHANGING: Final = (failed.AskError, failed.TryAgainError)
"""Where a slot of a cluster is on its way to another node; `MovedError` is one, too."""
_ON_ITS_WAY: Final = (
    "A slot of the cluster {shown} is on its way to another node ({said}), and has not arrived in time. If nobody "
    "moves it any more, redis-cli --cluster check tells of it, and redis-cli --cluster fix ends that."
)
_DOWN: Final = (
    "The cluster {shown} is down: {said}. A node of it is away that no replica stands in for, or it begins still. Its "
    "CLUSTER NODES says more."
)
_AWAY: Final = "The cache {shown} cannot be reached: {said}. Check that the server runs and that the URL is right."
_SILENT: Final = (
    "The cache {shown} cannot be reached: {said}. What takes connections there says nothing: a server that is busy or "
    "stopped, or one of another kind. Check that the server runs and that the URL is right."
)
_NODE_AWAY: Final = (
    "The cluster {shown} cannot be reached in all its parts: {said} (its {node}). Check that the node runs, and that "
    "programs reach it at this address, which it tells of itself (cluster-announce-ip)."
)

_PASSING: Final = (
    *(failed.ConnectionError, failed.TimeoutError, *_CHANGING),
    *(failed.ReadOnlyError, failed.ClusterDownError, failed.MasterDownError),
)


_PASSING_BY: Final = ("is busy running a script", "-READONLY")
"""What a server says whose script, of whomever, takes longer than it usually waits for one; and what Redis 6.2 says of
a script that would write where another server has taken its place."""
_OF_CLUSTER: Final = "a cluster"


def of_cluster(error: Exception) -> None:
    """Note that what failed was a cluster, in which another node may take the place of one that does not answer."""
    error.add_note(_OF_CLUSTER)


def of_node(error: Exception, node: object) -> Exception:
    """Note at which node of a cluster something failed."""
    if not node_of(error):
        error.add_note(name_of(node))
    return error


def name_of(node: object) -> str:
    """Return as what a node of a cluster is named."""
    return f"node {node}"


def node_of(error: Exception) -> str:
    """Return at which node of a cluster something failed, if it is known."""
    return next((note for note in getattr(error, "__notes__", ()) if note.startswith("node ")), "")


def code_of(error: Exception) -> str:
    """Return what a script of ours has refused by."""
    text = str(error)
    return next((code for code in (UNKNOWN_CALL, MOVING, HALFWAY, TOO_FAR, EMPTIED) if code in text), "")


def may_pass(error: Exception) -> bool:
    """Tell whether the same may come about a moment later: the server restarts, or a connection was cut."""
    if isinstance(error, failed.AuthenticationError | failed.AuthorizationError | failed.InvalidResponse):
        return False
    if code_of(error) in {UNKNOWN_CALL, MOVING, HALFWAY}:
        return True
    return isinstance(error, _PASSING) or any(mark in str(error) for mark in _PASSING_BY)


def is_changing(error: Exception) -> bool:
    """Tell whether slots of a cluster are on their way."""
    return isinstance(error, _CHANGING)


def is_coming(error: BaseException | None) -> bool:
    """Tell whether what could not be opened is a server that starts, or a cluster that is to be whole again."""
    if isinstance(error, Exception) and _OF_CLUSTER in getattr(error, "__notes__", ()):
        return may_pass(error)
    return _is_away(error)


def _is_away(error: BaseException | None) -> bool:
    """Tell whether a server that exists took no connection, or ended it at once, or says that it starts still."""
    while error is not None and not isinstance(error, SSLError):
        if isinstance(error, ConnectionError | failed.BusyLoadingError) or "closed by server" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def translated(error: Exception, shown: str) -> StoreError:
    """Say in one sentence what failed, why, and what can be done."""
    said = " ".join(said_by(error).split()).rstrip(".") or type(error).__name__
    for marks, kind, text in _TOLD if not _is_replaced(error) else ():
        if any(mark in said for mark in marks):
            return kind(text.format(shown=shown, said=said))
    if isinstance(error, failed.InvalidResponse) or "Protocol" in said:
        return StoreRefused(_NOT_REDIS.format(shown=shown, said=said))
    if shown.startswith(("rediss", "valkeys")) and isinstance(error, failed.TimeoutError):
        # A server that does not speak TLS waits for a request, and says nothing.
        return StoreUnavailable(_NO_TLS.format(shown=shown, said=said))
    if "SSL" in said or "certificate" in said:
        return StoreRefused(_NO_TLS.format(shown=shown, said=said))
    if isinstance(error, failed.ResponseError) and not may_pass(error):
        return ChangeRefused(f"The cache {shown} cannot take this as it is: {said}.")
    return StoreUnavailable(_why_away(error).format(shown=shown, said=said, node=node_of(error)))


def _is_replaced(error: Exception) -> bool:
    """Tell whether a node of a cluster has become a replica of another."""
    return isinstance(error, failed.ReadOnlyError) and bool(node_of(error))


def no_text(error: UnicodeEncodeError) -> ChangeRefused:
    """Say that a text cannot be sent."""
    return ChangeRefused(f"The server cannot take a text that is none in UTF-8: {error}.")


def _why_away(error: Exception) -> str:
    if isinstance(error, _CHANGING):
        return _ON_ITS_WAY
    if isinstance(error, failed.ClusterDownError):
        return _DOWN
    if node_of(error):
        return _NODE_AWAY
    return _SILENT if is_silence(error) else _AWAY
