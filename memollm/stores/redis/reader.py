"""Reading a Redis store where nothing may be written: no owner is known there, and no cache is begun."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from memollm.errors import StoreUnavailable
from memollm.stores.redis.looking import RedisLooking
from memollm.stores.redis.matching import RedisMatches
from memollm.stores.redis.session import RedisSession
from memollm.stores.redis.transfer import RedisSnapshot
from memollm.stores.serving import NothingThere

if TYPE_CHECKING:
    from collections.abc import Generator

    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.connections import Channel, ServerWay
    from memollm.stores.redis.session import OpenRedis


class RedisReader(RedisSession):
    """What a Redis store holds, for a `ReadingStore` to draw from."""

    owns = False
    _has_to_be_there = False

    @property
    def looking(self) -> RedisLooking:
        """Looks into the store."""
        return RedisLooking(self)

    @property
    def matching(self) -> RedisMatches:
        """Reads vectors and matches."""
        return RedisMatches(self)

    def missing(self) -> str:
        """Name the prefix, where no cache is."""
        self._has_to_be_there = True
        try:
            self.opened()
        except NothingThere:
            return f"prefix {self.address.prefix.partition('@')[0]}"
        return ""

    def _way(self) -> ServerWay:
        way = super()._way()
        if self._has_to_be_there and not self.known_as:
            # Before anything is told there of who listens.
            way.close()
            raise NothingThere
        return way

    @contextmanager
    def snapshot(self) -> Generator[RedisSnapshot]:
        """Read what is there, each call at one moment; what somebody else has begun to move is not ours to end."""
        if self.ask("HLEN", f"{self.books}:moves"):
            raise StoreUnavailable(
                f"Samples of the cache {self.shown} are being moved, or whoever moved them has died. Nothing was taken "
                "out; try again later, or open it once as a user who may write it."
            )
        yield RedisSnapshot(self)

    @staticmethod
    def _require_server(wire: Channel, address: RedisAddress) -> bool:  # noqa: ARG004 - as for those who write
        # What it keeps is for those to judge who write.
        return False

    def _leave(self, opened: OpenRedis) -> None:
        """Leave no trace, as there is none."""
