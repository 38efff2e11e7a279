"""What is going on: the slots that are being filled, and what was counted in the last minute."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._spending.stats import summed
from memollm._types.counting import Counts
from memollm._views.finding import described
from memollm._views.report.collect import named, written
from memollm._views.report.data import Sums
from memollm._views.report.readable import summary_of
from memollm.stores.claims import telling_claims
from memollm.stores.looking import looking
from memollm.ui.data import Present, UnderWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._types.calls import Place
    from memollm.stores.drawing import Drawing
    from memollm.ui.index import CallIndex, Listing

MINUTE: Final = 60.0
MOST: Final = 50
"""Of the slots under way, how many are told."""


class Moment(NamedTuple):
    """What had been counted at a time."""

    at: float
    counts: Counts


class Lookout:
    """Looks at a store now and then, whenever a page asks."""

    def __init__(self, store: Drawing, index: CallIndex, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._index = index
        self._clock = clock
        self._lock = Lock()
        self._moments: deque[Moment] = deque()
        self._since: dict[Place, float] = {}

    def present(self) -> Present:
        """Tell what is going on."""
        listing = self._index.at_once()
        now, counts = self._clock(), summed([*looking(self._store).counted().values()])
        telling = telling_claims(self._store)
        places = [] if telling is None else telling.claims()
        with self._lock:
            before = self._before(Moment(now, counts))
            self._since = {place: self._since.get(place, now) for place in places}
            oldest = sorted(self._since.items(), key=lambda each: each[1])
        return Present(
            at=now,
            stamp=stamp_of(counts, self._store.epoch()),
            looked=None if listing is None else listing.looked,
            slots=tuple(_slot(listing, place, since) for place, since in oldest[:MOST]),
            under_way=len(places),
            lately=Sums.of("lately", Counts._make(max(0, a - b) for a, b in zip(counts, before.counts, strict=True))),
            seconds=now - before.at,
        )

    def _before(self, moment: Moment) -> Moment:
        """Return what had been counted a minute ago, or when somebody looked first."""
        moments = self._moments
        moments.append(moment)
        while len(moments) > 1 and moments[1].at <= moment.at - MINUTE:
            moments.popleft()
        if moments[0].at < moment.at - 2 * MINUTE:
            # Nobody has looked for long.
            moments.popleft()
        return moments[0] if moments else moment


def _slot(listing: Listing | None, place: Place, since: float) -> UnderWay:
    call, slot = place
    key, summary = call.key.hex(), summary_of(described(call.form).arguments)
    is_stored = listing is not None and key in listing.by_key
    return UnderWay(key, named(call.function), written(summary), slot, since, is_stored)


def stamp_of(counts: Counts, epoch: int) -> str:
    """Return what changes when anything was counted, replaced or removed."""
    return hashlib.blake2b(repr((tuple(counts), epoch)).encode(), digest_size=8).hexdigest()
