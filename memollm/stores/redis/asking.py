"""Requests as the steps that the server's script does for a call, and its answers."""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._types.calls import Place, Position, recorder, resumed
from memollm._types.requests import Answer, Fill, Look, Release, Return, Settle, Take, Write, Written
from memollm._types.samples import EVER, MINE, Busy, Digest, Sample, State, Taken, digest_of
from memollm.stores.redis.failures import no_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Call, Want
    from memollm._types.requests import Change, Request
    from memollm.stores.drawn import Drawn, HeldByDraw

Step = tuple[Any, ...]
HEAD: Final = struct.Struct(">ddqqdd16s")
"""What stands before a record: when it was stored, what it took, and its digest."""
NOTHING: Final = digest_of(b"")
"""The digest of a record that is empty; where another one stands alone, the record was not sent."""
REPLACED: Final = struct.Struct(">d16s")
MANY: Final = 200
"""How many draws of a call are done by one run of the script; meanwhile the server does nothing else."""
REMEMBERED: Final = 100_000


def packed(sample: Sample) -> bytes:
    """Write a sample as the server keeps it."""
    record, stored, seconds, input_tokens, output_tokens, cost, latency = sample
    price = float("nan") if cost is None else cost
    return HEAD.pack(stored, seconds, input_tokens, output_tokens, price, latency, digest_of(record)) + record


def sample_of(data: bytes) -> Sample:
    """Read a sample, or its head alone."""
    stored, seconds, input_tokens, output_tokens, cost, latency, digest = HEAD.unpack_from(data)
    price = None if cost != cost else cost  # noqa: PLR0124 - so is what is no number
    record = data[HEAD.size :] if len(data) > HEAD.size or digest == NOTHING else Digest(digest)
    return Sample(record, stored, seconds, input_tokens, output_tokens, price, latency)


def new_number() -> int:
    """Return a number to make generations of; the server counts in floating point, so it has 48 bits."""
    return 1 + int.from_bytes(os.urandom(6))


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the fields and values of a hash."""
    return [*zip(flat[::2], flat[1::2], strict=True)]


class Seen:
    """How far this process has seen readers come, in case that the server forgets it by a fail-over."""

    def __init__(self) -> None:
        self._cursors: dict[tuple[str, str], tuple[str, int]] = {}

    def of(self, base: str, reader: str) -> tuple[str, int]:
        """Return the generation of a cursor and its next position, as seen last."""
        return self._cursors.get((base, reader), ("", 0))

    def note(self, base: str, reader: str, generation: str, upto: int) -> None:
        """Note that a position was given, so that the cursor stands behind it."""
        known, next_ = self._cursors.get((base, reader), ("", 0))
        if known != generation or next_ <= upto:
            if len(self._cursors) >= REMEMBERED:
                self._cursors.clear()
            self._cursors[base, reader] = generation, upto + 1


class Group(NamedTuple):
    """What one request asks of one call."""

    request: int
    id: int | None
    """By which the server remembers what it has answered."""
    again: bool
    """Whether it was asked before: what is on its way still is not to find it forgotten."""
    steps: list[Step]
    about: list[int]
    """Of each step, which want, place or change it is about."""


class OfCall:
    """What is asked of one call."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.groups: list[Group] = []
        self.records: list[bytes] = []


NO_REQUEST: Final = -1
"""The number of what is settled besides, for draws that are over and have not said so."""


