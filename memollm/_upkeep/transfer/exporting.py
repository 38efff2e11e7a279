"""Export: a cache, or a part of it, into a file that is sorted, so that it is the same bytes again and diffs well."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memollm._types.calls import NAMESPACES, RUNS, recorder
from memollm._types.samples import is_sound
from memollm._types.suggest import did_you_mean
from memollm._upkeep.transfer.files import written
from memollm._upkeep.transfer.lines import (
    VERSION,
    CallLine,
    CountLine,
    CursorLine,
    DocumentLine,
    End,
    Header,
    LaneLine,
    MatchLine,
    ReplacedLine,
    UseLine,
    VectorLine,
    encode,
    sample_line,
)
from memollm._upkeep.transfer.reach import Reach
from memollm._values.frame import unframed
from memollm.errors import OptionError, RecordError
from memollm.stores.documents import notes_of
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.transfer import Cursor, Part, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from os import PathLike

    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm.stores.drawing import Drawing
    from memollm.stores.looking import Document
    from memollm.stores.matching import Matching
    from memollm.stores.transfer import Entry, Snapshot, Transfer

    Told = Callable[[int, int], object]


class Exported(NamedTuple):
    """What an export wrote."""

    path: Path
    calls: int
    samples: int
    damaged: int
    """Samples that were left out because their bytes are not what was written, or not there; `verify` says which."""


def transfer_of(store: Drawing) -> Transfer:
    """Give access to a store's content."""
    return keeping(store).transfer()


def snapshot_of(store: Drawing) -> AbstractContextManager[Snapshot]:
    """Give a store's content to be taken out, also of one that is only read."""
    found: Callable[[], AbstractContextManager[Snapshot]] | None = getattr(store, "snapshot", None)
    return transfer_of(store).snapshot() if found is None else found()


def kept_vectors(store: Drawing) -> Matching | None:
    """Return what keeps the vectors of a store, if there is any."""
    kept: Matching | None = getattr(store, "matching", None)
    return kept if kept is not None and kept.keeps_any() else None


class Choice:
    """What of a cache is exported."""

    def __init__(
        self,
        store: Drawing,
        *,
        function: str | None = None,
        namespace: str | None = None,
        run: str | None = None,
    ) -> None:
        if sum(each is not None for each in (function, namespace, run)) > 1:
            raise OptionError("export: say one of function=, namespace= and run=, or none of them for everything.")
        self._looking = looking(store)
        self._notes = partial(notes_of, store)
        self._matching = kept_vectors(store)
        self.whole = function is namespace is run is None
        self.with_runs = False
        """Whether a whole has what every run has drawn and used, since it is to go on elsewhere."""
        self.functions = self._notes("function")
        self.reader: str | None = None
        if function is not None:
            self._require("function", function, {str(entry["name"]) for entry in self.functions.values()})
        if namespace is not None:
            self.reader = NAMESPACES + namespace
            self._require("namespace", namespace, self._readers(NAMESPACES))
        if run is not None:
            run = self._last_run() if run == "last" else run
            self.reader = RUNS + run
            self._require(
                "run",
                run,
                {
                    *self._notes("run"),
                    *self._readers(RUNS),
                    *(account.run for account in self._looking.counted()),
                },
            )
        self.run = run
        self.part = Part(function, self.reader, run)

    def _readers(self, prefix: str) -> set[str]:
        return {each.name.removeprefix(prefix) for each in self._looking.readers() if each.name.startswith(prefix)}

    @staticmethod
    def _require(what: str, name: str, known: set[str]) -> None:
        if name not in known:
            raise OptionError(f"The cache knows no {what} {name!r}{did_you_mean(name, sorted(known))}")

    def _last_run(self) -> str:
        runs = self._notes("run")
        if not runs:
            raise OptionError("run='last': the cache knows no run yet. Draw something first.")
        return max(runs, key=lambda run: float(runs[run].get("first", 0)))

    def documents(self, functions: set[str]) -> Iterator[DocumentLine]:
        """Give the documents of the catalog about what is exported."""
        for lineage, entry in sorted(self.functions.items()):
            if self.whole or entry["name"] in functions:
                yield DocumentLine(kind="function", name=lineage, content=entry)
        for name, entry in sorted(self._notes("namespace").items()):
            if self.has_reader(NAMESPACES + name):
                yield DocumentLine(kind="namespace", name=name, content=entry)
        for name, entry in sorted(self._notes("run").items()):
            if self.has_reader(RUNS + name):
                yield DocumentLine(kind="run", name=name, content=entry)

    def has_reader(self, reader: str) -> bool:
        """Tell whether it is exported how far a reader has come."""
        return reader == self.reader or (self.whole and (self.with_runs or reader.startswith(NAMESPACES)))

    def has_use(self, run: str) -> bool:
        """Tell whether it is exported what a run used besides what its cursors tell."""
        return self.with_runs or run == self.run

    def vectors(self, call: Call) -> Iterator[VectorLine]:
        """Give the vectors of a call, where the store keeps any."""
        kept = [] if self._matching is None else self._matching.vectors_of(call)
        return map(VectorLine.of, sorted(kept, key=lambda each: each.space))

    def matches(self) -> Iterator[MatchLine]:
        """Give what similar calls were lent; what one reader has used tells nothing of that."""
        if self._matching is None or self.reader is not None:
            return iter(())
        matches = self._matching.matches(self.part.function)
        return map(MatchLine.of, sorted(matches, key=lambda each: (each.call.function, each.call.form, each.shadow)))

    def has_lane(self, whose: str) -> bool:
        """Tell whether the lanes that are recorded under a name are exported: those of runs are the call's own."""
        return whose == RUNS or self.has_reader(whose)

    def keeps(self, cursors: list[Cursor], stretches: list[Stretch]) -> Callable[[int], bool]:
        """Tell which slots of a call are exported."""
        if self.reader is None:
            return lambda _: True
        drawn = next((cursor for cursor in cursors if cursor.reader == self.reader), Cursor("", 0, ()))
        if self.run is None:
            # A pool reads other slots than its positions, and none past them.
            return lambda slot: slot < drawn.next
        free = frozenset(drawn.free)
        return lambda slot: (
            (slot < drawn.next and slot not in free) or any(one.first <= slot <= one.last for one in stretches)
        )


