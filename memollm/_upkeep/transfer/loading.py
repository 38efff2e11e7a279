"""Load: the content of an export file joins what a cache holds, a batch at a time, so that others go on drawing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._keys.keyer import KEY_BYTES, hash_of
from memollm._types.calls import Call
from memollm._types.counting import Account, Counts
from memollm._upkeep.transfer.exporting import document_of, transfer_of
from memollm._upkeep.transfer.files import UnreadableFile, lines_of
from memollm._upkeep.transfer.lines import (
    VERSION,
    CallLine,
    CountLine,
    CursorLine,
    DocumentLine,
    End,
    Header,
    LaneLine,
    Line,
    MatchLine,
    PackedLine,
    ReplacedLine,
    SampleLine,
    UseLine,
    VectorLine,
    decode,
)
from memollm._upkeep.transfer.merging import Joining
from memollm._upkeep.transfer.recording import RecordingFile, is_recording
from memollm._values.frame import unframed
from memollm.errors import OptionError, RecordError, UntrustedRecord
from memollm.stores.documents import notes_of
from memollm.stores.keeping import keeping
from memollm.stores.transfer import Cursor, Lane, Shelf, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing
    from memollm.stores.matching import Matching, StoredVector

BATCH: Final = 500
"""After how many lines, at the end of a call, whoever waits to write has a turn."""
UNSOUND: Final = (ValueError, RecordError, msgspec.MsgspecError)
"""How it is told that a line is not what an export writes."""


class Loaded(NamedTuple):
    """What a load found in the file and brought into the cache."""

    calls: int
    samples: int
    added: int
    """Samples that were not here yet."""
    untrusted: int = 0
    """Samples of the file that a key unknown here has signed: they are kept, and cannot be read until it is trusted."""


# Reading.


def lines(path: Path) -> Iterator[Line]:
    """Read a file's lines, each of them checked, from the header to the end."""
    check = Check(path)
    for number, text in enumerate(lines_of(path), 1):
        yield check.checked(number, text)
    check.require_end()


class Check:
    """Whether a file is what an export wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header = self._ended = self._in_call = False
        self._slot = -1
        self._call = Call(b"", "", "")
        """The one that the lines are about."""

    def checked(self, number: int, text: bytes) -> Line:
        """Read a line, or say what is wrong with the file."""
        try:
            line = decode.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._wrong(number, str(error)) from error
        if number == 1:
            self._require_header(line)
        elif self._ended or isinstance(line, Header):
            raise self._wrong(number, "it stands after the end")
        try:
            self.require_whole(line)
        except UNSOUND as error:
            raise self._wrong(number, str(error)) from error
        return line

    def _wrong(self, number: int, why: str) -> UnreadableFile:
        if number == 1:
            return UnreadableFile(f"{self._path} is no export of memollm. Load a file that export has made.")
        return UnreadableFile(
            f"{self._path}, line {number}: {why}. The file was changed or damaged, and nothing of it was loaded; "
            "restore it or export it again."
        )

    def _require_header(self, line: Line) -> None:
        if not isinstance(line, Header):
            raise self._wrong(1, "")
        if line.version > VERSION:
            raise UnreadableFile(
                f"{self._path} was written by a newer memollm (format {line.version}; this one knows {VERSION}). "
                "Upgrade memollm to load it."
            )

    def require_whole(self, line: Line) -> None:
        """Refuse a line that says what no export does, or in the wrong place, with one of `UNSOUND`."""
        match line:
            case DocumentLine():
                line.require_whole()
            case CallLine():
                self._call = line.call()
                _require_key(self._call)
                self._in_call, self._slot = True, -1
            case VectorLine() if self._in_call:
                line.vector(self._call)
            case MatchLine():
                match = line.match()
                _require_key(match.call)
                _require_key(match.of)
            case SampleLine() | PackedLine():
                unframed(line.sample().record)
                if not self._in_call or line.slot <= self._slot:
                    raise ValueError("a sample is out of its place")
                self._slot = line.slot
            case ReplacedLine() | LaneLine() | CursorLine() | UseLine() | VectorLine() if not self._in_call:
                raise ValueError("it belongs to no call")
            case End():
                self._ended = True
            case _:
                pass

    def require_end(self) -> None:
        """Refuse a file that was cut short."""
        if not self._ended:
            raise UnreadableFile(
                f"{self._path} is cut short: its last line is missing. Nothing of it was loaded; export it again."
            )


def _require_key(call: Call) -> None:
    """Refuse a call whose key is not its form's; of a form that only a digest is kept of, nothing can be told."""
    if len(call.key) != KEY_BYTES:
        raise ValueError("the call's key is no key")
    if call.form.startswith("{") and hash_of(call.form) != call.key:
        raise ValueError("the call's key is not that of its form")