class AskingCalls:
    """Several requests on their way to the server."""

    def __init__(self, drawn: Drawn, base: Callable[[Call], str], seen: Seen) -> None:
        self._drawn = drawn
        self._base = base
        self._seen = seen
        self.of: dict[Call, OfCall] = {}
        self.brings = False
        """Whether it tells of what was paid for, or given before, which is of no other cache than it was of."""

    # Requests.

    def add(self, requests: Sequence[Request]) -> None:
        """Add the steps of requests."""
        for number, request in enumerate(requests):
            match request:
                case Take():
                    for nth, want in enumerate(request.wants):
                        self._step(number, request.ticket, want.call, nth, self._take(request, want))
                case Look():
                    for nth, place in enumerate(request.places):
                        step = ("l", place.slot, _since(request.newer_than), str(request.ticket))
                        self._step(number, None, place.call, nth, step)
                case Write():
                    for nth, change in enumerate(request.changes):
                        self._change(number, request.id, nth, change)

    def _step(self, number: int, id: int | None, call: Call, nth: int, step: Step) -> None:  # noqa: A002 - as in `Write`
        of = self.of.setdefault(call, OfCall(call))
        if not of.groups or of.groups[-1].request != number:
            again = id is not None and self._drawn.is_unsure(id)
            of.groups.append(Group(number, id, again, [], []))
        of.groups[-1].steps.append(step)
        of.groups[-1].about.append(nth)

    def _take(self, take: Take, want: Want) -> Step:
        reader, newer = want.reader, _since(take.newer_than)
        if reader is None:
            return ("t", False, False, want.n, want.pool or False, False, False, newer, False, "", 0)
        generation, next_ = self._seen.of(self._base(want.call), reader)
        self.brings |= bool(generation)
        lane = False if want.lane is None else want.lane
        order = list(want.order) or False
        resumes = resumed(reader) is not None
        return (
            *("t", reader, recorder(reader), want.n, want.pool or False, lane, order, newer),
            *(resumes, generation, next_),
        )

    def _change(self, number: int, id: int, nth: int, change: Change) -> None:  # noqa: A002 - the same
        match change:
            case Fill():
                place, self.brings = change.place, True
                records = self.of.setdefault(place.call, OfCall(place.call)).records
                records.append(packed(change.sample))
                # Where it stands among what is sent is known when all is together.
                step = ("f", str(change.ticket), place.slot, len(records), _since(change.newer_than))
                self._step(number, id, place.call, nth, step)
            case Settle():
                self._settle(number, id, nth, change)
            case Release():
                self._step(number, id, change.place.call, nth, ("e", str(change.ticket), change.place.slot))
            case Return():
                self._back(number, id, nth, change.position)

    def _back(self, number: int, id: int | None, nth: int, position: Position) -> None:  # noqa: A002 - the same
        step = ("b", position.reader, position.at, str(position.generation))
        self._step(number, id, position.call, nth, step)

    def _settle(self, number: int, id: int, nth: int, settle: Settle) -> None:  # noqa: A002 - the same
        """Add the steps that settle a draw: what it holds is known here, or else to the server."""
        ticket, left = settle.ticket, self._drawn.left_by(settle)
        self._unknown(number, id, nth, ticket, keeps_claims=settle.keeps_claims)
        for position in left.delivered:
            self._back(number, id, nth, position)
        for position, is_back, is_refused in left.positions:
            self._go(number, id, nth, ticket, position, is_back=is_back, is_refused=is_refused)
        for place in left.claims:
            self._step(number, id, place.call, nth, ("e", str(ticket), place.slot))

    def _unknown(self, number: int, id: int | None, nth: int, ticket: int, *, keeps_claims: bool) -> None:  # noqa: A002
        take = self._drawn.unsure_take(ticket)
        for call in dict.fromkeys(want.call for want in take.wants) if take is not None else ():
            self._step(number, id, call, nth, ("u", str(ticket), keeps_claims))

    def _go(
        self,
        number: int,
        id: int | None,  # noqa: A002 - the same
        nth: int,
        ticket: int,
        position: Position,
        *,
        is_back: bool,
        is_refused: bool = False,
    ) -> None:
        at, generation = position.at, str(position.generation)
        step = ("g", str(ticket), position.reader, at, generation, is_back, is_refused, position)
        self._step(number, id, position.call, nth, step)

    def settle_left(self) -> tuple[list[tuple[int, HeldByDraw, bool]], list[int]]:
        """Settle draws that are over and have not said so; return which."""
        over, lost = self._drawn.over(), self._drawn.lost()
        for ticket, held, void in over:
            for position in held.positions if void else ():
                self._go(NO_REQUEST, None, 0, ticket, position, is_back=True)
            for place in held.claims:
                self._step(NO_REQUEST, None, place.call, 0, ("e", str(ticket), place.slot))
        for ticket in lost:
            self._unknown(NO_REQUEST, None, 0, ticket, keeps_claims=False)
        return over, lost

    def undo(self, requests: Sequence[Request]) -> None:
        """Let nothing have been given by requests."""
        for request in requests:
            if isinstance(request, Take):
                self._unknown(NO_REQUEST, None, 0, request.ticket, keeps_claims=False)
            elif isinstance(request, Look):
                for place in request.places:
                    self._step(NO_REQUEST, None, place.call, 0, ("e", str(request.ticket), place.slot))

    # Sending.

    def sent(
        self, of: OfCall, groups: Sequence[Group], about: Sequence[Any] | None, cache: str
    ) -> tuple[bytes, list[bytes]]:
        """Return what is asked of a call of a cache, and the records that go with it."""
        records: list[bytes] = []
        told = [
            (
                str(group.id) if group.id is not None else False,
                [_told(step, of, records) for step in group.steps],
            )
            for group in groups
        ]
        try:
            return msgspec.msgpack.encode((about or False, told, cache)), records
        except UnicodeEncodeError as error:
            raise no_text(error) from error

    def about(self, call: Call, *, is_listed: bool) -> list[Any]:
        """Return what the server is told of a call that it may not know."""
        return [call.key.hex(), call.function, call.form, repr(time.time()), is_listed]

    # Answers.

    def answers(self, requests: Sequence[Request], answered: Sequence[tuple[Group, Sequence[Any]]]) -> list[Answer]:
        """Make answers of what the server has answered to each group."""
        found: list[dict[int, list[tuple[Step, Any]]]] = [{} for _ in requests]
        for group, answers in answered:
            if group.request != NO_REQUEST:
                for step, nth, answer in zip(group.steps, group.about, answers, strict=True):
                    found[group.request].setdefault(nth, []).append((step, answer))
        return [self._answer(request, of) for request, of in zip(requests, found, strict=True)]

    def _answer(self, request: Request, found: dict[int, list[tuple[Step, Any]]]) -> Answer:
        match request:
            case Take():
                return [self._taken(want, found[nth][0][1]) for nth, want in enumerate(request.wants)]
            case Look():
                return [state_of(found[nth][0][1]) for nth in range(len(request.places))]
            case Write():
                return _written(request, found)

    def _taken(self, want: Want, answer: Any) -> Taken:
        generation, positions, states = answer[0].decode(), answer[1], [state_of(state) for state in answer[2]]
        if want.reader is None:
            return Taken(range(want.n), states)
        if positions and resumed(want.reader) is None:
            self._seen.note(self._base(want.call), want.reader, generation, max(positions))
        return Taken(positions, states, int(generation))


