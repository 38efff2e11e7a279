"""The store of a cache with a tier: asks a server, and has copies of its samples near, so that few records are sent."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._types.calls import Place
from memollm._types.locks import renewed_in_children
from memollm._types.requests import Fill, Look, Take, Write, Written
from memollm._types.samples import Absent, Digest, Sample, Taken, digest_of
from memollm.errors import MissingRecord, StoreError
from memollm.stores.drawing import Drawing
from memollm.stores.reading import HasReader
from memollm.stores.thin import HoldsRecords, TellsEpochs, Thin
from memollm.stores.tier.copies import Copy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.requests import Answer, Request
    from memollm._types.samples import State
    from memollm.stores.reading import Readable
    from memollm.stores.tier.copies import Copies

UNTOLD: Final = -1
"""The epoch of who is not told of any."""
REMEMBERED: Final = 100_000
"""Of how many samples a process remembers in which epoch it has seen them."""


class AskedIn(NamedTuple):
    """When something was asked: the epoch as this process knows it, and as all do."""

    epoch: int
    lasting: int


class TellingHeld(HoldsRecords):
    """Tells the server what is held; nothing, where a record turned out not to be."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._here = threading.local()

    def stretches(self, call: Call) -> Sequence[tuple[int, int]]:
        """Tell of which slots the records are here."""
        return () if getattr(self._here, "is_silent", False) else self._copies.stretches(call)

    @contextmanager
    def silent(self) -> Generator[None]:
        """Have everything sent that is asked for in a block."""
        self._here.is_silent = True
        try:
            yield
        finally:
            self._here.is_silent = False


