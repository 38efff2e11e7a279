"""Recordings: samples alone, one line each, to be reviewed, edited and merged like code (docs/testing.md).

A recording holds no time, no count, no reader and no signature: the same samples are the same bytes, whoever recorded
them and when. So it says nothing of who wrote it. What names a class is read only if its reader trusts the class, and
a pickle is in none.
"""

from __future__ import annotations

import base64
import re
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from memollm._keys.keyer import hash_of
from memollm._types.calls import Call
from memollm._types.samples import Sample
from memollm._upkeep.transfer.exporting import Exported, snapshot_of
from memollm._upkeep.transfer.files import UnreadableFile, lines_of, written
from memollm._upkeep.transfer.lines import (
    Amount,
    CallLine,
    DocumentLine,
    Line,
    Number,
    PackedLine,
    SampleLine,
    Slot,
    encode,
    sample_line,
)
from memollm._upkeep.transfer.reach import Reach
from memollm._values.frame import CLASSES, JSON, PICKLE, TREE
from memollm.errors import OptionError, RecordError, UncacheableResult, UntrustedRecord
from memollm.stores.documents import notes_of
from memollm.stores.transfer import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing

VERSION: Final = 1
CLASS: Final = re.compile(r"[\w.]+:[\w.]+")
"""A class, as a record names it: by its module and its name in there."""
ARGUMENTS_OF_CLASS: Final = frozenset("[],")


