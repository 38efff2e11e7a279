"""Verifying what a cache holds, and repairing it so that everything that can be read stays."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from memollm._keys.keyer import KEY_BYTES, hash_of
from memollm._types.calls import Call
from memollm._types.references import read_reference
from memollm._types.samples import Absent, is_sound
from memollm._types.tables import counted
from memollm._upkeep.transfer.exporting import snapshot_of
from memollm._upkeep.transfer.lines import CallLine, encode, sample_line
from memollm.errors import (
    MissingRecord,
    OptionError,
    RecordError,
    StaleRecord,
    StoreRefused,
    UntrustedRecord,
    printable,
)
from memollm.stores.checking import Checkable, Fault, Kept, Unreadable
from memollm.stores.reading import ReadingStore
from memollm.stores.shown import shown_store
from memollm.stores.there import missing_part
from memollm.stores.transfer import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from memollm._types.samples import Sample
    from memollm._values.codec import Codec
    from memollm.stores.checking import Checks, Inside, Repair
    from memollm.stores.drawing import Drawing
    from memollm.stores.transfer import Entry, Snapshot

DIGEST: Final = "blake2b:"


class Repaired(NamedTuple):
    """What a repair did."""

    backup: Path
    """A copy of everything as it was before."""
    aside: Path | None
    """What could not stay in the cache and can still be read, in the form of an export's lines."""
    moved: int
    """Samples that were moved there."""
    lost: tuple[str, ...]
    """What could not be read any more, a sentence each."""
    remaining: tuple[Fault, ...]
    """Faults that are there still."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, and what was found."""

    calls: int
    samples: int
    untrusted: int
    """Samples that a key unknown here has signed; nothing is wrong with them, and they are not read."""
    newer: int
    """Samples of a form that only a later version of memollm knows."""
    kept: Kept
    faults: tuple[Fault, ...]
    repaired: Repaired | None = None
    elsewhere: int = 0
    """Samples that stand in a bucket which this program has not named; they were not checked."""
    bucket: str = ""
    """That bucket, as `tier=` names it."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, or not any more."""
        return not (self.faults if self.repaired is None else self.repaired.remaining)

    def __str__(self) -> str:
        checked = (
            f"checked {self.calls:,} calls, {self.samples:,} samples, {self.kept.cursors:,} cursors and "
            f"{self.kept.documents:,} documents: {_number_of(self.faults)}"
        )
        lines = [checked]
        lines += [f"{fault.kind}: {fault.where}: {fault.what}" for fault in self.faults]
        lines += [f"note: {note}" for note in self._notes()]
        if self.repaired is not None:
            lines += _told(self.repaired)
        return "\n".join(map(printable, lines))

    def _notes(self) -> Iterator[str]:
        if self.untrusted:
            yield f"{self.untrusted:,} samples are signed by a key that is not trusted here: Cache(...).trust(it)"
        if self.newer:
            yield f"{self.newer:,} samples were written by a later memollm; upgrade it to read them"
        if self.elsewhere:
            yield (
                f"not checked, because this program has not named their bucket: {counted(self.elsewhere, 'sample')} in "
                f"{self.bucket}; give the cache tier={self.bucket!r}, or set MEMOLLM_TIER"
            )
        if self.kept.ahead:
            yield f"cursors past every sample: {self.kept.ahead:,}, as pools and draws that came to nothing leave them"
        if self.kept.leftovers:
            yield f"processes that died while they drew: {self.kept.leftovers:,}; what they had is free again"


def _told(repaired: Repaired) -> list[str]:
    lines = [f"copied everything as it was to {repaired.backup}"]
    if repaired.aside is not None:
        lines.append(f"moved {repaired.moved:,} samples that nobody could draw to {repaired.aside}")
    lines += [f"lost: {each}" for each in repaired.lost]
    return [*lines, f"repaired: {_number_of(repaired.remaining)} left"]


def _number_of(faults: Sequence[Fault]) -> str:
    return {0: "no fault", 1: "1 fault"}.get(len(faults), f"{len(faults):,} faults")


class Finding(NamedTuple):
    """A fault of a call, or of one of its samples."""

    fault: Fault
    entry: Entry
    slot: int | None
    sample: Sample | None


