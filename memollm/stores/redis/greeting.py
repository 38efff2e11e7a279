"""The first connection to a server, which may be away, slow, or not what its URL says."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from memollm.stores.redis.connections import LentChannels
from memollm.stores.redis.failures import FAILURES
from memollm.stores.redis.strangers import is_silence, is_silence_to_tls, may_be_of_a_stranger, refuse_a_stranger

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm.stores.redis.address import RedisAddress

GREETING_BY_TLS: Final = 1.0
"""Seconds for the first answer by TLS, until who says nothing is asked whether it speaks none."""
LONGEST_GREETING: Final = 10.0
"""Seconds for a first answer, where the URL says that connecting may take any time."""


class FirstGreeting:
    """Makes first connections. Once it asks who is there, if that is not clear."""

    def __init__(self, address: RedisAddress, tell_silence: Callable[[float, str], None]) -> None:
        self._address = address
        self._tell_silence = tell_silence
        self._has_asked_who = False

    def channels(self, within: float | None) -> LentChannels:
        """Connect to the first server of a URL that answers, maybe within some seconds."""
        *some, last = self._address.nodes
        for node in some:
            channels = LentChannels(self._address.at(node))
            with suppress(*FAILURES):
                channels.greet()
                return channels
        channels = LentChannels(self._address.at(last))
        if within is None:
            self._greet(channels)
        else:
            self._try(channels, within, hurries=True)
        return channels

    def _greet(self, channels: LentChannels) -> None:
        is_quick = self._address.is_encrypted and not self._has_asked_who
        try:
            self._try(channels, GREETING_BY_TLS if is_quick else None)
        except FAILURES as error:
            if is_silence(error):
                self._greet_slowly(channels)
            elif is_quick and is_silence_to_tls(error):
                channels.greet()
            else:
                raise

    def _try(self, channels: LentChannels, within: float | None, *, hurries: bool = False) -> None:
        try:
            channels.greet(within, hurries=hurries)
        except FAILURES as error:
            if may_be_of_a_stranger(error) and not self._has_asked_who:
                self._has_asked_who = True
                refuse_a_stranger(self._address.at(self._address.nodes[-1]))
            raise

    def _greet_slowly(self, channels: LentChannels) -> None:
        """Wait for a server that takes connections as long as for a machine to be reached."""
        seconds: float = self._address.options.get("socket_connect_timeout") or LONGEST_GREETING
        self._tell_silence(seconds, "socket_connect_timeout")
        channels.greet(seconds)