class _RecordedLine(msgspec.Struct, tag_field="is", omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What all lines share."""


class RecordingHeader(_RecordedLine, tag="memollm recording", kw_only=True):
    """The first line."""

    version: int


class FunctionLine(_RecordedLine, tag="function", kw_only=True):
    """A function, and the code of its versions, by which a change of it is told."""

    lineage: str
    content: dict[str, Any]


class RecordedCall(_RecordedLine, tag="call", kw_only=True):
    """A call; the lines up to the next call are its samples."""

    function: str
    form: msgspec.Raw


class RecordedSample(_RecordedLine, tag="sample", kw_only=True):
    """A sample: plain JSON is its `value`; other plain data are `data`, and what names classes is a `model`."""

    slot: Slot
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    bytes: str = ""
    """In base64: what a line of JSON cannot hold of data, as of an array."""
    input_tokens: Number = 0
    output_tokens: Number = 0
    cost: Amount | None = None


RecordedLine = RecordingHeader | FunctionLine | RecordedCall | RecordedSample
decode: msgspec.json.Decoder[RecordedLine] = msgspec.json.Decoder(RecordedLine)


def is_recording(path: Path) -> bool:
    """Tell whether a file is a recording, from how it begins."""
    return next(lines_of(path), b"").startswith(b'{"is":"memollm recording"')


# Writing.


def record(store: Drawing, codec: Codec, path: str | PathLike[str]) -> Exported:
    """Write the samples of a cache as a recording."""
    path = Path(path).expanduser()
    calls = samples = left_out = 0
    reach = Reach()
    with written(path) as file, snapshot_of(store) as snapshot:
        found: list[tuple[Call, list[RecordedSample]]] = []
        for entry in snapshot.entries(Part(None, None, None)):
            lines = [
                _recorded(codec, entry.call, slot, sample) if reach.has(sample) else None
                for slot, sample in snapshot.samples(entry)
            ]
            left_out += lines.count(None)
            if kept := [line for line in lines if line is not None]:
                found.append((entry.call, kept))
        file.write(encode(RecordingHeader(version=VERSION)) + b"\n")
        for line in _functions(store, [call for call, _ in found]):
            file.write(encode(line) + b"\n")
        for call, kept in found:
            calls, samples = calls + 1, samples + len(kept)
            file.write(encode(RecordedCall(function=call.function, form=CallLine.of(call, 0.0).form)) + b"\n")
            for sample in kept:
                file.write(encode(sample) + b"\n")
    reach.warn()
    return Exported(path, calls, samples, left_out)


def _functions(store: Drawing, calls: Sequence[Call]) -> Iterator[FunctionLine]:
    """Give what is known of the versions of functions that have made samples."""
    made = {(call.function, msgspec.json.decode(call.form)["function"]["version"]) for call in calls if _is_json(call)}
    for lineage, entry in sorted(notes_of(store, "function").items()):
        versions = {
            version: {key: said for key, said in noted.items() if key != "first"}
            for version, noted in entry["versions"].items()
            if (entry["name"], version) in made
        }
        if versions:
            latest = entry["latest"] if entry["latest"] in versions else [*versions][-1]
            content = {"name": entry["name"], "latest": latest, "versions": versions}
            yield FunctionLine(lineage=lineage, content=content)


def _is_json(call: Call) -> bool:
    return call.form.startswith("{")


def _recorded(codec: Codec, call: Call, slot: int, sample: Sample) -> RecordedSample | None:
    """Write a sample; None if it is a pickle, or cannot be read here."""
    try:
        kind, body = codec.opened(sample.record, context=call.key)
    except RecordError:
        return None
    if kind == PICKLE:
        return None
    text, _, rest = body.partition(b"\n") if kind != JSON else (body, b"", b"")
    field = {JSON: "value", TREE: "data", CLASSES: "model"}[kind]
    return RecordedSample(
        slot=slot,
        bytes=base64.b64encode(rest).decode(),
        input_tokens=sample.input_tokens,
        output_tokens=sample.output_tokens,
        cost=sample.cost,
        **{field: msgspec.Raw(text)},
    )


# Reading.


class RecordingFile:
    """A recording as its reader takes it: the lines of an export that would hold the same."""

    def __init__(self, path: Path, codec: Codec, trust: Iterable[str], now: float) -> None:
        self._path = path
        self._codec = codec
        self._trust = [*trust]
        self._now = now

    def lines(self) -> Iterator[Line]:
        """Read it, each line checked."""
        call: Call | None = None
        slots: set[int] = set()
        for number, text in enumerate(lines_of(self._path), 1):
            wrong = partial(self._wrong, number)
            line = self._decoded(text, wrong)
            if (number == 1) is not isinstance(line, RecordingHeader):
                raise wrong("it is in the wrong place")
            if isinstance(line, FunctionLine):
                yield self._document(line, wrong)
            elif isinstance(line, RecordedCall):
                made = self._call(line)
                call, slots = made.call(), set()
                yield made
            elif isinstance(line, RecordedSample):
                if call is None or line.slot in slots:
                    raise wrong("the sample has no call, or its call has its slot twice")
                slots.add(line.slot)
                yield self._sample(call, line, wrong)

    def _wrong(self, number: int, why: str) -> UnreadableFile:
        return UnreadableFile(
            f"{self._path}, line {number}: {why}. Nothing of the recording was loaded. Mend the line, restore "
            "the file, or record it anew."
        )

    def _decoded(self, text: bytes, wrong: Callable[[str], UnreadableFile]) -> RecordedLine:
        try:
            line = decode.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise wrong(str(error)) from error
        if isinstance(line, RecordingHeader) and line.version > VERSION:
            raise wrong(f"a newer memollm wrote it (format {line.version}; this one knows {VERSION})")
        return line

    def _document(self, line: FunctionLine, wrong: Callable[[str], UnreadableFile]) -> DocumentLine:
        content = {"previous": None, **line.content}
        try:
            content["versions"] = {
                version: {"first": 0.0, "after": None, **noted} for version, noted in line.content["versions"].items()
            }
            document = DocumentLine(kind="function", name=line.lineage, content=content)
            document.require_whole()
        except (KeyError, AttributeError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise wrong(f"it does not tell of a function ({error})") from error
        return document

    def _call(self, line: RecordedCall) -> CallLine:
        # Whoever edits an argument makes it another call.
        text = bytes(line.form)
        form = text.decode() if text.startswith(b"{") else str(msgspec.json.decode(text))
        return CallLine.of(Call(hash_of(form), form, line.function), self._now)

    def _sample(
        self, call: Call, line: RecordedSample, wrong: Callable[[str], UnreadableFile]
    ) -> SampleLine | PackedLine:
        try:
            record = self._record(call, line)
        except UntrustedRecord:
            raise
        except (RecordError, UncacheableResult, OptionError, ValueError, msgspec.MsgspecError) as error:
            raise wrong(f"the answer cannot be read: {error}") from error
        took = (0.0, line.input_tokens, line.output_tokens, line.cost)
        return sample_line(line.slot, Sample(record, self._now, *took))

    def _record(self, call: Call, line: RecordedSample) -> bytes:
        given = [each for each in (line.value, line.data, line.model) if isinstance(each, msgspec.Raw)]
        if len(given) != 1:
            raise ValueError("a sample has one of value, data and model")
        (text,) = map(bytes, given)
        if line.value is not msgspec.UNSET:
            return self._codec.encode(msgspec.json.decode(text), call.key)
        body = text + (b"\n" + base64.b64decode(line.bytes, validate=True) if line.bytes else b"")
        if line.data is not msgspec.UNSET:
            record = self._codec.record_of(TREE, body, call.key)
            self._codec.decode(record, call.key)
            return record
        for name in _classes(msgspec.json.decode(text)):
            self._require_trust(name)
        return self._codec.record_of(CLASSES, body, call.key)

    def _require_trust(self, name: str) -> None:
        classes = [each.replace(":", ".") for each in CLASS.findall(name)]
        rest = CLASS.sub("", name)
        if (rest and not {*rest} <= ARGUMENTS_OF_CLASS) or not all(map(self._is_trusted, classes or [name])):
            raise UntrustedRecord(
                f"{self._path} has a sample that is a {name}, which nothing here says to trust, and a recording may "
                "come from anybody. If you know the class, trust it: "
                f'load(..., trust=["{classes[0] if classes else name}"]), or memollm_trust in the settings of pytest. '
                'A pattern such as "openai.types.*" trusts many.'
            )

    def _is_trusted(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._trust)


def _classes(node: Any) -> Iterator[str]:
    """Give every name of a class in a record, and maybe texts that look like one."""
    if isinstance(node, dict):
        parts = cast("dict[str, Any]", node)
        if "$" in parts and isinstance(parts.get("c"), str):
            yield parts["c"]
        yield from _classes([*parts.values()])
    elif isinstance(node, list):
        for part in cast("Iterable[Any]", node):
            yield from _classes(part)
