"""`KeyValue`: a store upon a back end of the user's, which knows `get` and `set` of texts and no more."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._types.calls import Call, Place
from memollm._types.locks import interrupted
from memollm._types.requests import Fill, Look, Release, Take, Write, Written
from memollm._types.samples import MINE, Sample, State, Taken, cleaned
from memollm.errors import OptionError, StoreError, StoreRefused, StoreUnavailable
from memollm.stores.memory.store import MemoryDrawing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.requests import Answer, Request

    Getter = Callable[[str], str | bytes | None]
    Setter = Callable[[str, str], object]

VERSION: Final = 1
BESIDE: Final = ("stored", "seconds", "input_tokens", "output_tokens", "cost", "latency")
"""What stands beside a record."""
ONE_ALONE: Final = (
    "KeyValue keeps one sample of each call and nothing of who has drawn it, so it serves pool=1 alone. Say pool=1, "
    "or keep samples in a cache of memollm's own: a path."
)


class KeyValue(MemoryDrawing):
    """Samples in a back end of yours: a dict, a folder, a server that you have.

    ::

        cache = Cache(KeyValue(kept.get, kept.__setitem__))

    get     given a key, return the text that was set for it (bytes, if your back end makes such of texts), or None
    set     keep a text under a key; what was there is replaced

    It serves `pool=1` alone. Equal calls at one moment are one call within a process; processes know nothing of each
    other, so each of them may make what is missing, and the first that has stored it is read by all that come later.
    What is stored lasts as `set` makes it last. Both are called from any thread, and never under a lock of memollm.
    """

    keeping = None
    looking = None
    without_keeping = "A back end with `get` and `set` cannot list or remove what it holds. Remove it there."

    def __init__(self, get: Getter, set: Setter) -> None:  # noqa: A002 - the words of what it stands on
        if not (callable(get) and callable(set)):
            raise OptionError("KeyValue takes two functions: KeyValue(kept.get, kept.__setitem__).")
        super().__init__()
        self._get, self._set = get, set
        self._there: dict[tuple[int, Place], Sample] = {}
        """What fills have found that came second."""

    def __repr__(self) -> str:
        return "KeyValue(...)"

    # Drawing: claims are kept here, as in memory, and samples there.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for, one after the other."""
        return [self._performed(request) for request in requests]

    def _performed(self, request: Request) -> Answer | StoreError:
        if self._content.mine():
            return interrupted()
        try:
            if isinstance(request, Write):
                return self._written_through(request)
            if isinstance(request, Look):
                return [self._read_or_claimed(place, request.ticket, request.newer_than) for place in request.places]
            return [self._taken(request, want.call, want.reader) for want in request.wants]
        except StoreError as error:
            return error

    def at_once(self, request: Take | Look) -> None:
        """Tell that it may have to wait: who knows where a back end is."""

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the one sample."""
        sample = self._read(call) if slots is None or 0 in slots else None
        return {} if sample is None else {0: sample}

    def epoch(self) -> int:
        """Say nothing: who else sets or removes something there, nobody is told."""
        return -1

    def _taken(self, take: Take, call: Call, reader: str | None) -> Taken:
        if reader is not None:
            raise StoreRefused(ONE_ALONE)
        return Taken((0,), (self._read_or_claimed(Place(call, 0), take.ticket, take.newer_than),))

    def _read_or_claimed(self, place: Place, ticket: int, newer_than: float) -> State:
        """Read a sample, or claim its slot: nobody else of this process makes it then."""
        if place.slot:
            raise StoreRefused(ONE_ALONE)
        if (sample := self._fresh(place, newer_than)) is not None:
            return sample
        with self._content.lock:
            state = self._state(place, ticket, newer_than)
        if state is not MINE or (sample := self._fresh(place, newer_than)) is None:
            return state
        # It was stored, and its claim ended, between the look and the claim.
        self._write_here(Write(self.flights.new_id(), (Release(ticket, place),)))
        return sample

    def _fresh(self, place: Place, newer_than: float) -> Sample | None:
        sample = self._read(place.call)
        return sample if sample is not None and sample.stored > newer_than else None

    # Writing: a sample is there before its claim ends here.

    def _written_through(self, write: Write) -> Written:
        if write.id not in self._written:
            for fill in (change for change in write.changes if isinstance(change, Fill)):
                there = self._fresh(fill.place, fill.newer_than)
                if there is None:
                    self._keep(fill.place.call, fill.sample)
                else:
                    self._there[fill.ticket, fill.place] = there
        return self._write_here(write)

    def _write_here(self, write: Write) -> Written:
        with self._content.lock:
            written = self._write(write)
        self.flights.landed(write.changes, written)
        return written

    def _fill(self, fill: Fill) -> Sample | None:
        return self._there.pop((fill.ticket, fill.place), None)

    # The back end.

    def _read(self, call: Call) -> Sample | None:
        try:
            text = self._get(key_of(call))
        except Exception as error:
            raise _failed("get", error) from error
        return None if text is None else sample_of(text, call)

    def _keep(self, call: Call, sample: Sample) -> None:
        try:
            self._set(key_of(call), text_of(call, sample))
        except Exception as error:
            raise _failed("set", error) from error


def key_of(call: Call) -> str:
    """Return the key under which a back end keeps a call's sample; a file may bear it as its name."""
    return f"memollm-{call.key.hex()}"


def text_of(call: Call, sample: Sample) -> str:
    """Return a sample as JSON, with the call that it is of."""
    beside = {name: getattr(sample, name) for name in BESIDE}
    try:
        record: object = sample.record.decode()
    except UnicodeDecodeError:
        record = {"base64": base64.b64encode(sample.record).decode()}
    return json.dumps({"memollm": VERSION, "function": call.function, "form": call.form, **beside, "record": record})


def sample_of(text: str | bytes, call: Call) -> Sample | None:
    """Return the sample that a text is, or None where it is another call's, whose key happens to be the same."""
    try:
        said = cast("Mapping[str, Any]", json.loads(text))
        return _read(said) if said["form"] == call.form else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreUnavailable(
            f"What the back end keeps under {key_of(call)!r} is no sample that memollm has written ({error}). Remove "
            "it there."
        ) from error


def _read(said: Mapping[str, Any]) -> Sample:
    if said["memollm"] != VERSION:
        raise ValueError(f"it is of version {said['memollm']!r}")
    record = said["record"]
    data = record.encode() if isinstance(record, str) else base64.b64decode(record["base64"], validate=True)
    return cleaned(0, Sample(data, *(said[name] for name in BESIDE)))


def _failed(what: str, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"The back end's `{what}` raised {type(error).__name__}: {error}. Look at the back end.")
