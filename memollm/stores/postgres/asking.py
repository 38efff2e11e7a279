"""Requests as the steps that the server's function does, and its rows as their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._types.calls import Call, Place, Position, recorder, resumed
from memollm._types.requests import Answer, Fill, Look, Release, Return, Settle, Take, Write, Written
from memollm._types.samples import EVER, MINE, Busy, Digest, Sample, State, Taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._types.requests import Change, Request
    from memollm.stores.drawn import Drawn, HeldByDraw
    from memollm.stores.thin import HoldsRecords

Row = tuple[Any, ...]
KIND, REQUEST, NTH, AT, TICKET, GENERATION, BODY = range(7)
GIVEN: Final = ("given", "given, held")
"""A whole draw: one sample at one position."""
REMEMBERED = 100_000
"""How many calls a process remembers the numbers of."""
NO_REQUEST = -1
"""The number of what is settled besides, for draws that are over and have not said so."""


class Numbers:
    """The numbers of calls and readers, as the server gave them to this process."""

    def __init__(self) -> None:
        self.calls: dict[Call, int] = {}
        self.readers: dict[str, tuple[int, int]] = {}
        self.numbering = 0

    def know(self, call: Call, number: int) -> None:
        """Remember the number of a call."""
        if len(self.calls) >= REMEMBERED:
            self.calls.clear()
        self.calls[call] = number

    def forget_calls(self) -> None:
        """Know of no call: its number may have become another's."""
        self.calls.clear()
        self.numbering = 0


class Sending(NamedTuple):
    """What is sent."""

    again: bool
    numbering: int
    calls: str
    readers: str
    steps: str
    records: list[bytes]


