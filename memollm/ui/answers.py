"""What the page can ask, by name: each answer from the cache as it is now."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from memollm._spending.stats import summed
from memollm._upkeep.answers import is_list
from memollm._views.report.collect import Bounds, Room, lent_of, names_left_out, summed_up
from memollm._views.runs import known_runs
from memollm.errors import OptionError, StoreRefused
from memollm.stores.claims import telling_claims
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.transcripts import transcribed
from memollm.ui.changing import change
from memollm.ui.comparing import Compared, compare, shown_pair, why_not
from memollm.ui.data import Abilities, Comparison, LiveReport
from memollm.ui.index import CallIndex
from memollm.ui.reading import (
    WHOLE,
    call_data,
    explained,
    found_calls,
    summary,
    turns_data,
    versions,
    whole_name,
    why_made,
)
from memollm.ui.watching import Lookout, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from memollm._cache import Cache
    from memollm.ui.data import CallData, Foreseen, FoundCalls, FunctionVersions, Present, Reasons, TurnsData
    from memollm.ui.index import Listing

    Said = dict[str, Any]

OVERVIEW: Final = Bounds()
ROWS: Final = 50
SAMPLES: Final = 60


class Answers:
    """Answers for one cache."""

    def __init__(self, cache: Cache, *, place: str, show: Sequence[str]) -> None:
        self._cache = cache
        self._place = place
        self._show = show
        self._index = CallIndex(cache.store)
        self._lookout = Lookout(cache.store, self._index)
        self._abilities = _abilities(cache)
        self._comparing = Lock()
        self._compared: tuple[tuple[str, str, str], Compared] | None = None
        self.asked: dict[str, Callable[[Said], object]] = {
            "overview": self.overview,
            "now": self.now,
            "calls": self.calls,
            "call": self.call,
            "drawn": self.drawn,
            "compare": self.compare,
            "why": self.why,
            "versions": self.versions,
        }
        """Reading, by the query."""
        self.told: dict[str, Callable[[Said], object]] = {"explain": self.explain, "change": self.change}
        """What is told in a body."""
        self._index.begin()

    def close(self) -> None:
        """Wait for what goes on beside."""
        self._index.close()

    def overview(self, said: Said) -> LiveReport:
        """Tell what the cache holds, cost and saved; without waiting, perhaps before the calls are listed."""
        store = self._cache.store
        listing = self._index.current() if said.get("wait") == "true" else self._index.at_once()
        counted = looking(store).counted()
        surveyed = () if listing is None else listing.surveyed
        report, there = summed_up(
            counted, surveyed, known_runs(self._cache), place=self._place, made=time.time(), bounds=OVERVIEW
        )
        there["similar call"], similar = lent_of(self._cache, OVERVIEW, Room(OVERVIEW))
        report = replace(report, similar=similar)
        report = replace(report, left_out=tuple(names_left_out(report, there)))
        stamp = stamp_of(summed([*counted.values()]), store.epoch())
        return LiveReport(report, self._abilities, stamp, None if listing is None else listing.looked)

    def now(self, _: Said) -> Present:
        """Tell what is going on."""
        return self._lookout.present()

    def calls(self, said: Said) -> FoundCalls:
        """Find calls by words."""
        return found_calls(
            self._cache,
            self._index.current(),
            self._show,
            text=said.get("text", ""),
            function=said.get("function"),
            order=said.get("order", "cost"),
            descending=said.get("descending", "true") == "true",
            start=_number(said, "start", 0),
            rows=_number(said, "rows", ROWS),
        )

    def call(self, said: Said) -> list[CallData]:
        """Show a call with its samples."""
        key = _given(said, "key")
        return call_data(self._cache, self._listing_with([key]), self._show, key, _number(said, "samples", SAMPLES))

    def drawn(self, said: Said) -> TurnsData:
        """Show what a run or a namespace drew."""
        return turns_data(
            self._cache,
            run=said.get("run"),
            namespace=said.get("namespace"),
            lane=said.get("lane"),
            start=_number(said, "start", 0),
            rows=_number(said, "rows", ROWS),
        )

    def compare(self, said: Said) -> Comparison:
        """Put two namespaces side by side."""
        one, other = _given(said, "one"), _given(said, "other")
        compared = self._compare(one, other)
        kind, start, room = said.get("differs", ""), _number(said, "start", 0), Room(WHOLE)
        shown = compared.of(kind)[start : start + _number(said, "rows", ROWS)]
        return Comparison(
            tuple(shown_pair(self._cache, pair, differs, room) for pair, differs in shown),
            compared.counts(),
            tuple(sorted(compared.apart)),
            compared.unread,
        )

    def _compare(self, one: str, other: str) -> Compared:
        """Compare, unless that was just done and nothing was counted since."""
        known = {each.name for each in self._cache.namespaces()} | {
            account.namespace for account in looking(self._cache.store).counted()
        }
        one, other = whole_name(one, known), whole_name(other, known)
        for name in (one, other):
            if name not in known:
                raise OptionError(f"The cache has no namespace {name!r}.")
        counts = summed([*looking(self._cache.store).counted().values()])
        asked = (one, other, stamp_of(counts, self._cache.store.epoch()))
        with self._comparing:
            if self._compared is None or self._compared[0] != asked:
                self._compared = (asked, compare(self._cache, one, other))
            return self._compared[1]

    def why(self, said: Said) -> list[Reasons]:
        """Say why a stored call was no hit when it was made."""
        key = _given(said, "key")
        return why_made(self._cache, self._listing_with([key]), key)

    def explain(self, said: Said) -> Reasons:
        """Explain a miss by the text that it has written."""
        return explained(self._cache, _given(said, "form"))

    def versions(self, _: Said) -> list[FunctionVersions]:
        """List what could be adopted."""
        return versions(self._cache)

    def change(self, said: Said) -> Foreseen:
        """Foresee a change, or do what was foreseen and agreed to."""
        keys = said.get("keys")
        listing = self._listing_with(keys if is_list(keys) else [])
        intention = change(self._cache, listing, said)
        if intention.foreseen.done:
            self._index.expire()
        calls = tuple(summary(self._cache, each, self._show) for each in intention.calls)
        return intention.foreseen.with_calls(calls)

    def _listing_with(self, keys: Iterable[object]) -> Listing:
        """Return a listing that has these keys, if any has: a call may have been stored since the last one."""
        listing = self._index.current()
        if all(key in listing.by_key for key in keys if isinstance(key, str)):
            return listing
        self._index.expire()
        return self._index.current()


def _abilities(cache: Cache) -> Abilities:
    """Find out what can be done with a cache."""
    try:
        keeping(cache.store)
        without_changes = ""
    except StoreRefused as error:
        without_changes = str(error)
    kind = type(cache.store).__name__
    keeps, tells = transcribed(cache.store) is not None, telling_claims(cache.store) is not None
    return Abilities(
        without_changes,
        "" if keeps else f"{kind} does not keep in which order runs draw, so there are no transcripts.",
        "" if tells else f"{kind} does not tell which slots are being filled.",
        why_not(cache),
    )


def _given(said: Said, name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value:
        raise OptionError(f"{name}= is missing.")
    return value


def _number(said: Said, name: str, usual: int) -> int:
    value = said.get(name, str(usual))
    if not (isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10):  # noqa: PLR2004 - more is none
        raise OptionError(f"{name}={value!r} is no number.")
    return int(value)
