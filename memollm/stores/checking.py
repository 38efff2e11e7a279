"""What verifying a cache asks of a store that keeps it on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from memollm._types.samples import Sample
    from memollm.stores.transfer import Entry


class Fault(NamedTuple):
    """Something that is not as it should be."""

    kind: str
    """One of structure, key, record, signature, orphan, catalog."""
    where: str
    what: str
    """What is wrong, and what it means for the user."""


class Kept(NamedTuple):
    """How many there are of the things that are checked beside calls and samples."""

    cursors: int
    ahead: int
    """Cursors past every sample: of pools, or of answers that could not be stored."""
    documents: int
    leftovers: int
    """Processes that died in the middle of a draw, whose positions are free again."""


class Inside(Protocol):
    """The content of a store that may be damaged; reading raises `Unreadable`."""

    def size(self) -> int:
        """Count the samples, as far as can be told."""
        ...

    def faults(self) -> Iterator[Fault]:
        """Check the structure: pages, indexes, rows that belong to nothing, documents."""
        ...

    def kept(self) -> Kept:
        """Count what else there is, as far as can be read."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Give the calls."""
        ...

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give the samples of a call."""
        ...


class Unreadable(Exception):
    """A part of a store cannot be read; the text says why."""


class Repair(Protocol):
    """A repair under way, inside one transaction on what could be read."""

    backup: Path
    """A copy of everything as it was."""
    lost: list[str]
    """What could not be read any more."""
    inside: Inside

    def orphans(self) -> Iterator[tuple[int, int, Sample]]:
        """Give samples whose call is gone: a number for the call, the slot, the sample."""
        ...

    def remove(self, entry: Entry, slot: int | None) -> None:
        """Remove a sample, or with no slot a call with all that it has."""
        ...

    def tidy(self) -> None:
        """Remove what belongs to nothing, and what dead processes left."""
        ...


class Checks(Protocol):
    """Access to a store's files, whatever their state."""

    def inside(self) -> AbstractContextManager[Inside]:
        """Look inside, changing nothing."""
        ...

    def repair(self, stamp: str) -> AbstractContextManager[Repair]:
        """Copy everything, salvage what can be read if the structure is broken, and change it; all or nothing."""
        ...

    def aside(self, stamp: str) -> Path:
        """Say where to keep what cannot stay in the store."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A store whose files can be checked."""

    def checks(self) -> Checks:
        """Give access to the files."""
        ...
