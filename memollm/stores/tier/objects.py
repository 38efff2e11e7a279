"""Records in a bucket: each an object that is named by what it holds, put before anything refers to it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memollm._types.references import is_reference, read_reference, reference_to
from memollm._types.samples import Absent
from memollm._types.warn import warn
from memollm.errors import MemollmError, MemollmWarning, MissingRecord, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from memollm._types.references import Reference

    class Bucketlike(Protocol):
        """What is asked of a bucket."""

        def put(self, name: str, body: bytes, *, patience: float | None = None) -> bool:
            """Put an object where there is none; tell whether this one is there then."""
            ...

        def get(self, name: str, *, patience: float | None = None) -> bytes | None:
            """Read an object, if it is there."""
            ...


Each = TypeVar("Each")
Result = TypeVar("Result")
LEAST: Final = 16 << 10
"""From how many bytes on a record is an object; a server is asked for a smaller one in less than a bucket takes."""
AT_A_TIME: Final = 8
"""How many requests a bucket is sent at one time."""
CACHES: Final = "caches"
"""Where a bucket has the names of the caches whose objects these are."""
ASIDE: Final = "swept"
"""Where objects are that nothing referred to, until they go for good. A record that is looked for is found there."""
ANEW: Final = 'To have it made anew, .forget its call, or draw it with mode="refresh"'


class RecordObjects:
    """Puts large records into a bucket, and has them from there."""

    def __init__(self, bucket: Bucketlike, place: str, *, least: int = LEAST) -> None:
        """`place` is the bucket and prefix as a URL: what references say."""
        self.place = place
        self.bucket = bucket
        self._least = least
        self._has_warned = False
        self._waited_in_vain = False

    def _asked(self, ask: Callable[..., Result], *what: Any) -> Result:
        """Ask the bucket. Whoever has waited for it in vain asks once and does not wait, until it has answered."""
        try:
            answer = ask(*what, patience=0.0 if self._waited_in_vain else None)
        except StoreUnavailable:
            self._waited_in_vain = True
            raise
        self._waited_in_vain = False
        return answer

    # Putting.

    def is_large(self, record: bytes) -> bool:
        """Tell whether a record is to be an object."""
        return len(record) >= self._least or is_reference(record)

    def referred(self, record: bytes) -> bytes:
        """Return what a server is to keep: a reference, once the record is in the bucket, or else the record."""
        if not self.is_large(record):
            return record
        try:
            reference = reference_to(record, self.place)
            if self._asked(self.bucket.put, read_reference(reference).name, record):
                return reference
            error: MemollmError = MissingRecord(f"{read_reference(reference).shown} is another object")
        except StoreError as failed:
            error = failed
        self._warn(error)
        return record

    def referred_all(self, records: Iterable[bytes]) -> dict[bytes, bytes]:
        """Do so with several at a time."""
        each = [*dict.fromkeys(records)]
        return dict(zip(each, together(self.referred, each), strict=True))

    def _warn(self, error: MemollmError) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(f"Large records are kept by the server as long as the tier takes none: {error}", MemollmWarning)

    def told_of(self, cache: str, body: bytes) -> bool:
        """Let the bucket know of a cache that puts objects there; tell whether it does."""
        name = f"{CACHES}/{cache}.json"
        try:
            if self._asked(self.bucket.get, name) is None:
                self._asked(self.bucket.put, name, body)
        except StoreError as error:
            self._warn(error)
            return False
        return True

    # Having.

    def has_place_of(self, record: bytes) -> bool:
        """Tell whether this refers to an object of this bucket."""
        return is_reference(record) and read_reference(record).place == self.place

    def whole(self, record: bytes) -> bytes:
        """Return the record that a reference stands for; what stands in its place says why it cannot be had."""
        if not is_reference(record):
            return record
        reference = read_reference(record)
        try:
            if reference.place != self.place:
                return _absent(record, f"the record stands in another bucket: give the cache tier={reference.place!r}")
            found = self._asked(self.bucket.get, reference.name)
            if found is None:
                found = self._had_aside(reference)
        except StoreError as error:
            absent = _absent(record, f"the record stands in a bucket as {reference.shown}, and cannot be had: {error}")
            absent.error.__cause__ = error
            return absent
        if found is None:
            return _absent(
                record, f"the record was put into a bucket, and {reference.shown} is not there any more. {ANEW}"
            )
        if hashlib.sha256(found).digest() != reference.sha:
            return _absent(record, f"{reference.shown} is not the record that was put there. {ANEW}")
        return found

    def _had_aside(self, reference: Reference) -> bytes | None:
        """Return an object that was set aside; it is put back, since something refers to it."""
        found: bytes | None = self._asked(self.bucket.get, aside(reference.name))
        if found is not None:
            # Who may only read is given it all the same.
            with suppress(StoreError):
                self.bucket.put(reference.name, found, patience=0.0)
        return found

    def whole_all(self, records: Iterable[bytes]) -> dict[bytes, bytes]:
        """Do so with several at a time."""
        each = [*dict.fromkeys(records)]
        return dict(zip(each, together(self.whole, each), strict=True))

    def look(self) -> str:
        """Tell whether the bucket answers."""
        self.bucket.get("objects/none")
        return f"{self.place} answers"


def aside(name: str) -> str:
    """Return the name by which an object is found that was set aside."""
    return f"{ASIDE}/{name.partition('/')[2]}"


def required(record: bytes) -> bytes:
    """Return a record; raise why, if it could not be had."""
    if type(record) is Absent:
        raise record.error
    return record


def _absent(reference: bytes, why: str) -> Absent:
    absent = Absent(reference)
    absent.error = MissingRecord(f"{why}.")
    return absent


def together(work: Callable[[Each], Result], each: Sequence[Each]) -> list[Result]:
    """Do work that waits for a network with several things at one time."""
    if len(each) <= 1:
        return [work(one) for one in each]
    with ThreadPoolExecutor(min(AT_A_TIME, len(each)), thread_name_prefix="memollm-tier") as pool:
        try:
            begun = [pool.submit(work, one) for one in each]
        except RuntimeError:
            # At the end of the interpreter no thread begins any more.
            return [work(one) for one in each]
        return [one.result() for one in begun]
