"""Adopting in a Redis store: a call's samples go to another, which is there whole before the old one is gone.

The two may be in different places, so that no script reaches both. Which of them holds is what the new one knows of the
move (`:v`): whoever finds the old one held by somebody who has died asks it, and then ends the move or undoes it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._types.calls import resumed, walked
from memollm._types.listings import Move
from memollm.errors import StoreError
from memollm.stores.keeping import in_use
from memollm.stores.redis.asking import new_number, pairs
from memollm.stores.redis.looking import call_of
from memollm.stores.redis.matching import RedisMatching
from memollm.stores.redis.moving import Arrival, HeldCall, SetReader
from memollm.stores.redis.transcripts import moved_drawn
from memollm.stores.transfer import Lane, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm.stores.redis.matching import Traces
    from memollm.stores.redis.session import RedisSession

NOTHING: Final[tuple[int, list[int]]] = (0, [])
"""What a reader has drawn of a call that it never read."""
STILL_MOVED: Final = 1
HALFWAY: Final = re.compile(r"MMHALFWAY (\S+) ([0-9a-f]+:\d+):([0-9a-f]+)")


class Leaving(NamedTuple):
    """A call that leaves, with all that it has."""

    move: Move
    held: HeldCall
    content: Any
    samples: dict[int, Sample]


class Adoption:
    """Moves of calls, one after another."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store

    def run(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Hold all that leaves, rewrite it, and put it where it goes."""
        self._store.settle_left()
        finish_moves(self._store)
        held: list[Leaving] = []
        try:
            self._require_free(moves)
            for move in moves:
                self._hold(move, held)
            written = [_rewritten(each, rewrite) for each in held]
            return sum(map(self._put, written))
        finally:
            for each in held:
                with suppress(StoreError):
                    self._end(each)

    def _require_free(self, moves: Sequence[Move]) -> None:
        calls = [(move, self._store.base(call)) for move in moves for call in move]
        for (move, _), is_held in zip(calls, self._store.keep([base for _, base in calls], "held"), strict=True):
            if is_held:
                raise in_use(move.old)

    def _hold(self, move: Move, held: list[Leaving]) -> None:
        store, old = self._store, HeldCall(self._store, move.old)
        tag = store.tag_of(store.base(move.new))
        if old.hold("leaving", to=tag, alone=True) is None:
            raise in_use(move.old)
        (content,) = store.look([store.base(move.old)], "all")
        held.append(Leaving(move, old, content, dict(store.samples(move.old, content[4]))))

    def _put(self, leaving: Leaving) -> int:
        """Let what leaves come after everything that is in the other call."""
        store, move = self._store, leaving.move
        made, used = leaving.content[5]
        if made is None:
            return 0
        store.ask("HSET", f"{store.books}:moves", leaving.held.move, f"{_tag(store, move.old)} {_tag(store, move.new)}")
        store.register([move.new], at=float(made))
        target = HeldCall(store, move.new)
        if target.hold(alone=True) is None:
            raise in_use(move.old)
        try:
            (there,) = store.look([store.base(move.new)], "all")
            start = max(int(target.ask("reached")), *(next_ for _, next_, *_ in there[0]), 0)
            about = (move.new.key.hex(), move.new.function, move.new.form, made.decode(), (used or b"0").decode(), True)
            target.join(
                Arrival(
                    about,
                    {start + slot: sample for slot, sample in leaving.samples.items()},
                    replaced=[_moved(member, start) for member in leaving.content[2]],
                    lanes=_lanes(leaving.content[1], start),
                    readers=_readers(there[0], leaving.content[0], start),
                    uses=_uses(leaving.content[3], start),
                    drawn=moved_drawn(leaving.content[6], start),
                    move=leaving.held.move,
                )
            )
        except BaseException:
            target.release()
            raise
        return len(leaving.samples)

    def _end(self, leaving: Leaving) -> None:
        """Let the old call go if the new one has what it had, or else leave it as it was."""
        store, (old, new) = self._store, leaving.move
        store.moving.pop(store.base(old), None)
        end_move(store, leaving.held.move, store.base(old), _tag(store, new))


def _tag(store: RedisSession, call: Call) -> str:
    return store.tag_of(store.base(call))


def _rewritten(leaving: Leaving, rewrite: Callable[[Move, bytes], bytes]) -> Leaving:
    """Write the samples of a call for another."""
    return leaving._replace(
        samples={
            slot: sample._replace(record=rewrite(leaving.move, sample.record))
            for slot, sample in leaving.samples.items()
        }
    )


# What comes along.


def _moved(member: bytes, start: int) -> bytes:
    slot, _, rest = member.partition(b":")
    return b"%d:%b" % (start + int(slot), rest)


def _lanes(recorders: Any, start: int) -> list[Lane]:
    return [
        Lane(recorder.decode(), name.decode(), [start + int(at) for at in positions])
        for recorder, lanes in recorders
        for name, positions in lanes
    ]


def _readers(there: Any, old: Any, start: int) -> list[SetReader]:
    """Let readers have drawn what they had drawn of either call, and leave them the rest of both."""
    known: dict[bytes, tuple[int, list[int]]] = {
        name: (next_, [*map(int, free), *map(int, refused)]) for name, next_, free, refused, _ in there
    }
    readers: list[SetReader] = []
    for name, next_, free, refused, _ in old:
        upto, left = known.get(name, NOTHING)
        # Who resumes another is left what that one was given, and nothing else of either.
        ahead: Sequence[int] = [] if resumed(name.decode()) is not None else walked(upto, start)
        loose = [*left, *ahead, *(start + int(at) for at in (*free, *refused))]
        readers.append(SetReader(name.decode(), str(new_number()), True, start + next_, [], loose))
    return readers


def _uses(known: Any, start: int) -> list[Stretch]:
    return [
        Stretch(run.decode(), start + first, start + last)
        for run, stretches in pairs(known)
        for first, last in msgspec.msgpack.decode(stretches)
    ]


# Moves that were cut short.


def end_move(store: RedisSession, move: str, old: str, new: str) -> None:
    """End a move, or undo it, as the new call says."""
    base = store.base_of(new)
    (is_there,) = store.move([base], "decide", 0, move)
    call, other = (call_of(about) for about, _ in store.look([old, base], "call"))
    traces: list[Traces] = []
    if is_there and call is not None and other is not None:
        matching = RedisMatching(store)
        matching.move(Move(call, other))
        traces = matching.traces([store.tag_of(old)])
    store.keep([old], "vacate" if is_there else "settle", move)
    if is_there and call is not None:
        store.unlist(call.function, store.tag_of(old))
    RedisMatching(store).clear(traces)
    store.move([base], "forget_move", 0, move)
    store.ask("HDEL", f"{store.books}:moves", move)


def finish_moves(store: RedisSession) -> None:
    """End what somebody has begun who has died since."""
    for found, tags in pairs(store.ask("HGETALL", f"{store.books}:moves")):
        move = found.decode()
        old, new = tags.decode().split(" ")
        (state,) = store.move([store.base_of(old)], "halfway", 0, move)
        if state != STILL_MOVED:
            end_move(store, move, store.base_of(old), new)


def finish_move_of(store: RedisSession, refusal: str) -> None:
    """End the move that the server has refused something for."""
    if found := HALFWAY.search(refusal):
        old, move, new = found.groups()
        end_move(store, move, old, new)