class Asking:
    """Several requests on their way to the server."""

    def __init__(self, numbers: Numbers, drawn: Drawn) -> None:
        self._numbers = numbers
        self._drawn = drawn
        self._calls: dict[Call, int] = {}
        self._readers: dict[str, int] = {}
        self._steps: list[dict[str, Any]] = []
        self._changes: dict[tuple[int, int], Place | Position] = {}
        """Which of a request's steps is about what, for those that may come to nothing."""
        self._records: list[bytes] = []
        self._again = False

    @property
    def asks(self) -> bool:
        """Whether there is anything to be sent."""
        return bool(self._steps)

    @property
    def asks_again(self) -> bool:
        """Whether any of it was asked before, and its answer lost."""
        return self._again

    @property
    def asked(self) -> Sending:
        """What is to be sent."""
        numbers, encode = self._numbers, msgspec.json.encode
        calls = [
            [number] if (number := numbers.calls.get(each)) else [None, each.key.hex(), each.function, each.form]
            for each in self._calls
        ]
        readers = [[*numbers.readers.get(each, (None, None)), each, recorder(each)] for each in self._readers]
        return Sending(
            self._again,
            numbers.numbering,
            encode(calls).decode(),
            encode(readers).decode(),
            encode(self._steps).decode(),
            self._records,
        )

    # Requests.

    def add(self, requests: Sequence[Request]) -> None:
        """Add the steps of requests."""
        for number, request in enumerate(requests):
            before = len(self._steps)
            match request:
                case Take():
                    self._add_take(number, request)
                case Look():
                    self._add_look(number, request)
                case Write():
                    self._add_write(number, request)
            if len(self._steps) > before:
                self._steps[-1]["z"] = True

    def _step(self, number: int, kind: str, call: Call | None, **rest: Any) -> dict[str, Any]:
        step = {"k": kind, "q": number, **rest}
        if call is not None:
            step["c"] = self._calls.setdefault(call, len(self._calls))
        self._steps.append(step)
        return step

    def _reader(self, reader: str) -> int:
        return self._readers.setdefault(reader, len(self._readers))

    def _add_take(self, number: int, take: Take) -> None:
        self._again |= self._drawn.is_unsure(take.ticket)
        for nth, want in enumerate(take.wants):
            step = self._step(number, "take", want.call, i=nth, id=take.ticket, t=take.ticket, n=want.n)
            if want.reader is not None:
                step["r"] = self._reader(want.reader)
            if want.pool is not None:
                step["p"] = want.pool
            if want.lane is not None:
                step["l"] = want.lane
            if want.order:
                step["o"] = want.order
            if want.reader is not None and resumed(want.reader) is not None:
                step["u"] = True
            _since(step, take.newer_than)

    def _add_look(self, number: int, look: Look) -> None:
        for nth, place in enumerate(look.places):
            _since(self._step(number, "look", place.call, i=nth, t=look.ticket, n=place.slot), look.newer_than)

    def _add_write(self, number: int, write: Write) -> None:
        self._again |= self._drawn.is_unsure(write.id)
        first = len(self._steps)
        for change in write.changes:
            self._add_change(number, change)
        for nth, step in enumerate(self._steps[first:]):
            step["i"], step["id"] = nth, write.id
            about = step.pop("about", None)
            if about is not None:
                self._changes[number, nth] = about

    def _add_change(self, number: int, change: Change) -> None:
        match change:
            case Fill():
                self._add_fill(number, change)
            case Settle():
                self.settle(number, change)
            case Release():
                self._end(number, change.ticket, change.place)
            case Return():
                self._free(number, change.position)

    def _add_fill(self, number: int, fill: Fill) -> None:
        self._records.append(fill.sample.record)
        _, stored, seconds, input_tokens, output_tokens, cost, latency = fill.sample
        place = fill.place
        step = self._step(
            number, "fill", place.call, t=fill.ticket, n=place.slot, b=len(self._records), s=stored, se=seconds
        )
        step.update(ti=input_tokens, to=output_tokens, co=cost, la=latency, about=place)
        _since(step, fill.newer_than)

    def _end(self, number: int, ticket: int, place: Place) -> None:
        self._step(number, "end", place.call, t=ticket, n=place.slot)

    def _go(self, number: int, ticket: int, position: Position, *, returned: bool) -> dict[str, Any]:
        reader = self._reader(position.reader)
        step = self._step(number, "go", position.call, r=reader, n=position.at, g=position.generation)
        step.update(t=ticket, f=returned, about=position)
        return step

    def _free(self, number: int, position: Position) -> None:
        reader = self._reader(position.reader)
        self._step(number, "free", position.call, r=reader, n=position.at, g=position.generation)

    def settle(self, number: int, settle: Settle) -> None:
        """Add the steps that settle a draw: what it holds is known here, or else to the server."""
        ticket, left = settle.ticket, self._drawn.left_by(settle)
        if self._drawn.is_unsure(ticket):
            self._unknown(number, ticket, keeps_claims=settle.keeps_claims)
        for position in left.delivered:
            self._free(number, position)
        for position, is_back, is_refused in left.positions:
            step = self._go(number, ticket, position, returned=is_back)
            if is_refused:
                step["rf"] = True
        for place in left.claims:
            self._end(number, ticket, place)

    def _unknown(self, number: int, ticket: int, *, keeps_claims: bool) -> None:
        self._again = True
        take = self._drawn.unsure_take(ticket)
        want = take.wants[0] if take is not None and len(take.wants) == 1 else None
        # What was given to one draw of one sample is noted at its cursor.
        step = self._step(number, "unknown", want.call if want else None, t=ticket, f=keeps_claims)
        if want is not None and want.reader is not None:
            step["r"] = self._reader(want.reader)

    def settle_left(self) -> tuple[list[tuple[int, HeldByDraw, bool]], list[int]]:
        """Settle draws that are over and have not said so; return which."""
        over, lost = self._drawn.over(), self._drawn.lost()
        for ticket, held, void in over:
            for position in held.positions if void else ():
                self._go(NO_REQUEST, ticket, position, returned=True)
            for place in held.claims:
                self._end(NO_REQUEST, ticket, place)
        for ticket in lost:
            self._unknown(NO_REQUEST, ticket, keeps_claims=False)
        for step in self._steps:
            step.pop("about", None)
        if self._steps:
            self._steps[-1]["z"] = True
        return over, lost

    def held(self, holding: HoldsRecords) -> list[dict[str, Any]]:
        """Return of which slots the records need not be sent, for each step that may find them."""
        calls: list[Call] = list(self._calls)
        return [
            {"q": step["q"], "i": step["i"], "p": step.get("p"), "f": first, "l": last}
            for step in self._steps
            if step["k"] in {"take", "look"}
            for first, last in holding.stretches(calls[int(step["c"])])
        ]

    # Answers.

    def answers(self, requests: Sequence[Request], rows: Sequence[Row]) -> list[Answer]:
        """Make answers of the rows, and keep the numbers that the server gave."""
        self._note_numbers(rows)
        of: dict[int, list[Row]] = {}
        for row in rows:
            if row[REQUEST] is not None and row[REQUEST] != NO_REQUEST:
                of.setdefault(row[REQUEST], []).append(row)
        return [self._answer(number, request, of.get(number, [])) for number, request in enumerate(requests)]

    def _note_numbers(self, rows: Sequence[Row]) -> None:
        calls, readers, numbers = list(self._calls), list(self._readers), self._numbers
        for row in rows:
            nth: int = row[NTH]
            if row[KIND] == "numbering":
                numbers.forget_calls()
                numbers.numbering = row[AT]
            elif row[KIND] == "call":
                numbers.know(calls[nth], row[AT])
            elif row[KIND] == "reader":
                numbers.readers[readers[nth]] = row[AT], row[TICKET]

    def _answer(self, number: int, request: Request, rows: list[Row]) -> Answer:
        match request:
            case Take():
                return taken_of(request, rows)
            case Look():
                return [_state(row) for row in rows]
            case Write():
                return _written(rows, {nth: about for (of, nth), about in self._changes.items() if of == number})


