"""Reading a Redis store where nothing may be written: no owner is known there, and no cache is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm.stores.redis.looking import RedisLooking
from memollm.stores.redis.matching import RedisMatches
from memollm.stores.redis.session import RedisSession

if TYPE_CHECKING:
    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.connections import Channel
    from memollm.stores.redis.session import OpenRedis


class RedisReader(RedisSession):
    """What a Redis store holds, for a `ReadingStore` to draw from."""

    owns = False

    @property
    def looking(self) -> RedisLooking:
        """Looks into the store."""
        return RedisLooking(self)

    @property
    def matching(self) -> RedisMatches:
        """Reads vectors and matches."""
        return RedisMatches(self)

    def _require_server(self, wire: Channel, address: RedisAddress) -> bool:  # noqa: ARG002 - as for those who write
        # What it keeps is for those to judge who write.
        return False

    def _leave(self, opened: OpenRedis) -> None:
        """Leave no trace, as there is none."""