class Content:
    """Checks calls and samples, one by one, and counts them."""

    def __init__(self, codec: Codec, told: Callable[[int, int], object]) -> None:
        self._codec = codec
        self._told = told
        self.calls = self.samples = self.untrusted = self.newer = self.elsewhere = 0
        self.bucket = ""

    def findings(self, inside: Inside) -> Iterator[Finding]:
        """Read everything; whatever is wrong is a finding, and reading goes on as long as it can."""
        total = inside.size()
        for entry in inside.entries():
            self.calls += 1
            wrong = fault_of(entry.call)
            if wrong is not None:
                yield Finding(wrong, entry, None, None)
            try:
                for slot, sample in inside.samples(entry):
                    self.samples += 1
                    self._told(self.samples, total)
                    fault = None if wrong is not None else self._fault_of_sample(entry.call, slot, sample)
                    if fault is not None:
                        yield Finding(fault, entry, slot, sample)
            except Unreadable as error:
                what = f"not all of its samples can be read ({error}); a repair salvages what can"
                yield Finding(Fault("structure", _place(entry.call), what), entry, None, None)

    def _fault_of_sample(self, call: Call, slot: int, sample: Sample) -> Fault | None:
        where = f"{_place(call)} slot {slot}"
        advice = "forget the call, or have a repair move the sample aside"
        if not is_a(sample.record, bytes):
            return Fault("record", where, f"the record is no record; {advice}")
        if not is_sound(slot, sample):
            return Fault("record", where, f"what stands beside the record is no time or no amount; {advice}")
        record = sample.record
        try:
            self.untrusted += not self._codec.is_trusted(record, context=call.key)
        except StaleRecord:
            self.newer += 1
        except MissingRecord as error:
            if type(record) is Absent:
                return Fault("record", where, str(error))
            self.elsewhere += 1
            self.bucket = read_reference(record).place
        except UntrustedRecord:
            return Fault(
                "signature", where, "it says that a key of yours signed it, and that is not so; it is never read"
            )
        except RecordError as error:
            return Fault("record", where, f"{error}; {advice}")
        return None


def _place(call: Call) -> str:
    return f"{call.function} {_hex(call.key)}"


def _hex(key: bytes) -> str:
    return key.hex() if is_a(key, bytes) else repr(key)


def is_a(value: object, kind: type) -> bool:
    """Tell whether damage has left a value what it is declared to be."""
    return isinstance(value, kind)


def fault_of(call: Call) -> Fault | None:
    """Tell what is wrong with a call: its form must be one, and its key the hash of it."""
    advice = "its samples are found by no draw; a repair moves them aside"
    if not all(map(is_a, (call.key, call.form, call.function), (bytes, str, str))) or len(call.key) != KEY_BYTES:
        return Fault("key", _place(call), f"its row is damaged; {advice}")
    if call.form.startswith(DIGEST):
        return None
    try:
        form = json.loads(call.form)
    except (ValueError, RecursionError):
        form = None
    if not isinstance(form, dict) or not {"memollm", "function", "arguments"} <= form.keys():
        return Fault("key", _place(call), f"its form is no canonical form; {advice}")
    if hash_of(call.form) != call.key:
        return Fault("key", _place(call), f"its key is not that of its form, one of which was changed; {advice}")
    return None


