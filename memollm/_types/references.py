"""References: what a server keeps in the place of a record that stands in a bucket."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from memollm._types.hashing import sha256

MARK: Final = b"@@:"
"""How a reference begins, and no record of ours, also where a bit of that has flipped."""
HEAD: Final = struct.Struct(">3s32sQ")
LONGEST: Final = 1500
"""No reference is longer, since no bucket and prefix are; servers look for one among short records alone."""


class Reference(NamedTuple):
    """Where a record stands."""

    sha: bytes
    """Of the record, which its object is named by."""
    size: int
    place: str
    """The bucket and prefix, as a URL without anything else."""

    @property
    def name(self) -> str:
        """The object's, below the prefix."""
        return f"objects/{self.sha[:1].hex()}/{self.sha.hex()}"

    @property
    def shown(self) -> str:
        """What people find the object by."""
        return f"{self.place}/{self.name}"


def reference_to(record: bytes, place: str) -> bytes:
    """Write a reference to a record."""
    return HEAD.pack(MARK, sha256(record).digest(), len(record)) + place.encode()


def is_reference(record: bytes) -> bool:
    """Tell whether this stands in the place of a record."""
    return record.startswith(MARK) and HEAD.size < len(record) <= LONGEST


def read_reference(record: bytes) -> Reference:
    """Read a reference."""
    _, sha, size = HEAD.unpack_from(record)
    return Reference(sha, size, record[HEAD.size :].decode(errors="replace"))