class TierStore(Drawing):
    """Draws from a server. A copy counts where the server says the same of it, or nothing was replaced since it did.

    Whatever else the server can do, it does: looking, keeping, limiting.
    """

    def __init__(self, server: Drawing, copies: Copies, *, shown: str) -> None:
        """`shown` is what users call the tier."""
        self.server = server
        self.flights = server.flights
        self.copies = copies
        self.shown_tier = shown
        self._telling = TellingHeld(copies)
        self._seen: dict[Place, tuple[int, bytes]] = {}
        """In which epoch this process knew of a sample that the server had it, and its digest."""
        if isinstance(server, Thin):
            server.holding = self._telling
        _living.add(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    def __repr__(self) -> str:
        return f"TierStore({self.server!r}, {self.shown_tier!r})"

    def begin_in_child(self) -> None:
        """Go by no epoch of the parent's."""
        self._seen = {}

    def reader(self) -> Readable:
        """Return what reads the same samples and writes nowhere, the tier included."""
        return self.server.reader() if isinstance(self.server, HasReader) else cast("Readable", self.server)

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for."""
        moment = self._moment()
        known = self._known(requests, moment)
        left = [request for nth, request in enumerate(requests) if nth not in known]
        asked = iter(self._asked(left, moment) if left else ())
        return [known[nth] if nth in known else next(asked) for nth in range(len(requests))]

    def _moment(self) -> AskedIn:
        server = self.server
        if isinstance(server, TellsEpochs):
            lasting = server.lasting_epoch()
            return AskedIn(lasting, lasting)
        return AskedIn(server.epoch(), UNTOLD)

    def _asked(self, requests: Sequence[Request], moment: AskedIn) -> list[Answer | StoreError]:
        answers = self._performed(requests)
        sent: dict[Place, Copy] = {}
        lacking: list[_Lacking] = []
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(request, Write):
                if isinstance(answer, Written):
                    sent.update(_filled(request, answer, moment))
            elif isinstance(answer, list):
                lacking += self._completed(request, answer, sent, moment)
        if lacking:
            self._ask_once_more(lacking, sent, moment)
        self._keep(sent, moment)
        return answers

    def _performed(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Have the server do what each asks for."""
        return self.server.perform(requests)

    def _keep(self, sent: Mapping[Place, Copy], moment: AskedIn) -> None:
        sent = {place: copy for place, copy in sent.items() if type(copy.sample.record) is not Absent}
        if not sent:
            return
        self.copies.put(sent)
        for place, copy in sent.items():
            self._see(place, copy.digest, moment)

    def _see(self, place: Place, digest: bytes, moment: AskedIn) -> None:
        if moment.epoch >= 0:
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen[place] = (moment.epoch, digest)

    # What was not sent.

    def _completed(self, request: Take | Look, answer: Any, sent: dict[Place, Copy], moment: AskedIn) -> list[_Lacking]:
        """Put copies in the place of digests; return what is not here, and note what was sent."""
        lacking: list[_Lacking] = []
        for where, places, states in _slots_of(request, answer):
            held = self._copies_of(places, states)
            # A look's states are its answer; of a draw, what it was given stays as it is for whoever asks again.
            whole = answer if where is None else list(states)
            for nth, (place, state) in enumerate(zip(places, states, strict=True)):
                if type(state) is not Sample:
                    continue
                if type(state.record) is not Digest:
                    sent[place] = Copy(state, digest_of(state.record), moment.lasting)
                elif (copy := held.get(place)) is None:
                    lacking.append(_Lacking(request, whole, nth, place))
                else:
                    whole[nth] = state._replace(record=copy.sample.record)
                    self._know_again(request, place, copy, moment)
            if where is not None:
                answer[where] = answer[where]._replace(states=whole)
        return lacking

    def _copies_of(self, places: Sequence[Place], states: Sequence[State]) -> dict[Place, Copy]:
        """Read the copies that the server says are right."""
        digests = {
            place: bytes(state.record)
            for place, state in zip(places, states, strict=True)
            if type(state) is Sample and type(state.record) is Digest
        }
        slots: dict[Call, list[int]] = {}
        for call, slot in digests:
            slots.setdefault(call, []).append(slot)
        found = {
            Place(call, slot): copy
            for call, some in slots.items()
            for slot, copy in self.copies.get(call, some).items()
        }
        return {place: copy for place, copy in found.items() if copy.digest == digests[place]}

    def _know_again(self, request: Take | Look, place: Place, copy: Copy, moment: AskedIn) -> None:
        """Know that the server has it still. It is written down for others where that may save them a request."""
        self._see(place, copy.digest, moment)
        is_memo = isinstance(request, Take) and request.wants[0].reader is None
        if is_memo and moment.lasting >= 0 and copy.epoch != moment.lasting:
            self.copies.renew({place: copy._replace(epoch=moment.lasting)})

    def _ask_once_more(self, lacking: Sequence[_Lacking], sent: dict[Place, Copy], moment: AskedIn) -> None:
        """Have the records sent that are not here, whatever was thought."""
        self.copies.drop({each.place for each in lacking})
        looks = [Look(each.request.ticket, [each.place], each.request.newer_than) for each in lacking]
        with self._telling.silent():
            answers: list[Any] = self._performed(looks)
        for each, answer in zip(lacking, answers, strict=True):
            if not isinstance(answer, list):
                # The draw that was given it gives its position back.
                each.states[each.nth] = _without(cast("Sample", each.states[each.nth]), answer)
                continue
            (state,) = cast("list[State]", answer)
            each.states[each.nth] = state
            if type(state) is Sample:
                sent[each.place] = Copy(state, digest_of(state.record), moment.lasting)

    # What is known without asking.

    def _known(self, requests: Sequence[Request], moment: AskedIn) -> dict[int, Answer | StoreError]:
        """Answer draws without a cursor whose samples are here, and of which nothing was replaced since that was so."""
        known: dict[int, Answer | StoreError] = {}
        for nth, request in enumerate(requests):
            if isinstance(request, Write):
                break
            if isinstance(request, Take) and (taken := self._taken(request, moment)) is not None:
                known[nth] = taken
        return known

    def _taken(self, take: Take, moment: AskedIn) -> list[Taken] | None:
        if moment.epoch < 0 or take.ticket in self.flights.answers:
            return None
        taken: list[Taken] = []
        for want in take.wants:
            if want.reader is not None:
                return None
            slots = [want.slot(at) for at in range(want.n)]
            copies = self.copies.get(want.call, slots)
            samples = [
                copy.sample
                for slot in slots
                if (copy := copies.get(slot)) is not None
                and copy.sample.stored > take.newer_than
                and self._is_current(Place(want.call, slot), copy, moment)
            ]
            if len(samples) < want.n:
                return None
            taken.append(Taken(range(want.n), samples))
        return taken

    def _is_current(self, place: Place, copy: Copy, moment: AskedIn) -> bool:
        return copy.epoch == moment.lasting >= 0 or self._seen.get(place) == (moment.epoch, copy.digest)

    # What the server does as it is.

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Call `wake` once for each place when nobody alive is filling it any more."""
        return self.server.watch(places, wake)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        return self.server.peek(call, slots)

    def epoch(self) -> int:
        """Return the epoch that this process was told of."""
        return self.server.epoch()

    def close(self) -> None:
        """Leave the server, and let go of the tier."""
        try:
            self.server.close()
        finally:
            self.copies.close()


class _Lacking(NamedTuple):
    """A state of an answer whose record was not sent and is not here."""

    request: Take | Look
    states: list[State]
    nth: int
    place: Place


def _slots_of(request: Take | Look, answer: Any) -> list[tuple[int | None, Sequence[Place], Sequence[State]]]:
    """Return of which places an answer tells, for each want of a draw."""
    if isinstance(request, Look):
        return [(None, request.places, answer)]
    return [
        (nth, [Place(want.call, want.slot(at)) for at in taken.positions], taken.states)
        for nth, (want, taken) in enumerate(zip(request.wants, answer, strict=True))
    ]


def _filled(write: Write, written: Written, moment: AskedIn) -> dict[Place, Copy]:
    """Return what stands in the slots that were filled."""
    samples = {
        change.place: written.lost.get(change.place, change.sample)
        for change in write.changes
        if isinstance(change, Fill)
    }
    return {place: Copy(sample, digest_of(sample.record), moment.lasting) for place, sample in samples.items()}


def _without(sample: Sample, error: StoreError) -> Sample:
    absent = Absent(sample.record)
    absent.error = MissingRecord(f"The record of a sample was not sent again: {error}")
    return sample._replace(record=absent)


_living = renewed_in_children(TierStore.begin_in_child)
