"""The memory store: the reference model of the protocol, for tests and throw-away use."""

from __future__ import annotations

import copy
import os
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memollm._types.calls import Call, Place, Position, Want, choose_positions, recorder
from memollm._types.counting import Account, Counts, Use
from memollm._types.listings import Item, ListedReader, Move, ReaderOfCall, Standing, Stored, Surveyed
from memollm._types.requests import Change, Fill, Release, Return, Settle
from memollm._types.samples import MINE, Busy, Sample, State, Taken
from memollm.stores.base import in_use, mentions
from memollm.stores.flights import Flights
from memollm.stores.memory.lists import surveyed
from memollm.stores.memory.transfer import Content, MemoryTransfer
from memollm.stores.transfer import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm.stores.base import Document


@dataclass(slots=True)
class _Cursor:
    """How far a reader has drawn a call, and its positions that are free (`None`) or in flight (a ticket)."""

    next: int = 0
    loose: dict[int, int | None] = field(default_factory=dict[int, int | None])


class MemoryStore:
    """Keeps everything in this process; a forked child begins with a copy of its own."""

    def __init__(self) -> None:
        self._begin_process()
        self._epoch = 0
        self._samples: dict[Call, dict[int, Sample]] = {}
        self._claims: dict[Place, int] = {}
        self._claimed: dict[int, list[Place]] = {}
        self._in_flight: dict[int, list[Position]] = {}
        self._cursors: dict[str, dict[Call, _Cursor]] = {}
        self._recorded: dict[tuple[str, Call], dict[int, str]] = {}
        """By recorder and call, whose lane's each position is, in the order of recording."""
        self._counts: dict[Account, Counts] = {}
        self._used: dict[Call, float] = {}
        self._stretches: dict[Call, set[Stretch]] = {}
        self._catalog: dict[str, dict[str, Document]] = {}
        _living.add(self)

    def _begin_process(self) -> None:
        self.flights = Flights()
        self._lock = threading.RLock()

    def after_fork_in_child(self) -> None:
        """Begin anew: whoever held the lock or a claim is in the parent, and will never let go of it here."""
        self._begin_process()

    def take(self, wants: Sequence[Want], ticket: int, *, newer_than: float, wait: bool) -> list[Taken]:  # noqa: ARG002 - it never has to wait
        """See `Store.take`."""
        with self._lock:
            return [self._take(want, ticket, newer_than) for want in wants]

    def _take(self, want: Want, ticket: int, newer_than: float) -> Taken:
        if want.reader is None:
            positions = list(range(want.n))
            return Taken(positions, self._look(want, positions, ticket, newer_than))
        cursors = self._cursors.setdefault(want.reader, {})
        if want.call not in cursors or want.lane is not None:
            self._reserve(cursors.setdefault(want.call, _Cursor()), want.reader, want.call)
        cursor = cursors[want.call]
        recorded = self._recorded.setdefault((recorder(want.reader), want.call), {})
        mine = [at for at, lane in recorded.items() if lane == want.lane and at in cursor.loose]
        others = [at for at in sorted(cursor.loose) if at not in recorded]
        free = [at for at in (*mine, *others) if not self._holds(cursor.loose[at])]
        positions = choose_positions(want, free, cursor.next)
        cursor.next = max(cursor.next, positions[-1] + 1)
        states = self._look(want, positions, ticket, newer_than)
        delivered = all(type(state) is Sample for state in states)
        for at in positions:
            if want.lane is not None:
                recorded.setdefault(at, want.lane)
            if delivered:
                cursor.loose.pop(at, None)
            else:
                cursor.loose[at] = ticket
                self._in_flight.setdefault(ticket, []).append(Position(want.call, want.reader, at))
        return Taken(positions, states)

    def begin_at(self, reader: str, call: Call, standing: Standing) -> None:
        """Let a reader stand in a call as it does in another store; what it was not given there is free here."""
        with self._lock:
            cursor = _Cursor(standing.next, dict.fromkeys(standing.loose))
            self._cursors.setdefault(reader, {})[call] = cursor

    def _holds(self, ticket: int | None) -> bool:
        return ticket is not None and self.flights.holds(ticket)

    def _reserve(self, cursor: _Cursor, reader: str, call: Call) -> None:
        """Pass over what is recorded for lanes from the cursor on."""
        end = max(self._recorded.get((recorder(reader), call), {}), default=-1) + 1
        cursor.loose.update(dict.fromkeys(range(cursor.next, end)))
        cursor.next = max(cursor.next, end)

    def _look(self, want: Want, positions: Sequence[int], ticket: int, newer_than: float) -> list[State]:
        return [self._state(Place(want.call, want.slot(at)), ticket, newer_than) for at in positions]

    def _state(self, place: Place, ticket: int, newer_than: float) -> State:
        sample = self._sample(place)
        if sample is not None and sample.stored > newer_than:
            return sample
        holder = self._claims.get(place)
        if holder is not None and holder != ticket and self.flights.aloft(holder):
            return Busy(holder)
        self._claims[place] = ticket
        self._claimed.setdefault(ticket, []).append(place)
        return MINE

    def _sample(self, place: Place) -> Sample | None:
        return self._samples.get(place.call, {}).get(place.slot)

    def look(self, places: Sequence[Place], ticket: int, *, newer_than: float, wait: bool) -> list[State]:  # noqa: ARG002 - it never has to wait
        """See `Store.look`."""
        with self._lock:
            return [self._state(place, ticket, newer_than) for place in places]

    def write(self, changes: Sequence[Change]) -> None:
        """See `Store.write`."""
        with self._lock:
            for change in changes:
                self._apply(change)

    def _apply(self, change: Change) -> None:
        match change:
            case Fill():
                self._fill(change)
            case Settle():
                self._settle(change)
            case Release():
                if self._claims.get(change.place) == change.ticket:
                    del self._claims[change.place]
            case Return():
                self._return(change)

    def _fill(self, fill: Fill) -> None:
        samples = self._samples.setdefault(fill.place.call, {})
        claimed = self._claims.get(fill.place) == fill.ticket
        if claimed:
            del self._claims[fill.place]
        if claimed and fill.place.slot in samples:
            self._epoch += 1
        if claimed or fill.place.slot not in samples:
            samples[fill.place.slot] = fill.sample

    def _settle(self, settle: Settle) -> None:
        for place in self._claimed.pop(settle.ticket, ()):
            if self._claims.get(place) == settle.ticket:
                del self._claims[place]
        in_flight = self._in_flight.pop(settle.ticket, [])
        returned = set(in_flight if settle.returned is None else settle.returned)
        for position in in_flight:
            cursor = self._cursor(position)
            # After a rewind the position may be in flight for another, or delivered to it.
            if cursor is None or cursor.loose.get(position.at) != settle.ticket:
                continue
            if position in returned:
                cursor.loose[position.at] = None
            else:
                del cursor.loose[position.at]

    def _return(self, change: Return) -> None:
        cursor, at = self._cursor(change.position), change.position.at
        # A reader that was rewound in the meantime will come to this position by itself.
        if cursor is not None and at < cursor.next and at not in cursor.loose:
            cursor.loose[at] = None

    def _cursor(self, position: Position) -> _Cursor | None:
        return self._cursors.get(position.reader, {}).get(position.call)

    def poll(self, places: Sequence[Place]) -> list[bool]:
        """See `Store.poll`."""
        with self._lock:
            return [not self.flights.aloft(self._claims.get(place, 0)) for place in places]

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """See `Store.peek`."""
        with self._lock:
            samples = self._samples.get(call, {})
            return {slot: samples[slot] for slot in sorted(samples if slots is None else samples.keys() & set(slots))}

    def drawn(self, reader: str, call: Call, lane: str | None) -> list[int]:
        """See `Store.drawn`."""
        return self.standing(reader, call).drawn(lane)

    def standing(self, reader: str, call: Call) -> Standing:
        """See `Store.standing`."""
        with self._lock:
            cursor = self._cursors.get(reader, {}).get(call, _Cursor())
            recorded = self._recorded.get((recorder(reader), call), {})
            return Standing(cursor.next, frozenset(cursor.loose), dict(recorded))

    def epoch(self) -> int:
        """See `Store.epoch`."""
        return self._epoch

    def calls(self, function: str) -> list[Stored]:
        """See `Store.calls`."""
        with self._lock:
            return [Stored(call, len(kept)) for call, kept in self._samples.items() if call.function == function]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """See `Store.survey`."""
        with self._lock:
            listed = [
                surveyed(call, [*samples.values()], self._used.get(call, 0.0))
                for call, samples in self._samples.items()
                if samples and function in {None, call.function} and (text is None or mentions(call.form, text))
            ]
        return sorted(listed, key=lambda each: each.made)

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """See `Store.readers_of`."""
        with self._lock:
            return [
                ReaderOfCall(reader, cursor.next - len(cursor.loose), self._lanes(reader, call, cursor))
                for reader, cursors in sorted(self._cursors.items())
                if (cursor := cursors.get(call)) is not None
            ]

    def _lanes(self, reader: str, call: Call, cursor: _Cursor) -> tuple[str, ...]:
        recorded = self._recorded.get((recorder(reader), call), {})
        given = {lane for at, lane in recorded.items() if at < cursor.next and at not in cursor.loose}
        return tuple(sorted(given))

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """See `Store.adopt`."""
        with self._lock:
            for call in {call for move in moves for call in move}:
                if self._in_use(call):
                    raise in_use(call)
            rewritten = [
                {slot: sample._replace(record=rewrite(move, sample.record)) for slot, sample in kept.items()}
                for move in moves
                for kept in [self._samples.get(move.old, {})]
            ]
            self._epoch += 1
            return sum(self._adopt(move, samples) for move, samples in zip(moves, rewritten, strict=True))

    def _adopt(self, move: Move, samples: dict[int, Sample]) -> int:
        self._samples.pop(move.old, None)
        kept = self._samples.setdefault(move.new, {})
        ends = [cursors[move.new].next for cursors in self._cursors.values() if move.new in cursors]
        lanes = [at + 1 for (_, call), recorded in self._recorded.items() if call == move.new for at in recorded]
        start = max([0, *ends, *lanes, *(slot + 1 for slot in kept)])
        kept.update({start + slot: sample for slot, sample in samples.items()})
        for cursors in self._cursors.values():
            old = cursors.pop(move.old, None)
            if old is not None:
                self._append(cursors.setdefault(move.new, _Cursor()), old, start)
        for whose, call in [key for key in self._recorded if key[1] == move.old]:
            moved = {start + at: lane for at, lane in self._recorded.pop((whose, call)).items()}
            self._recorded.setdefault((whose, move.new), {}).update(moved)
        if move.old in self._used:
            self._used[move.new] = max(self._used.pop(move.old), self._used.get(move.new, 0.0))
        return len(samples)

    @staticmethod
    def _append(cursor: _Cursor, old: _Cursor, start: int) -> None:
        """Let a reader have drawn what it had drawn of either call, and leave it the rest of both."""
        cursor.loose.update(dict.fromkeys(range(cursor.next, start)))
        cursor.loose.update(dict.fromkeys(start + at for at in old.loose))
        cursor.next = start + old.next

    def forget(self, call: Call) -> int:
        """See `Store.forget`."""
        with self._lock:
            self._epoch += 1
            for reader, cursors in list(self._cursors.items()):
                if cursors.pop(call, None) is not None and not cursors:
                    del self._cursors[reader]
            for key in [key for key in self._recorded if key[1] == call]:
                del self._recorded[key]
            self._used.pop(call, None)
            return len(self._samples.pop(call, {}))

    def rewind(self, reader: str) -> bool:
        """See `Store.rewind`."""
        with self._lock:
            cursors = self._cursors.get(reader, {})
            for call in cursors:
                cursors[call] = _Cursor()
                self._reserve(cursors[call], reader, call)
            return reader in self._cursors

    def drop(self, reader: str) -> bool:
        """See `Store.drop`."""
        with self._lock:
            for key in [key for key in self._recorded if key[0] == reader]:
                del self._recorded[key]
            return self._cursors.pop(reader, None) is not None

    def readers(self) -> list[ListedReader]:
        """See `Store.readers`."""
        with self._lock:
            return [
                ListedReader(name, len(cursors), sum(cursor.next - len(cursor.loose) for cursor in cursors.values()))
                for name, cursors in sorted(self._cursors.items())
            ]

    def count(self, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:
        """See `Store.count`."""
        with self._lock:
            for account, counted in counts.items():
                self._counts[account] = self._counts.get(account, Counts()).plus(counted)
            for use in uses:
                if use.call in self._samples:
                    self._used[use.call] = max(use.at, self._used.get(use.call, use.at))
                    if use.run is not None:
                        self._stretches.setdefault(use.call, set()).add(Stretch(use.run, use.first, use.last))

    def counted(self) -> Mapping[Account, Counts]:
        """See `Store.counted`."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def inventory(self) -> list[Item]:
        """See `Store.inventory`."""
        with self._lock:
            return [self._item(call, samples) for call, samples in self._samples.items() if samples]

    def _item(self, call: Call, samples: dict[int, Sample]) -> Item:
        size = len(call.form.encode()) + sum(len(sample.record) for sample in samples.values())
        made = min(sample.stored for sample in samples.values())
        return Item(call, call.function, len(samples), size, made, self._last_used(call))

    def _last_used(self, call: Call) -> float:
        stored = [sample.stored for sample in self._samples[call].values()]
        return max([*stored, self._used.get(call, 0.0)])

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """See `Store.evict`."""
        with self._lock:
            known = [each for each in handles if isinstance(each, Call) and each in self._samples]
            evicted = [each for each in known if self._last_used(each) <= used_by and not self._in_use(each)]
            for call in evicted:
                self.forget(call)
            return list[object](evicted)

    def _in_use(self, call: Call) -> bool:
        claimants = [ticket for place, ticket in self._claims.items() if place.call == call]
        holders = [
            ticket for cursors in self._cursors.values() if call in cursors for ticket in cursors[call].loose.values()
        ]
        return any(map(self._holds, [*claimants, *holders]))

    def transfer(self) -> MemoryTransfer:
        """See `Transferable.transfer`."""
        return MemoryTransfer(
            self._lock,
            Content(self._samples, self._cursors, self._recorded, self._stretches, self._counts),
            lambda call, slot: self.flights.aloft(self._claims.get(Place(call, slot), 0)),
            lambda reader, call: self._cursors.setdefault(reader, {}).setdefault(call, _Cursor()),
        )

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """See `Store.shrink`; what was removed here is gone."""

    def note(self, kind: str, name: str, document: Document) -> None:
        """See `Store.note`."""
        with self._lock:
            self._catalog.setdefault(kind, {})[name] = copy.deepcopy(document)

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """See `Store.notes`."""
        with self._lock:
            documents = sorted(self._catalog.get(kind, {}).items())
            return copy.deepcopy({each: document for each, document in documents if name in {None, each}})

    def close(self) -> None:
        """See `Store.close`; what was kept is gone with the object, not with this call."""


_living: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_living):
        store.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