def batches(every: Iterable[Line]) -> Iterator[list[Line]]:
    """Part the lines between calls: samples that came without their cursors would be given again (P1)."""
    batch: list[Line] = []
    for line in every:
        if len(batch) >= BATCH and isinstance(line, CallLine | CountLine | End):
            yield batch
            batch = []
        batch.append(line)
    yield batch


# Joining.


class Load:
    """One load on its way."""

    def __init__(self, store: Drawing, codec: Codec) -> None:
        self._store = store
        self._codec = codec
        self._transfer = transfer_of(store)
        self._call = Call(b"", "", "")
        """The one whose vectors come next."""
        self.added = self.calls = self.samples = self.untrusted = 0

    def put(self, batch: Sequence[Line]) -> None:
        """Put a batch of lines into the cache: documents by themselves, the rest in one transaction."""
        key = b""
        for line in batch:
            if isinstance(line, DocumentLine):
                self._note(line)
            elif isinstance(line, CallLine):
                key = line.call().key
            elif isinstance(line, SampleLine | PackedLine):
                self.untrusted += not self._is_trusted(line.sample().record, key)
        apart = DocumentLine | VectorLine | MatchLine | Header | End
        rest = [line for line in batch if not isinstance(line, apart)]
        if rest:
            self._transfer.merge(lambda shelf: self._join(shelf, rest))
        self._learn(batch)

    def _learn(self, batch: Sequence[Line]) -> None:
        """Take up vectors and matches, now that the calls are there; a store that keeps none goes without."""
        kept: Matching | None = getattr(self._store, "matching", None)
        if kept is None:
            return
        vectors: list[StoredVector] = []
        for line in batch:
            if isinstance(line, CallLine):
                self._call = line.call()
            elif isinstance(line, VectorLine):
                vectors.append(line.vector(self._call))
        matches = [line.match() for line in batch if isinstance(line, MatchLine)]
        if vectors:
            kept.learn(*vectors)
        if matches:
            kept.note(*matches)

    def _is_trusted(self, record: bytes, key: bytes) -> bool:
        try:
            return self._codec.is_trusted(record, context=key)
        except UntrustedRecord:
            return False
        except (RecordError, OptionError, OSError):
            # Reading it will say what is wrong with it, or with the place of one's own key.
            return True

    def _note(self, line: DocumentLine) -> None:
        while True:
            here = notes_of(self._store, line.kind, line.name).get(line.name)
            document = line.content
            if here is not None:
                document = document_of(here, line.content) if line.kind == "function" else here
            if document == here or keeping(self._store).note(line.kind, line.name, document, instead_of=here):
                return

    def _join(self, shelf: Shelf, batch: Sequence[Any]) -> None:
        _count(shelf, {line.account(): line.amounts() for line in batch if isinstance(line, CountLine)})
        joining: Joining | None = None
        for line in batch:
            if isinstance(line, CallLine):
                self.calls += 1
                joining = Joining(line.call(), line.made)
                joining.begin(shelf)
            elif joining is not None and not isinstance(line, CountLine):
                self._join_line(joining, line)

    def _join_line(self, joining: Joining, line: Any) -> None:
        match line:
            case SampleLine() | PackedLine():
                self.samples += 1
                self.added += joining.put(line.slot, line.sample())
            case ReplacedLine():
                joining.note(line.replaced())
            case LaneLine():
                joining.lane(Lane(line.recorder, line.name, line.positions))
            case CursorLine():
                joining.cursor(Cursor(line.reader, line.next, line.free))
            case _:
                joining.use(Stretch(line.run, line.first, line.last))


def _count(shelf: Shelf, counts: Mapping[Account, Counts]) -> None:
    """Let each count be at least what the file says: loading it again adds nothing."""
    here: Mapping[Account, Counts] = shelf.counted() if counts else {}
    shelf.count({account: missing(there, here.get(account, Counts())) for account, there in counts.items()})


def missing(there: Counts, here: Counts) -> Counts:
    """Return what is to be added to a count."""
    return Counts._make(max(more - less, 0) for more, less in zip(there, here, strict=True))


def load(
    store: Drawing,
    codec: Codec,
    path: str | PathLike[str],
    *,
    told: Callable[[int, int], object],
    trust: Iterable[str] = (),
    now: float = 0.0,
) -> Loaded:
    """Bring a file's content into a cache; the whole file is checked before anything of it is.

    `trust` and `now` are for recordings, which are signed by nobody and tell no time.
    """
    path = Path(path).expanduser()
    read = RecordingFile(path, codec, trust, now).lines if is_recording(path) else partial(lines, path)
    total = sum(isinstance(line, SampleLine | PackedLine) for line in read())
    work = Load(store, codec)
    for batch in batches(read()):
        work.put(batch)
        told(work.samples, total)
    return Loaded(work.calls, work.samples, work.added, work.untrusted)
