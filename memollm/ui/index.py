"""All calls that have samples, as they were a moment ago: found by words, and put in order by any figure."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from operator import itemgetter
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from memollm._spending.stats import summed
from memollm._views.report.collect import expense
from memollm.errors import MemollmError
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.listings import Surveyed
    from memollm.stores.drawing import Drawing

FRESH: Final = 5.0
"""Seconds for which a list of calls is taken as it is."""
WORTH: Final = 20
"""Listing calls takes at most one part in so many of the time."""
LONGEST: Final = 60.0
"""After so many seconds they are listed again, also where nothing seems to have changed."""
ARGUMENTS: Final = '"arguments":'
NAME: Final = "name"
"""The order of functions' names, and of arguments."""
ORDERS: Final[dict[str, Callable[[Surveyed], float | None]]] = {
    NAME: lambda _: 0,
    "samples": lambda each: each.samples,
    "cost": lambda each: each.cost,
    "seconds": lambda each: each.seconds,
    "tokens": lambda each: each.input_tokens + each.output_tokens,
    "bytes": lambda each: each.bytes,
    "used": lambda each: each.used,
    "made": lambda each: each.made,
}
Entry = tuple[str, "Surveyed"]
"""A call, and the text in which it is sought."""


class Listing:
    """The calls of a store as one look found them."""

    def __init__(self, surveyed: Sequence[Surveyed]) -> None:
        self.surveyed = sorted(surveyed, key=expense)
        self.by_key: dict[str, list[Surveyed]] = {}
        for each in self.surveyed:
            self.by_key.setdefault(each.call.key.hex(), []).append(each)
        self.looked = time.time()
        self._entries: list[Entry] = [(haystack(each), each) for each in self.surveyed]
        self._ordered: dict[str, list[Entry]] = {}

    def sought(self, text: str, function: str | None, order: str, *, descending: bool) -> list[Surveyed]:
        """Return the calls in which all words of a text stand, in an order."""
        needles = [_needles(word) for word in text.casefold().split()]
        entries = self._in_order(order)
        if function is not None:
            entries = [entry for entry in entries if entry[1].call.function == function]
        for plain, escaped in needles:
            if plain == escaped:
                entries = [entry for entry in entries if plain in entry[0]]
            else:
                entries = [entry for entry in entries if plain in entry[0] or escaped in entry[0]]
        found = [each for _, each in entries]
        return found if descending else _upwards(found, order)

    def _in_order(self, order: str) -> list[Entry]:
        """Put all in order, the largest first; what is unknown comes last."""
        if order not in self._ordered:
            figure = ORDERS[order]
            if order == NAME:
                self._ordered[order] = sorted(self._entries, key=itemgetter(0), reverse=True)
            else:
                self._ordered[order] = sorted(self._entries, key=lambda entry: -_number(figure(entry[1])))
        return self._ordered[order]


def _number(figure: float | None) -> float:
    return -1.0 if figure is None else figure


def _upwards(found: list[Surveyed], order: str) -> list[Surveyed]:
    figure = ORDERS[order]
    known = [each for each in found if figure(each) is not None]
    return [*reversed(known), *(each for each in found if figure(each) is None)]


def haystack(each: Surveyed) -> str:
    """Return what a call is found by: its function, its key and its arguments."""
    form = each.call.form
    at = form.find(ARGUMENTS)
    arguments = "" if at < 0 else form[at + len(ARGUMENTS) :]
    return f"{each.call.function}\n{each.call.key.hex()}\n{arguments}".casefold()


def _needles(word: str) -> tuple[str, str]:
    """Return a word as it is, and as JSON writes it."""
    return word, json.dumps(word, ensure_ascii=False)[1:-1]


class CallIndex:
    """Keeps a listing, and has it made anew beside the work when it has become old."""

    def __init__(self, store: Drawing) -> None:
        self._store = store
        self._making = Lock()
        """Held by who makes a listing."""
        self._renewing = Lock()
        """Held as long as a listing is made beside the work."""
        self._changing = Lock()
        """Held for a moment, by who sets what follows."""
        self._listing: Listing | None = None
        self._expired = 0
        """How often what is stored was changed here."""
        self._took = 0.0
        self._made = 0.0
        """When the listing was made,"""
        self._asked = 0.0
        """and when somebody last asked whether it has become old."""
        self._stamp: object = None
        self._thread: Thread | None = None

    def at_once(self) -> Listing | None:
        """Return the listing that there is, if there is one."""
        listing = self._listing
        age = time.monotonic() - self._asked
        if listing is not None and age > max(FRESH, WORTH * self._took) and self._renewing.acquire(blocking=False):
            self._beside(self._renew)
        return listing

    def current(self) -> Listing:
        """Return a listing at once if there is one; the first one is waited for."""
        return self.at_once() or self._make()

    def expire(self) -> None:
        """Have the next one who asks wait for a new listing: what is stored has been changed here."""
        with self._changing:
            self._expired += 1
            self._listing = None

    def begin(self) -> None:
        """Begin to make the first listing before anybody asks."""
        self._beside(self.current)

    def close(self) -> None:
        """Wait for what goes on beside."""
        if self._thread is not None:
            self._thread.join()

    def _beside(self, work: Callable[..., object], *values: object) -> None:
        def working() -> None:
            # Who asks next is told what is wrong.
            with suppress(MemollmError):
                work(*values)

        self._thread = Thread(target=working, name="memollm-ui-index", daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        try:
            if time.monotonic() - self._made > LONGEST or self._signature() != self._stamp:
                self._make()
            self._asked = time.monotonic()
        finally:
            self._renewing.release()

    def _make(self) -> Listing:
        with self._making:
            while True:
                listing, expired = self._listing, self._expired
                if listing is not None and time.monotonic() - self._made < FRESH:
                    # Somebody else has made it meanwhile.
                    return listing
                begun, stamp = time.monotonic(), self._signature()
                listing = Listing(looking(self._store).survey())
                with self._changing:
                    # What was changed here while it was made may be missing in it.
                    if expired == self._expired:
                        self._made = self._asked = time.monotonic()
                        self._took, self._stamp, self._listing = self._made - begun, stamp, listing
                        return listing

    def _signature(self) -> object:
        return summed([*looking(self._store).counted().values()]), self._store.epoch()
