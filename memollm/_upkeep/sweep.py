"""Sweeping a tier's bucket: objects that nothing refers to are set aside, and go for good with a later sweep."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from memollm._types.durations import seconds_of
from memollm._types.public import public
from memollm._types.references import read_reference
from memollm._types.secret import masked_url
from memollm._types.tables import counted, size_text
from memollm._upkeep.transfer import transfer_of
from memollm.errors import OptionError, StoreReadOnly, StoreRefused
from memollm.stores.shown import shown_store
from memollm.stores.there import existing, missing_part
from memollm.stores.tier.bucket import BucketTierStore
from memollm.stores.tier.naming import noted_bucket
from memollm.stores.tier.objects import ASIDE, CACHES, aside, together
from memollm.stores.transfer import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memollm.stores.drawing import Drawing
    from memollm.stores.s3.bucket import Bucket, Listed

AGE_LEAST: Final = 3600.0
"""Seconds; whoever has put an object tells the server of it long before."""
SHA_BYTES: Final = 32
FOLDER: Final = "objects"
CLOCK: Final = "clock"
MANY: Final = 500
"""How many objects are removed by one request."""


@public
@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did to the objects of a bucket, or with `dry_run` would do."""

    kept: int
    """Objects that samples refer to."""
    young: int
    """Those that nothing refers to and that are too young to be touched."""
    set_aside: int
    """Those that nothing refers to: set aside, to go with a later sweep."""
    set_aside_bytes: int
    removed: int
    """Those that were set aside long enough ago: gone for good."""
    removed_bytes: int
    put_back: int
    """Those that were set aside and that a sample refers to."""

    def __str__(self) -> str:
        parts = [
            f"{counted(self.kept, 'object')} in use",
            f"{self.set_aside:,} set aside ({size_text(self.set_aside_bytes)})",
            f"{self.removed:,} removed for good ({size_text(self.removed_bytes)})",
        ]
        if self.put_back:
            parts.append(f"{self.put_back:,} put back")
        if self.young:
            parts.append(f"{self.young:,} unused, but too young")
        return ", ".join(parts)


def age_of(older_than: object) -> float:
    """Read the age from which on an object may be swept."""
    seconds = seconds_of("older_than", older_than)
    if seconds < AGE_LEAST:
        raise OptionError(
            f"older_than={older_than!r} is less than an hour. A program that has just put an object may not have told "
            'the server of it yet: give at least "1h".'
        )
    return seconds


def sweep(caches: Iterable[Drawing], *, seconds: float, dry_run: bool, told: Callable[[int, int], object]) -> Swept:
    """Set objects aside that no cache of a bucket refers to, and remove what was set aside as long ago."""
    stores = [*map(_with_bucket, caches)]
    (place, *rest) = dict.fromkeys(store.objects.place for store in stores)
    if rest:
        raise OptionError(f"sweep: the bucket of one of these caches is {place}, and of others {rest[0]}. Sweep each.")
    for store in stores:
        _require_made(store)
    bucket = cast("Bucket", stores[0].objects.bucket)
    _require_all(bucket, stores)
    now = _now(bucket, dry_run=dry_run)
    used = _used(stores, told)
    return _Sweeping(bucket, used, now - seconds, dry_run=dry_run).done()


def _with_bucket(store: Drawing) -> BucketTierStore:
    if isinstance(store, BucketTierStore):
        return store
    named = None
    with suppress(StoreRefused):
        named = noted_bucket(existing(store))
    shown = shown_store(store)
    if named is None:
        advice = "Name a cache that has one: --cache URL, and its bucket with MEMOLLM_TIER, or Cache(url, tier=…)."
    else:
        advice = f"Its large samples stand in {named}: give tier={named!r}, or set MEMOLLM_TIER."
    raise OptionError(f"sweep is about a bucket before a server (tier='s3://…'), and {shown} has none. {advice}")


def _require_made(store: BucketTierStore) -> None:
    """Refuse to sweep for a cache that nobody has made: every object of its bucket would seem to be unused."""
    if part := missing_part(store):
        raise OptionError(
            f"there is no cache at {shown_store(store)}, in {part}, so nothing tells which objects of its bucket are "
            "in use. Look at the URL; nothing was swept."
        )


def _require_all(bucket: Bucket, stores: Sequence[BucketTierStore]) -> None:
    """Refuse to sweep where the bucket knows of a cache that nobody has named: its objects would seem to be unused."""
    known = {each.noted.cache() for each in stores}
    missing = [each.name for each in bucket.listed(CACHES) if _cache_of(each.name) not in known]
    if not missing:
        return
    said = [f"{_where(bucket, name)} ({name})" for name in missing]
    raise OptionError(
        f"{stores[0].objects.place} has objects of other caches, too: {', '.join(said)}. Name each: others=[…], or "
        "memollm sweep --other URL. If one is gone for good, remove the object in brackets."
    )


