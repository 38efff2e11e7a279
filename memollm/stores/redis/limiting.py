"""How a Redis store limits what a program spends, on whichever machines its processes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from memollm._types.allowance import Charged
from memollm.stores.limiting import Limiting

if TYPE_CHECKING:
    from memollm._types.allowance import Allowance
    from memollm.stores.redis.session import RedisSession


class RedisLimiting(Limiting):
    """Counts by a script, of which there is one at a time."""

    def __init__(self, session: RedisSession) -> None:
        self._session = session

    def charge(self, program: str, more: Charged, allowed: Allowance | None = None) -> tuple[Charged, bool]:
        """Add up, if there is room; what was added and not answered is not added again."""
        session = self._session
        limits = (None, None) if allowed is None else (allowed.calls, allowed.cost)
        said = ["" if limit is None else repr(limit) for limit in limits]
        id = session.flights.new_id()  # noqa: A001 - as in `Write`
        spent, fits = session.book("charge", program, id, msgspec.msgpack.encode(tuple(more)), *said)
        calls, cost, foreseen, unpriced = msgspec.msgpack.decode(spent)
        return Charged(int(calls), float(cost), float(foreseen), int(unpriced)), bool(fits)