class Plain:
    """The inside of a store that has no files: only calls and samples can be checked."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.samples = snapshot.samples

    def size(self) -> int:
        """Return how many samples there are."""
        return self._snapshot.size(Part())

    def faults(self) -> Iterator[Fault]:
        """Give the faults of what is stored, beside those of samples."""
        return iter(())

    def kept(self) -> Kept:
        """Count what is kept besides samples."""
        return Kept(sum(len(self._snapshot.cursors(entry)) for entry in self.entries()), 0, 0, 0)

    def entries(self) -> Iterator[Entry]:
        """Give every call."""
        return self._snapshot.entries(Part())


def _without_repair(store: Drawing) -> str:
    shown = shown_store(store)
    if isinstance(store, ReadingStore) and hasattr(store.base, "files"):
        return f"repair: {shown} cannot be written by this user. Have a user repair it who may write it."
    return (
        f"repair mends the file of a cache on a disk, and {shown} has none. To look for what is wrong, leave --repair "
        "(repair=True) out; a server's data is restored from its own backup."
    )


def verify(store: Drawing, codec: Codec, *, repair: bool, told: Callable[[int, int], object]) -> Verified:
    """Check a store, and repair it if that is asked for and needed."""
    if not isinstance(store, Checkable):
        if repair:
            raise OptionError(_without_repair(store))
        if part := missing_part(store):
            raise StoreRefused(
                f"There is no cache at {shown_store(store)}, in {part}. Look at the URL; nothing was checked."
            )
        with snapshot_of(store) as snapshot:
            return examine(Plain(snapshot), codec, told)
    checks = store.checks()
    with checks.inside() as inside:
        found = examine(inside, codec, told)
    if not repair or not (found.faults or found.kept.leftovers):
        return found
    backup, aside, moved, lost = mend(checks, codec)
    with checks.inside() as inside:
        remaining = examine(inside, codec, told).faults
    repaired = Repaired(backup, aside, moved, lost, remaining)
    return Verified(found.calls, found.samples, found.untrusted, found.newer, found.kept, found.faults, repaired)


def examine(inside: Inside, codec: Codec, told: Callable[[int, int], object]) -> Verified:
    """Check everything."""
    content, faults = Content(codec, told), list(inside.faults())
    try:
        faults += [finding.fault for finding in content.findings(inside)]
    except Unreadable as error:
        what = f"not all calls can be read ({error}); a repair salvages what can"
        faults.append(Fault("structure", "table call", what))
    counts = content.calls, content.samples, content.untrusted, content.newer
    elsewhere, bucket = content.elsewhere, content.bucket
    return Verified(*counts, inside.kept(), tuple(faults), elsewhere=elsewhere, bucket=bucket)


def mend(checks: Checks, codec: Codec) -> tuple[Path, Path | None, int, tuple[str, ...]]:
    """Repair; return where the copy is, where what was moved is, how many samples that are, and what was lost."""
    # Two repairs in one second keep a copy each.
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"
    with checks.repair(stamp) as repair, Aside(checks.aside(stamp)) as aside:
        findings = list(Content(codec, lambda _done, _total: None).findings(repair.inside))
        for finding in findings:
            _move(repair, finding, aside)
        for call, slot, sample in repair.orphans():
            aside.put(Call(b"", f"the call of number {call}, which is gone", ""), slot, sample)
        aside.finish()
        repair.tidy()
        return repair.backup, aside.path, aside.samples, tuple(repair.lost)


def _move(repair: Repair, finding: Finding, aside: Aside) -> None:
    _, entry, slot, sample = finding
    if slot is not None and sample is not None:
        aside.put(entry.call, slot, sample)
    else:
        for at, each in list(repair.inside.samples(entry)):
            aside.put(entry.call, at, each)
    repair.remove(entry, slot)


class Aside:
    """A file for samples that cannot stay; it is made with the first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._write: Callable[[bytes], object] | None = None
        self._sync: Callable[[], object] = lambda: None
        self.samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def path(self) -> Path | None:
        """Where it is, if there is anything in it."""
        return self._path if self.samples else None

    def put(self, call: Call, slot: int, sample: Sample) -> None:
        """Keep a sample, with its call."""
        if self._write is None:
            self._begin()
        self.samples += 1
        if not is_a(sample.record, bytes):
            sample = sample._replace(record=str(sample.record).encode())
        if self._write is not None:
            self._write(_line_of(call) + b"\n" + encode(sample_line(slot, sample)) + b"\n")

    def _begin(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        file = self._stack.enter_context(os.fdopen(descriptor, "wb"))
        self._write = file.write

        def sync() -> None:
            file.flush()
            os.fsync(descriptor)

        self._sync = sync

    def finish(self) -> None:
        """Have everything on disk before it goes from the cache."""
        self._sync()


def _line_of(call: Call) -> bytes:
    """Write a call that may be damaged."""
    form = msgspec.Raw(encode(str(call.form)))
    return encode(CallLine(function=str(call.function), key=_hex(call.key), made=0.0, form=form))
