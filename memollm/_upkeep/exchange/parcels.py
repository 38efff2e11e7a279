"""What is here and not in the log yet, as files that are ready to be put there."""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from memollm._upkeep.exchange.state import id_of_call, id_of_replaced, id_of_sample
from memollm._upkeep.transfer.exporting import is_whole, kept_vectors, transfer_of
from memollm._upkeep.transfer.files import written
from memollm._upkeep.transfer.lines import (
    VERSION,
    CallLine,
    DocumentLine,
    End,
    Header,
    ReplacedLine,
    VectorLine,
    encode,
    sample_line,
)
from memollm.stores.documents import notes_of
from memollm.stores.transfer import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from memollm._upkeep.exchange.state import LogState
    from memollm._upkeep.transfer.lines import PackedLine, SampleLine
    from memollm.stores.drawing import Drawing
    from memollm.stores.looking import Document
    from memollm.stores.matching import Matching
    from memollm.stores.transfer import Entry, Snapshot

    ToSend = SampleLine | PackedLine | ReplacedLine | VectorLine
MOST_BYTES: Final = 4 << 20
MOST_LINES: Final = 20_000
"""How much a file holds, about: as much as is quickly put again after a lost answer."""
NONCE_BYTES: Final = 16


def pack(store: Drawing, state: LogState, folder: Path) -> list[Path]:
    """Write what the log lacks into files of a folder, in the order in which they are to be put."""
    documents, kept = notes_of(store, "function"), kept_vectors(store)
    with transfer_of(store).snapshot() as snapshot, Packing(folder, documents) as packing:
        for entry in snapshot.entries(Part()):
            for line in _missing(snapshot, entry, state, kept):
                packing.add(entry, line)
    return packing.paths


def _missing(snapshot: Snapshot, entry: Entry, state: LogState, kept: Matching | None) -> Iterator[ToSend]:
    """Give what the log lacks of a call. Of equal samples of one moment all are told, if one is new.

    The vectors of a call go with its first sample, of which they are kept before.
    """
    sent = state.sent(id_of_call(entry.call))
    here = Counter(id_of_sample(sample) for slot, sample in snapshot.samples(entry) if is_whole(slot, sample))
    new = {sample for sample, times in here.items() if times > sent.get(sample, 0)}
    has_first = False
    for slot, sample in snapshot.samples(entry) if new else ():
        if is_whole(slot, sample) and id_of_sample(sample) in new:
            yield sample_line(slot, sample)
            has_first |= slot == 0
    if has_first and kept is not None:
        yield from map(VectorLine.of, kept.vectors_of(entry.call))
    for line in map(ReplacedLine.of, snapshot.replaced(entry)):
        if id_of_replaced(line) not in sent:
            yield line


class Packing:
    """Files that are being written, one after another."""

    def __init__(self, folder: Path, documents: Mapping[str, Document]) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._documents = documents
        self._closing = ExitStack()
        self._file: Any = None
        self._functions: set[str] = set()
        self._call: object = None
        self._lines = self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end()
        # What was not ended is removed.
        self._closing.__exit__(kind, error, trace)

    def add(self, entry: Entry, line: ToSend) -> None:
        """Write a line below that of its call."""
        if self._lines >= MOST_LINES or self._bytes >= MOST_BYTES:
            self._end()
        if self._file is None:
            self._begin()
        if self._call != entry.handle:
            self._begin_call(entry)
        self._put(line)

    def _begin(self) -> None:
        path = self._folder / f"{len(self.paths):06d}.jsonl.gz"
        self._file = self._closing.enter_context(written(path))
        self.paths.append(path)
        self._put(Header(version=VERSION, whole=False, nonce=secrets.token_hex(NONCE_BYTES)))

    def _begin_call(self, entry: Entry) -> None:
        function, self._call = entry.call.function, entry.handle
        if function not in self._functions:
            self._functions.add(function)
            for lineage, document in sorted(self._documents.items()):
                if document["name"] == function:
                    self._put(DocumentLine(kind="function", name=lineage, content=document))
        self._put(CallLine.of(entry.call, entry.made))

    def _put(self, line: Any) -> None:
        text = encode(line)
        self._file.write(text + b"\n")
        self._lines += 1
        self._bytes += len(text)

    def _end(self) -> None:
        if self._file is not None:
            self._put(End())
            self._closing.close()
            self._file, self._call = None, None
            self._functions.clear()
            self._lines = self._bytes = 0