class Export:
    """One export on its way."""

    def __init__(self, choice: Choice, snapshot: Snapshot, told: Told) -> None:
        self._choice = choice
        self._snapshot = snapshot
        self._told = told
        self._seen = 0
        self.reach = Reach()
        self._total = snapshot.size(choice.part)
        self.calls = self.samples = self.damaged = 0

    def lines(self) -> Iterator[Any]:
        """Give the lines, in their order."""
        choice, snapshot = self._choice, self._snapshot
        yield Header(version=VERSION, whole=choice.whole)
        yield from choice.documents(self._functions())
        for entry in snapshot.entries(choice.part):
            lines = self._of_call(entry)
            first = next(lines, None)
            # A call of which nothing is left to tell is not told.
            if first is not None:
                self.calls += 1
                yield CallLine.of(entry.call, entry.made)
                yield first
                yield from lines
        yield from choice.matches()
        if choice.whole:
            for account, counts in snapshot.counted().items():
                yield CountLine.of(account, counts)
        yield End()

    def _functions(self) -> set[str]:
        if self._choice.part.function is not None:
            return {self._choice.part.function}
        return set() if self._choice.whole else {e.call.function for e in self._snapshot.entries(self._choice.part)}

    def _of_call(self, entry: Entry) -> Iterator[Any]:
        choice, snapshot = self._choice, self._snapshot
        cursors = [cursor for cursor in snapshot.cursors(entry) if choice.has_reader(cursor.reader)]
        stretches = joined(one for one in snapshot.stretches(entry) if choice.has_use(one.run))
        keeps = choice.keeps(cursors, stretches)
        has_first = False
        for slot, sample in snapshot.samples(entry):
            self._seen += 1
            self._told(self._seen, self._total)
            if keeps(slot) and self._is_whole(slot, sample):
                self.samples += 1
                has_first |= slot == 0
                yield sample_line(slot, sample)
        if has_first:
            yield from choice.vectors(entry.call)
        yield from (ReplacedLine.of(each) for each in snapshot.replaced(entry) if keeps(each.slot))
        for lane in snapshot.lanes(entry):
            if choice.has_lane(lane.recorder) and (
                choice.run is None or lane.recorder == recorder(choice.reader or "")
            ):
                yield LaneLine(recorder=lane.recorder, name=lane.name, positions=list(lane.positions))
        for cursor in cursors:
            yield CursorLine(reader=cursor.reader, next=cursor.next, free=list(cursor.free))
        for one in stretches:
            yield UseLine(run=one.run, first=one.first, last=one.last)

    def _is_whole(self, slot: int, sample: Sample) -> bool:
        whole = self.reach.has(sample) and is_whole(slot, sample)
        self.damaged += not whole
        return whole


def is_whole(slot: int, sample: Sample) -> bool:
    """Tell whether a sample's bytes, and what stands beside them, can be what was written."""
    try:
        unframed(sample.record)
        return is_sound(slot, sample)
    except RecordError:
        return False


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Put stretches of one run that touch into one; they come by run."""
    found: list[Stretch] = []
    for one in stretches:
        if found and one.run == found[-1].run and one.first <= found[-1].last + 1:
            found[-1] = found[-1]._replace(last=max(found[-1].last, one.last))
        else:
            found.append(one)
    return found


def export(store: Drawing, path: str | PathLike[str], *, told: Told, **which: str | None) -> Exported:
    """Write a cache, or the part of it that is asked for, into a file."""
    path = Path(path).expanduser()
    choice = Choice(store, **which)
    with snapshot_of(store) as snapshot, written(path) as file:
        work = Export(choice, snapshot, told)
        for line in work.lines():
            file.write(encode(line) + b"\n")
    work.reach.warn()
    return Exported(path, work.calls, work.samples, work.damaged)


def document_of(here: Document, theirs: Document) -> Document:
    """Join two documents about one function: it has the versions of both, and is here what it is here."""
    return {**theirs, **here, "versions": {**theirs["versions"], **here["versions"]}}