def one_draw(take: Take, numbers: Numbers) -> tuple[Any, ...] | None:
    """Return what most draws ask for, without any writing around it: one sample of a call and a reader with numbers."""
    want = take.wants[0]
    reader = want.reader
    if len(take.wants) != 1 or want.n != 1 or reader is None or want.lane is not None or resumed(reader) is not None:
        return None
    number, numbered = numbers.calls.get(want.call), numbers.readers.get(reader)
    if number is None or numbered is None:
        return None
    since = take.newer_than
    return (take.ticket, numbers.numbering, number, *numbered, want.pool, None if since == EVER else since)


def one_taken(row: Row) -> list[Taken]:
    """Make the answer of it, where a sample was found."""
    return [Taken([row[AT]], [Sample._make(row[BODY:])], row[GENERATION])]


def _since(step: dict[str, Any], newer_than: float) -> None:
    if newer_than != EVER:
        step["w"] = newer_than


def taken_of(take: Take, rows: Sequence[Row]) -> list[Taken]:
    """Make the answer of a draw of its rows."""
    taken: list[tuple[list[int], list[State], int]] = []
    for row in rows:
        if row[KIND] == "want":
            taken.append(([], [], row[GENERATION]))
        elif row[KIND] in GIVEN:
            taken.append(([row[AT]], [_state(row)], row[GENERATION]))
        else:
            taken[-1][0].append(row[AT])
            taken[-1][1].append(_state(row))
    return [
        Taken(range(want.n) if want.reader is None else positions, states, generation)
        for want, (positions, states, generation) in zip(take.wants, taken, strict=True)
    ]


def _state(row: Row) -> State:
    if row[KIND] in {"sample", "given"}:
        return Sample._make(row[BODY:])
    if row[KIND] in {"held", "given, held"}:
        return Sample(Digest(row[BODY]), *row[BODY + 1 :])
    return MINE if row[KIND] == "mine" else Busy(row[TICKET])


def _written(rows: list[Row], about: Mapping[int, Place | Position]) -> Written:
    lost: dict[Place, Sample] = {}
    void: list[Position] = []
    for row in rows:
        what = about.get(row[NTH])
        if row[KIND] == "lost" and isinstance(what, Place):
            lost[what] = Sample._make(row[BODY:])
        elif row[KIND] == "void" and isinstance(what, Position):
            void.append(what)
    return Written(lost, tuple(void))
