"""What the page asks for: calls by words, one call, what was drawn, and why a call was made."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from memollm._keys.keyer import hash_of
from memollm._types.calls import Call
from memollm._upkeep.explain import COMPARED, Difference, explain, nearest_of
from memollm._views.finding import described
from memollm._views.functions import all_versions
from memollm._views.report.collect import Bounds, Room, asked_of, named, turn_of, written
from memollm._views.runs import known_runs
from memollm._views.turns import turns
from memollm.errors import OptionError
from memollm.stores.looking import looking
from memollm.stores.transcripts import transcript_of
from memollm.ui.data import (
    CallData,
    DrawnBy,
    FoundCalls,
    FunctionVersions,
    Reasons,
    TurnsData,
    VersionData,
)
from memollm.ui.index import ORDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memollm._cache import Cache
    from memollm._types.counting import DrawnStretch
    from memollm._types.listings import Surveyed
    from memollm._upkeep.explain import Neighbour
    from memollm._views.report.data import Asked
    from memollm.ui.index import Listing

SUMMARY: Final = Bounds(samples=0, text=0)
"""A call by its figures alone."""
MOST_ROWS: Final = 500
MOST_SAMPLES: Final = 2000
WHOLE: Final = Bounds(characters=100_000, text=20_000_000)
"""Of one call, or of a stretch of a transcript."""


def summary(cache: Cache, surveyed: Surveyed, show: Sequence[str]) -> Asked:
    """Read a call by its figures."""
    return asked_of(cache, surveyed, show, SUMMARY, Room(SUMMARY))


def found_calls(
    cache: Cache,
    listing: Listing,
    show: Sequence[str],
    *,
    text: str,
    function: str | None,
    order: str,
    descending: bool,
    start: int,
    rows: int,
) -> FoundCalls:
    """Find calls by words."""
    if order not in ORDERS:
        raise OptionError(f"order={order!r} is none; there are {', '.join(ORDERS)}.")
    if function is not None:
        function = whole_name(function, (each.call.function for each in listing.surveyed))
    found = listing.sought(text, function, order, descending=descending)
    shown = found[start : start + min(rows, MOST_ROWS)]
    return FoundCalls(
        tuple(summary(cache, each, show) for each in shown), len(found), len(listing.surveyed), listing.looked
    )


def call_data(cache: Cache, listing: Listing, show: Sequence[str], key: str, samples: int) -> list[CallData]:
    """Read the calls of a key, of which there are several only if their hashes are equal."""
    bounds = replace(WHOLE, samples=min(samples, MOST_SAMPLES))
    return [
        CallData(
            asked_of(cache, each, show, bounds, Room(bounds)),
            tuple(
                DrawnBy(kind, named(name), reader.draws, tuple(map(named, reader.lanes)))
                for reader in looking(cache.store).readers_of(each.call)
                for kind, _, name in (reader.reader.partition(":"),)
            ),
        )
        for each in _of_key(listing, key)
    ]


def _of_key(listing: Listing, key: str) -> list[Surveyed]:
    found = listing.by_key.get(key)
    if not found:
        raise OptionError(f"No stored call has the key {key[:40]!r} (any more).")
    return found


def turns_data(
    cache: Cache, *, run: str | None, namespace: str | None, lane: str | None, start: int, rows: int
) -> TurnsData:
    """Read a stretch of what a run or a namespace drew, in the order of asking."""
    run = None if run is None else whole_name(run, (each.id for each in known_runs(cache)))
    namespace = None if namespace is None else whole_name(namespace, (each.name for each in cache.namespaces()))
    drawn = transcript_of(cache.store, run=run, namespace=namespace)
    if lane is not None:
        lane = whole_name(lane, (each.lane for each in drawn))
        drawn = transcript_of(cache.store, run=run, namespace=namespace, lane=lane)
    number = sum(each.last + 1 - each.first for each in drawn)
    lanes = sorted({each.lane for each in drawn})
    room = Room(WHOLE)
    read = islice(turns(cache, _from(drawn, start)), min(rows, MOST_ROWS))
    return TurnsData(tuple(turn_of(each, room) for each in read), number, tuple(map(named, lanes)))


def _from(drawn: Sequence[DrawnStretch], start: int) -> Iterator[DrawnStretch]:
    """Pass over so many samples."""
    for each in drawn:
        number = each.last + 1 - each.first
        if start < number:
            yield each._replace(first=each.first + start) if start else each
        start = max(0, start - number)


# Why a call was made.


def why_made(cache: Cache, listing: Listing, key: str) -> list[Reasons]:
    """Compare a stored call with those that were stored before it, which says why it was no hit."""
    return [_why(cache, each) for each in _of_key(listing, key)]


def _why(cache: Cache, surveyed: Surveyed) -> Reasons:
    call = surveyed.call
    stored = looking(cache.store).calls(call.function)
    at = next((at for at, each in enumerate(stored) if each.call == call), len(stored))
    before = [each for each in stored[max(0, at - COMPARED) : at] if each.samples]
    near, notes = nearest_of(cache.store, call.function, call.form, before)
    if not before:
        notes = ["It was the first stored call of its function."]
    return _reasons(call, surveyed.samples, near, "\n".join(notes))


def explained(cache: Cache, form: str) -> Reasons:
    """Explain a call by its canonical text, as a miss says it."""
    form = form.strip()
    try:
        document: Any = json.loads(form)
        name = document["function"]["name"]
    except (ValueError, TypeError, KeyError, RecursionError):
        name = None
    if not isinstance(name, str) or described(form).arguments is None:
        raise OptionError(
            "This is no canonical text of a call. A CacheMiss and f.explain(...) write it, as one object of JSON with "
            '"memollm", "function" and "arguments".'
        )
    call = Call(hash_of(form), form, name)
    told = explain(cache.store, call, form)
    return _reasons(call, told.samples, told.nearest, told.note)


def _reasons(call: Call, samples: int, nearest: Sequence[Neighbour], note: str) -> Reasons:
    return Reasons(
        named(call.function),
        call.key.hex(),
        samples,
        tuple(
            replace(near, differences=tuple(Difference(*map(written, astuple(each))) for each in near.differences))
            for near in nearest
        ),
        written(note),
    )


def versions(cache: Cache) -> list[FunctionVersions]:
    """List the functions that have more versions than one, or others that their samples could be given to."""
    return [
        FunctionVersions(
            named(name),
            tuple(
                VersionData(named(each.version), each.calls, each.samples, each.first, each.role)
                for each in reversed(listed)
            ),
        )
        for name, listed in all_versions(cache).items()
    ]


def whole_name(asked: str, known: Iterable[str]) -> str:
    """Return the name that a page means, which has long names cut and odd letters written as escapes."""
    names = {*known}
    found = [asked] if asked in names else [name for name in names if named(name) == asked]
    if len(found) > 1:
        raise OptionError(f"{len(found)} names begin with {asked[:40]!r} and are too long to be told apart here.")
    return found[0] if found else asked