def _cache_of(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")


def _where(bucket: Bucket, name: str) -> str:
    with suppress(ValueError, AttributeError):
        return masked_url(str(json.loads(bucket.get(name) or b"{}").get("where"))) or "a cache"
    return "a cache"


def _now(bucket: Bucket, *, dry_run: bool) -> float:
    """Ask for the bucket's time by an object, which also shows that this user may put and remove some."""
    name = f"{CLOCK}/{secrets.token_hex(8)}"
    try:
        bucket.put(name, secrets.token_bytes(8))
        now = bucket.modified(name)
        bucket.remove([name])
    except StoreReadOnly:
        if not dry_run:
            raise
        return time.time()
    return 0.0 if now is None else now


def _used(stores: Sequence[BucketTierStore], told: Callable[[int, int], object]) -> set[bytes]:
    """Read which objects samples refer to, by what they hold."""
    used: set[bytes] = set()
    for store in stores:
        # Asked of the server itself, which gives references.
        with transfer_of(store.server).snapshot() as snapshot:
            total = snapshot.size(Part())
            seen = 0
            for entry in snapshot.entries(Part()):
                for _, sample in snapshot.samples(entry):
                    seen += 1
                    told(seen, total)
                    if store.objects.has_place_of(sample.record):
                        used.add(read_reference(sample.record).sha)
    return used


class _Sweeping:
    """Looks at the objects of a bucket, and counts what becomes of them."""

    def __init__(self, bucket: Bucket, used: set[bytes], before: float, *, dry_run: bool) -> None:
        self._bucket = bucket
        self._used = used
        self._before = before
        self._dry_run = dry_run
        self.kept = self.young = self.put_back = 0
        self._aside: list[int] = []
        self._removed: list[int] = []

    def done(self) -> Swept:
        """Sweep. What was set aside is looked at first, so that nothing goes at once."""
        for some in _in_parts(self._bucket.listed(ASIDE)):
            self._end(some)
        for some in _in_parts(self._bucket.listed(FOLDER)):
            self._begin(some)
        if not self._dry_run:
            # Those of sweeps that broke off.
            self._bucket.remove(
                [each.name for each in self._bucket.listed(CLOCK) if each.modified < self._before][:MANY]
            )
        return Swept(
            self.kept,
            self.young,
            len(self._aside),
            sum(self._aside),
            len(self._removed),
            sum(self._removed),
            self.put_back,
        )

    def _end(self, some: Sequence[Listed]) -> None:
        """Remove what was set aside long ago for good; put back what is in use after all."""
        used = [each for each in some if _sha_of(each.name) in self._used]
        lacking = [each for each, there in zip(used, together(self._is_in_place, used), strict=True) if not there]
        old = [each for each in some if each.modified < self._before and each not in lacking]
        self.put_back += len(lacking)
        self._removed += [each.size for each in old if each not in used]
        if not self._dry_run:
            together(lambda each: self._bucket.copy(each.name, _in_place(each.name)), lacking)
            # What was put back stays here, too, until a later sweep: somebody may be looking for it here.
            self._bucket.remove([each.name for each in old])

    def _is_in_place(self, each: Listed) -> bool:
        return self._bucket.modified(_in_place(each.name)) is not None

    def _begin(self, some: Sequence[Listed]) -> None:
        """Set aside what nothing refers to."""
        unused = [each for each in some if _sha_of(each.name) not in self._used]
        old = [each for each in unused if each.modified < self._before]
        self.kept += len(some) - len(unused)
        self.young += len(unused) - len(old)
        self._aside += [each.size for each in old]
        if not self._dry_run:
            together(lambda each: self._bucket.copy(each.name, aside(each.name)), old)
            self._bucket.remove([each.name for each in old])


def _in_parts(listed: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Give those that are named as objects are, some at a time; whatever else is there is none of ours."""
    some: list[Listed] = []
    for each in listed:
        if _sha_of(each.name):
            some.append(each)
        if len(some) == MANY:
            yield some
            some = []
    yield some


def _sha_of(name: str) -> bytes:
    """Return the hash that an object is named by; none, where it is not."""
    with suppress(ValueError):
        found = bytes.fromhex(name.rpartition("/")[2])
        if len(found) == SHA_BYTES and name.endswith(f"/{found[:1].hex()}/{found.hex()}"):
            return found
    return b""


def _in_place(name: str) -> str:
    return f"{FOLDER}/{name.partition('/')[2]}"
