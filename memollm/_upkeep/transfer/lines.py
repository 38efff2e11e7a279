"""The lines of an export file: one JSON object each, text wherever a record is JSON (docs/transfer.md)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from memollm._types.calls import FARTHEST, Call
from memollm._types.counting import Account, Counts
from memollm._types.samples import LAST_MOMENT, LAST_SLOT, MOST, Replaced, Sample
from memollm._values.frame import split
from memollm.errors import DamagedRecord
from memollm.stores.matching import StoredMatch, StoredVector, VectorSpace, parted

VERSION: Final = 1
FLOAT: Final = 4
"""Bytes of a number of a vector."""
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
"""A slot or a position, or a number of tokens: what every store can count to."""
Slot = Annotated[int, msgspec.Meta(ge=0, lt=LAST_SLOT)]
LanePosition = Annotated[int, msgspec.Meta(ge=0, lt=FARTHEST)]
Moment = Annotated[float, msgspec.Meta(ge=0, lt=LAST_MOMENT)]
"""Seconds since 1970, of a time that a calendar has."""
Duration = Annotated[float, msgspec.Meta(ge=0, lt=LAST_MOMENT)]
Amount = Annotated[float, msgspec.Meta(gt=-MOST, lt=MOST)]


class _Line(msgspec.Struct, tag_field="is", omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What all lines share: the first field says which kind it is, and what has its usual value is left out."""


class Header(_Line, tag="memollm export", kw_only=True):
    """The first line."""

    version: int
    whole: bool
    nonce: str = ""
    """By which a file in a bucket is told from all others."""


class DocumentLine(_Line, tag="document", kw_only=True):
    """A document of the catalog."""

    kind: Literal["function", "namespace", "run"]
    name: str
    content: dict[str, Any]

    def require_whole(self) -> None:
        """Refuse a document that lacks what is read of it."""
        if self.kind != "function":
            msgspec.convert(self.content, _Reader)
        elif (about := msgspec.convert(self.content, _Function)).latest not in about.versions:
            raise ValueError("the function's latest version is not among its versions")


class _Version(msgspec.Struct):
    first: Moment
    parts: dict[str, str]


class _Function(msgspec.Struct):
    name: str
    latest: str
    versions: dict[str, _Version]
    previous: str | None = None


class _Reader(msgspec.Struct):
    first: Moment | None = None
    program: str = ""


class CallLine(_Line, tag="call", kw_only=True):
    """A call; the lines up to the next call are about it."""

    function: str
    key: str
    made: Moment
    form: msgspec.Raw
    """As it is where it is JSON; what stands for a form that is not kept is a string."""

    @classmethod
    def of(cls, call: Call, made: float) -> CallLine:
        """Write a call."""
        form = call.form.encode()
        if not form.startswith(b"{") or not is_line_of_json(form):
            form = encode(call.form)
        return cls(function=call.function, key=call.key.hex(), made=made, form=msgspec.Raw(form))

    def call(self) -> Call:
        """Read it."""
        form = bytes(self.form)
        text = form.decode() if form.startswith(b"{") else msgspec.json.decode(form, type=str)
        return Call(bytes.fromhex(self.key), text, self.function)


class _Slot(_Line, kw_only=True):
    slot: Slot
    stored: Moment
    seconds: Duration = 0.0
    input_tokens: Number = 0
    output_tokens: Number = 0
    cost: Amount | None = None
    latency: Duration = 0.0

    def _sample(self, record: bytes) -> Sample:
        return Sample(record, self.stored, self.seconds, self.input_tokens, self.output_tokens, self.cost, self.latency)


class SampleLine(_Slot, tag="sample", kw_only=True):
    """A sample whose record is a head and JSON text."""

    head: str
    value: msgspec.Raw

    def sample(self) -> Sample:
        """Read it."""
        return self._sample(self.head.encode() + bytes(self.value))


class PackedLine(_Slot, tag="packed", kw_only=True):
    """A sample whose record is no text."""

    base64: str

    def sample(self) -> Sample:
        """Read it."""
        try:
            return self._sample(base64.b64decode(self.base64, validate=True))
        except ValueError as error:
            raise DamagedRecord(f"its base64 is damaged: {error}") from error


class LaneLine(_Line, tag="lane", kw_only=True):
    """What a lane was given."""

    recorder: str
    name: str
    positions: list[LanePosition]


class ReplacedLine(_Line, tag="replaced", kw_only=True):
    """A sample that another one took the slot of: what is left to know it by."""

    slot: Slot
    stored: Moment
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]

    @classmethod
    def of(cls, replaced: Replaced) -> ReplacedLine:
        """Write what is known of it."""
        return cls(slot=replaced.slot, stored=replaced.stored, digest=replaced.digest.hex())

    def replaced(self) -> Replaced:
        """Read it."""
        return Replaced(self.slot, self.stored, bytes.fromhex(self.digest))


