"""The connections of a process to a Redis server, and what is said on them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from memollm.errors import OptionError
from memollm.stores.lending import Lending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.scripts import Command

WAITS: Final = ("WAITAOF", 1, 0, 10_000)
"""Waits until what this connection wrote is on the disk of the server, so many milliseconds at most."""


class Channel:
    """One connection. It repeats nothing by itself: an answer that was lost may be of something that was done."""

    def __init__(self, address: RedisAddress) -> None:
        options = dict(address.options)
        kind: Any = options.pop("connection_class", Connection)
        try:
            self._connection: Any = kind(**options, retry=Retry(NoBackoff(), 0), health_check_interval=0)
        except TypeError as error:
            raise OptionError(f"cache={address.shown!r}: the client knows no such parameter ({error}).") from None
        self._connection.connect()

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands together and read what each is answered; an error of the server stands in its place."""
        self._connection.send_packed_command([b"".join(map(_packed, commands))], check_health=False)
        return [self.read() for _ in commands]

    def tell(self, *command: Any) -> None:
        """Send a command whose answer is read later."""
        self._connection.send_command(*command, check_health=False)

    def read(self) -> Any:
        """Read an answer."""
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def has_more(self) -> bool:
        """Tell whether something can be read at once."""
        return bool(self._connection.can_read(timeout=0))

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
        asked = [("EVALSHA", each.script.digest, 1, each.base, *each.arguments) for each in commands]
        answers = self._ask_durably(asked, waits=waits)
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
        if isinstance(synced, Exception):
            raise synced
        if not synced[0]:
            raise TimeoutError("the server has not written to its disk in time")
        return answers

    @property
    def descriptor(self) -> int:
        """What can be waited for."""
        number: int = self._connection._sock.fileno()  # noqa: SLF001 - the client has no other name for it
        return number

    def close(self) -> None:
        """End it."""
        with suppress(Exception):
            self._connection.disconnect()

    def leave_to_parent(self) -> None:
        """Let go of it in a forked child; the client would end it for the parent, too."""
        sock, self._connection._sock = self._connection._sock, None  # noqa: SLF001 - the same
        if sock is not None:
            with suppress(OSError):
                os.close(sock.detach())


def _packed(command: Sequence[Any]) -> bytes:
    """Write a command as the protocol has it; the client does the same in twice the time."""
    parts = [b"*%d\r\n" % len(command)]
    for each in command:
        data = each if type(each) is bytes else str(each).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class LentChannels(Lending[Channel]):
    """LentChannels that are lent to one thread at a time."""

    def __init__(self, address: RedisAddress) -> None:
        super().__init__(address.pool)
        self._address = address

    def connect(self) -> Channel:
        """Make one."""
        return Channel(self._address)

    def end(self, connection: Channel) -> None:
        """End one."""
        connection.close()

    def leave(self, connection: Channel) -> None:
        """Let go of one in a forked child."""
        connection.leave_to_parent()
