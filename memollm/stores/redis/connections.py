"""The connections of a process to a Redis server, and what is said on them."""

from __future__ import annotations

import os
from contextlib import suppress
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError as LostConnection,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from memollm.errors import OptionError
from memollm.stores.addresses import unknown_parameter
from memollm.stores.lending import Lending
from memollm.stores.redis.address import OURS
from memollm.stores.redis.failures import no_text
from memollm.stores.redis.theirs import FAILED, raise_failure, raise_theirs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.scripts import Command

GREETING: Final = 3.0
"""Seconds for a server to answer the first connection; who says nothing for longer hangs, or is of another kind."""
WAITS: Final = ("WAITAOF", 1, 0, 10_000)
"""Waits until what this connection wrote is on the disk of the server, so many milliseconds at most."""
OF_CLUSTERS: Final[dict[str, type[ResponseError]]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "MASTERDOWN": MasterDownError,
    "MOVED": MovedError,
    "TRYAGAIN": TryAgainError,
}


def _unknown(error: TypeError) -> str:
    """Say which parameter the client does not know; it tells so in words of its own."""
    name = str(error).rpartition("argument ")[2].strip("'")
    known = (*OURS, *signature(AbstractConnection).parameters, *signature(Connection).parameters)
    return unknown_parameter(name, known)


