"""The outside of a record, `KV:check:rest`: what kind it is, whether its bytes are as written, and how they are packed.

K says how the value was written (lower case: and compressed), V is the version of that form, and the check is a short
hash of everything else.
"""

from __future__ import annotations

import zlib
from typing import cast

from xxhash import xxh3_64_hexdigest

from memollm._types.references import is_reference, read_reference
from memollm._types.samples import Absent
from memollm.errors import DamagedRecord, MissingRecord, StaleRecord

JSON, TREE, CLASSES, PICKLE = b"J1", b"T1", b"C1", b"P1"
SIGNED = (CLASSES, PICKLE)
_KNOWN = (JSON, TREE, *SIGNED)

LARGE = 32 << 10
"""From how many bytes on reading a record may take milliseconds, which no event loop is to be held for."""

HEAD = 12
SIGNATURE_LENGTH = 42  # Eight digits of the key's id, 32 of the signature, a colon after each.
JSON_HEAD = JSON + b":"

# Text up to a page of SQLite stays as it is, so that it can be read there and costs no unpacking.
_COMPRESS_FROM = 4096
_PROBE = 16_384
_PAYS_BELOW = 0.75
_LARGEST_UNPACKED = 1 << 28
_LONGEST_SIZE = 10
_LARGEST_RATIO = 1040  # What zlib reaches at most.


ANEW = 'To have it made anew, .forget its call, or draw it with mode="refresh"; memollm verify lists all such samples'
"""What to do about a record that cannot be read again."""


def check(rest: bytes, seed: int) -> bytes:
    """Hash what follows the head; the kind is the seed."""
    return b"%b:" % xxh3_64_hexdigest(rest, seed)[:8].encode()


JSON_SEED = int.from_bytes(JSON, "big")


def framed(kind: bytes, rest: bytes) -> bytes:
    """Put the head before the rest."""
    return b"%b:%b%b" % (kind, check(rest, int.from_bytes(kind, "big")), rest)


def unframed(record: bytes) -> tuple[bytes, bytes]:
    """Give kind and rest of a record, if it is as it was written and of a form that is known here."""
    if type(record) is not bytes:
        _refuse(record)
    if is_reference(record):
        raise MissingRecord(
            f"the record stands in a bucket, as {read_reference(record).shown}, and this cache was opened without it: "
            f"give the cache tier={read_reference(record).place!r}, or set MEMOLLM_TIER"
        )
    kind, rest = record[:2], record[HEAD:]
    if record[2:HEAD] != b":" + check(rest, int.from_bytes(kind, "big")):
        raise DamagedRecord(f"the record's bytes are not what was written (its check does not fit). {ANEW}")
    if kind.upper() not in _KNOWN:
        raise StaleRecord(f"the record has the form {kind!r}, which this version of memollm does not know: upgrade it")
    return kind, rest


def _refuse(record: object) -> None:
    """Say why what stands in the place of a record is none."""
    if isinstance(record, Absent):
        raise record.error
    if not isinstance(record, bytes):
        # In a database that was damaged, or that somebody else wrote.
        raise DamagedRecord(f"a {type(record).__name__} stands in the place of the record. {ANEW}")


def weight(record: bytes) -> int:
    """Return how many bytes reading a record is about: as many as it has, or as it announces to unpack to."""
    if not isinstance(cast("object", record), bytes):
        # Whoever reads it refuses it at once.
        return 0
    kind = record[:2]
    if not kind[:1].islower():
        return len(record)
    start = HEAD + (SIGNATURE_LENGTH if kind.upper() in SIGNED else 0)
    announced = record[start : start + _LONGEST_SIZE].partition(b":")[0]
    return int(announced) if announced.isdigit() else len(record)


def split(record: bytes) -> tuple[bytes, bytes]:
    """Divide a record into head and body, if the body is as it was written; one that is packed has no head."""
    kind = record[:2]
    if kind == PICKLE or kind not in _KNOWN:
        return b"", record
    length = HEAD + (SIGNATURE_LENGTH if kind in SIGNED else 0)
    return record[:length], record[length:]


def packed(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Compress a body where it pays, and give its kind and form then."""
    if not _COMPRESS_FROM <= len(body) <= _LARGEST_UNPACKED or not _seems_to_pay(body):
        return kind, body
    small = zlib.compress(body)
    return (kind.lower(), b"%d:%b" % (len(body), small)) if len(small) < _PAYS_BELOW * len(body) else (kind, body)


def unpacked(kind: bytes, rest: bytes) -> bytes:
    """Undo `packed`, allocating no more than the record can honestly need."""
    if kind == kind.upper():
        return rest
    length, _, small = rest.partition(b":")
    size = int(length) if length.isdigit() else -1
    if not 0 <= size <= min(_LARGEST_UNPACKED, len(small) * _LARGEST_RATIO):
        raise DamagedRecord(f"the record of {len(rest)} bytes announces an absurd size, {length[:20]!r}. {ANEW}")
    unpacking = zlib.decompressobj()
    body = unpacking.decompress(small, size + 1)
    if len(body) != size or not unpacking.eof or unpacking.unused_data:
        raise DamagedRecord(f"the record does not unpack to the {size} bytes that it announces. {ANEW}")
    return body


def _seems_to_pay(body: bytes) -> bool:
    """Compress a piece quickly first: numbers of an array would cost much time and gain nothing."""
    if len(body) <= 2 * _PROBE:
        return True
    start = len(body) // 2
    return len(zlib.compress(body[start : start + _PROBE], 1)) < _PAYS_BELOW * _PROBE