class CursorLine(_Line, tag="cursor", kw_only=True):
    """How far a reader has come."""

    reader: str
    next: Slot
    free: list[Slot] = []


class UseLine(_Line, tag="use", kw_only=True):
    """What a run used besides what its cursor tells."""

    run: str
    first: Slot
    last: Slot


class VectorLine(_Line, tag="vector", kw_only=True):
    """The vector of a call's text, where similar calls were looked for."""

    embedder: str
    parameter: str
    base64: str

    @classmethod
    def of(cls, kept: StoredVector) -> VectorLine:
        """Write a vector."""
        packed = base64.b64encode(kept.vector).decode("ascii")
        return cls(embedder=kept.space.embedder, parameter=kept.space.parameter, base64=packed)

    def vector(self, call: Call) -> StoredVector:
        """Read the vector of a call, of which a text is asked for."""
        numbers = base64.b64decode(self.base64, validate=True)
        if not numbers or len(numbers) % FLOAT:
            raise ValueError("its numbers are cut short")
        parted(call.form, self.parameter)
        return StoredVector(call, VectorSpace(self.embedder, self.parameter), numbers)


class MatchLine(_Line, tag="match", kw_only=True):
    """A call that was given the sample of another, which is similar."""

    function: str
    key: str
    form: msgspec.Raw
    of_key: str
    of_form: msgspec.Raw
    parameter: str
    rule: str
    score: Annotated[float, msgspec.Meta(ge=-1.01, le=1.01)]
    at: Moment
    shadow: bool = False

    @classmethod
    def of(cls, match: StoredMatch) -> MatchLine:
        """Write a match."""
        asked, source = CallLine.of(match.call, 0.0), CallLine.of(match.of, 0.0)
        return cls(
            function=asked.function,
            key=asked.key,
            form=asked.form,
            of_key=source.key,
            of_form=source.form,
            parameter=match.parameter,
            rule=match.rule,
            score=match.score,
            at=match.at,
            shadow=match.shadow,
        )

    def match(self) -> StoredMatch:
        """Read it."""
        asked, source = (
            CallLine(function=self.function, key=key, made=0.0, form=form).call()
            for key, form in ((self.key, self.form), (self.of_key, self.of_form))
        )
        return StoredMatch(asked, source, self.parameter, self.score, self.rule, self.at, self.shadow)


_MOST: Final = 1 << 40
if TYPE_CHECKING:
    _Amounts = msgspec.Struct
else:
    _Amounts = msgspec.defstruct(
        "_Amounts",
        [
            (name, Annotated[int, msgspec.Meta(ge=0, le=_MOST)] if type(zero) is int else float, zero)
            for name, zero in Counts._field_defaults.items()
        ],
        omit_defaults=True,
    )
"""What `Counts` holds, as a store takes it; a count that only a later version knows is passed over."""


class CountLine(_Line, tag="count", kw_only=True):
    """What was counted; what is zero is left out."""

    day: str
    run: str
    namespace: str
    function: str
    counts: _Amounts

    @classmethod
    def of(cls, account: Account, counts: Counts) -> CountLine:
        """Write a count."""
        return cls(**account._asdict(), counts=msgspec.convert(counts._asdict(), _Amounts))

    def account(self) -> Account:
        """Say what it is kept for."""
        return Account(self.day, self.run, self.namespace, self.function)

    def amounts(self) -> Counts:
        """Read it."""
        return Counts._make(msgspec.structs.astuple(self.counts))


class End(_Line, tag="end", kw_only=True):
    """The last line, by which a file that was cut short is told."""


Of = SampleLine | PackedLine | ReplacedLine | LaneLine | CursorLine | UseLine | VectorLine
"""What is told of the call that stands before."""
Line = Header | DocumentLine | CallLine | Of | MatchLine | CountLine | End
encode = msgspec.json.Encoder(order="deterministic").encode
decode: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def sample_line(slot: int, sample: Sample) -> SampleLine | PackedLine:
    """Write a sample: its answer as it can be read, if the record is one line of JSON text behind its head."""
    record, stored, seconds, input_tokens, output_tokens, cost, latency = sample
    head, body = split(record)
    took: dict[str, Any] = {"input_tokens": input_tokens, "output_tokens": output_tokens, "cost": cost}
    took |= {name: time for name, time in (("seconds", seconds), ("latency", latency)) if time}
    if head and head.isascii() and is_line_of_json(body):
        return SampleLine(slot=slot, stored=stored, head=head.decode("ascii"), value=msgspec.Raw(body), **took)
    return PackedLine(slot=slot, stored=stored, base64=base64.b64encode(record).decode("ascii"), **took)


def is_line_of_json(body: bytes) -> bool:
    """Tell whether bytes can stand in a line as they are, and would be read as they are."""
    if b"\n" in body or b"\r" in body or body != body.strip():
        return False
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