class Channel:
    """One connection. It repeats nothing by itself: an answer that was lost may be of something that was done."""

    def __init__(self, address: RedisAddress, *, within: float | None = None, hurries: bool = False) -> None:
        """Connect; until that is done, the server may have to answer within some seconds, and to be reached in them."""
        options = dict(address.options)
        usual: float | None = options.get("socket_timeout")
        if within is not None:
            for name in ("socket_timeout", "socket_connect_timeout")[: 1 + hurries]:
                set_to: float | None = options.get(name)
                options[name] = within if set_to is None else min(within, set_to)
        kind: Any = options.pop("connection_class", Connection)
        try:
            self._connection: Any = kind(**options, retry=Retry(NoBackoff(), 0), health_check_interval=0)
        except TypeError as error:
            raise OptionError(f"cache={address.shown!r}: {_unknown(error)}") from None
        try:
            self._connection.connect()
            if within is not None:
                self._connection._sock.settimeout(usual)  # noqa: SLF001 - the client has no other name for it
        except FAILED as error:
            raise_failure(error)

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands together and read what each is answered; an error of the server stands in its place."""
        self.send(commands)
        return [self.read() for _ in commands]

    def send(self, commands: Sequence[Sequence[Any]]) -> None:
        """Send commands together, whose answers are read later."""
        try:
            packed = b"".join(map(_packed, commands))
        except UnicodeEncodeError as error:
            raise no_text(error) from error
        try:
            self._connection.send_packed_command([packed], check_health=False)
        except FAILED as error:
            raise_failure(error)

    def tell(self, *command: Any) -> None:
        """Send a command whose answer is read later."""
        try:
            self._connection.send_command(*command, check_health=False)
        except FAILED as error:
            raise_failure(error)

    def read(self) -> Any:
        """Read an answer."""
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return _named(error)
        except FAILED as error:
            raise_failure(error)

    def has_more(self) -> bool:
        """Tell whether something can be read at once."""
        try:
            return bool(self._connection.can_read(timeout=0))
        except FAILED as error:
            raise_failure(error)

    def value(self, *command: Any) -> Any:
        """Send one command; return its answer, or raise."""
        (answer,) = self.ask([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, commands: Sequence[Command], *, waits: bool = False) -> list[Any]:
        """Run scripts together; those that the server does not know are brought to it.

        If it `waits`, what they wrote is on the server's disk when this returns.
        """
        return self._brought(commands, self._ask_durably(_by_digest(commands), waits=waits), waits=waits)

    def begin(self, commands: Sequence[Command], *, waits: bool) -> None:
        """Send scripts that are run together; `end` reads what they return."""
        self.send([*_by_digest(commands), *([WAITS] if waits else ())])

    def end(self, commands: Sequence[Command], *, waits: bool) -> list[Any]:
        """Read what scripts return."""
        answers = [self.read() for _ in commands]
        if waits:
            _require_synced(self.read())
        return self._brought(commands, answers, waits=waits)

    def _brought(self, commands: Sequence[Command], answers: list[Any], *, waits: bool) -> list[Any]:
        """Bring the scripts that the server did not know."""
        missing = [nth for nth, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            some = [commands[nth] for nth in missing]
            asked = [("EVAL", each.script.text, 1, each.base, *each.arguments) for each in some]
            for nth, answer in zip(missing, self._ask_durably(asked, waits=waits), strict=True):
                answers[nth] = answer
        return answers

    def _ask_durably(self, commands: Sequence[Sequence[Any]], *, waits: bool) -> list[Any]:
        if not waits:
            return self.ask(commands)
        *answers, synced = self.ask([*commands, WAITS])
        _require_synced(synced)
        return answers

    @property
    def descriptor(self) -> int:
        """What can be waited for."""
        number: int = self._connection._sock.fileno()  # noqa: SLF001 - the client has no other name for it
        return number

    def close(self) -> None:
        """End it."""
        try:
            self._connection.disconnect()
        except Exception as error:  # noqa: BLE001 - it is not used again, whatever it says
            raise_theirs(error)

    def leave_to_parent(self) -> None:
        """Let go of it in a forked child; the client would end it for the parent, too."""
        sock, self._connection._sock = self._connection._sock, None  # noqa: SLF001 - the same
        if sock is not None:
            with suppress(OSError):
                os.close(sock.detach())


def _named(error: ResponseError) -> ResponseError:
    """Give what a node of a cluster says the class that clients before 6.0 give it for clusters of their own alone."""
    code, _, said = str(error).partition(" ")
    kind = OF_CLUSTERS.get(code) if type(error) is ResponseError else None
    return error if kind is None else kind(said)


def _by_digest(commands: Sequence[Command]) -> list[Sequence[Any]]:
    return [("EVALSHA", each.script.digest, 1, each.base, *each.arguments) for each in commands]


def _require_synced(answer: Any) -> None:
    if isinstance(answer, ResponseError) and "replica" in str(answer):
        # It has handed over to another, before it was asked or while it was waited for.
        raise ReadOnlyError("it has become a read only replica")
    if isinstance(answer, Exception):
        raise answer
    if not answer[0]:
        raise LostConnection("the server has not written to its disk in time")


def _packed(command: Sequence[Any]) -> bytes:
    """Write a command as the protocol has it; the client does the same in twice the time."""
    parts = [b"*%d\r\n" % len(command)]
    for each in command:
        data = each if type(each) is bytes else str(each).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class LentChannels(Lending[Channel]):
    """Connections to one server, lent to one thread at a time."""

    def __init__(self, address: RedisAddress) -> None:
        super().__init__(address.pool)
        self._address = address
        self.waits = False
        """Whether each write of a script is waited for until it is on the disk."""

    away: Sequence[str] = ()
    """It is one."""

    # Lending.

    def connect(self) -> Channel:
        """Make one."""
        return Channel(self._address)

    def end(self, connection: Channel) -> None:
        """End one."""
        connection.close()

    def leave(self, connection: Channel) -> None:
        """Let go of one in a forked child."""
        connection.leave_to_parent()

    def greet(self, within: float | None = None, *, hurries: bool = False) -> None:
        """Make the first; a server that says nothing to it is not waited for as long as for other answers."""
        self._idle.append(Channel(self._address, within=GREETING if within is None else within, hurries=hurries))

    # What a `ServerWay` does.

    described = ""

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run scripts."""
        with self.lent() as wire:
            return wire.run(commands, waits=self.waits)

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands together."""
        with self.lent() as wire:
            return wire.ask(commands)

    def value(self, *command: Any) -> Any:
        """Send one command; return its answer, or raise."""
        with self.lent() as wire:
            return wire.value(*command)

    def listening(self) -> RedisAddress:
        """Return where to listen."""
        return self._address

    def are_heard(self, names: Sequence[str], notice: str = "") -> bool:  # noqa: ARG002 - for clusters
        """Tell whether anybody listens to one of these, maybe at a replica that was the server. It loses no notice."""
        if any(self.value("PUBSUB", "NUMSUB", *names)[1::2]):
            return True
        with suppress(ResponseError):
            return b"connected_slaves:0" not in self.value("INFO", "replication")
        return False

    def swift(self, within: float) -> LentChannels:  # noqa: ARG002 - for those of a cluster
        """Return the same, for the thread that keeps what this process has alive."""
        return self

    def sync(self, prefix: str) -> None:
        """Wait until all that was written is on the disk, where the server does not see to that by itself."""
        if self.waits:
            synced(self, f"{prefix}:{{books}}")

    def renew(self) -> None:
        """End connections that may be dead."""
        self.close()


def synced(channels: LentChannels, base: str) -> None:
    """Write something: a connection waits for what it wrote itself, and so for all that was written before."""
    with channels.lent() as wire:
        written, answer = wire.ask([("SET", f"{base}:synced", 1, "PX", 1000), WAITS])
        _require_synced(answer)
        if isinstance(written, Exception):
            raise written


class ServerWay(Protocol):
    """What a process asks a server by, or all nodes of a cluster."""

    @property
    def described(self) -> str:
        """Say what there is besides one server."""
        ...

    @property
    def away(self) -> Sequence[str]:
        """Name the nodes of a cluster that did not answer when they were asked last."""
        ...

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run scripts; the errors of some stand in their places."""
        ...

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands together, of which each names its key first; the errors of some stand in their places."""
        ...

    def value(self, *command: Any) -> Any:
        """Send one command; return its answer, or raise."""
        ...

    def listening(self) -> RedisAddress:
        """Return where to listen; the next time it may be elsewhere."""
        ...

    def are_heard(self, names: Sequence[str], notice: str = "") -> bool:
        """Tell whether anybody listens to one of these, as far as that can be known; they may be told something."""
        ...

    def swift(self, within: float) -> ServerWay:
        """Return what does the same for the thread that keeps what this process has alive.

        It waits so many seconds at most for a node of a cluster, so that the others are told in time.
        """
        ...

    def sync(self, prefix: str) -> None:
        """Wait until all that was written is on the disk, where a server does not see to that by itself."""
        ...

    def renew(self) -> None:
        """End connections that may be dead."""
        ...

    def close(self) -> None:
        """End those that nobody uses."""
        ...

    def leave_to_parent(self) -> None:
        """Let go of them in a forked child."""
        ...