def one_draw(groups: Sequence[Group]) -> tuple[object, ...] | None:
    """Return what asks for one sample at the cursor of a reader, if that is all that groups ask."""
    if len(groups) != 1 or len(groups[0].steps) != 1:
        return None
    ((kind, *of),) = groups[0].steps
    if kind != "t":
        return None
    reader, recorder_, n, pool, lane, order, newer, resumes, *seen = of
    if n != 1 or not reader or lane is not False or order or resumes:
        return None
    return (groups[0].id, reader, pool or "", "" if newer is False else repr(newer), *seen, recorder_)


def one_taken(generation: Any, at: Any, state: Any) -> list[Any]:
    """Return what one draw is answered as many draws are."""
    return [generation, [at], [state]]


def _told(step: Step, of: OfCall, records: list[bytes]) -> Step:
    """Return a step as it is sent; what is filled stands behind the first five arguments."""
    if step[0] == "f":
        nth: int = step[3]
        records.append(of.records[nth - 1])
        return (*step[:3], 5 + len(records), step[4])
    return step[:-1] if step[0] == "g" else step


def _since(newer_than: float) -> float | bool:
    return False if newer_than == EVER else newer_than


def state_of(state: Any) -> State:
    """Read a state."""
    if isinstance(state, bytes):
        return sample_of(state)
    return MINE if state == 0 else Busy(state if state > 0 else None)


def _written(write: Write, found: dict[int, list[tuple[Step, Any]]]) -> Written:
    lost: dict[Place, Sample] = {}
    void: list[Position] = []
    for nth, change in enumerate(write.changes):
        for step, answer in found.get(nth, ()):
            if isinstance(change, Fill) and isinstance(answer, bytes):
                lost[change.place] = sample_of(answer)
            elif step[0] == "g" and answer == 1:
                void.append(step[-1])
    return Written(lost, tuple(void))


def has_replaced(answered: Sequence[tuple[Group, Sequence[Any]]]) -> bool:
    """Tell whether a fill has taken the place of a sample."""
    return any(
        step[0] == "f" and answer == 1
        for group, answers in answered
        for step, answer in zip(group.steps, answers, strict=True)
    )
