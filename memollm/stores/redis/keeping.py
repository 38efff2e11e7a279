"""What changes a Redis store besides drawing: atomic a call, and what was cut short can be done again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from memollm._types.calls import recorder, resumed
from memollm.stores.keeping import Keeping, in_use
from memollm.stores.redis.asking import HEAD, new_number, packed, pairs, sample_of
from memollm.stores.redis.looking import RedisLooking, call_of, read_document
from memollm.stores.redis.transfer import RedisTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, Use
    from memollm._types.listings import Move
    from memollm.stores.looking import Document
    from memollm.stores.redis.session import RedisSession

MOVING: Final = 60_000
"""Milliseconds for which a call that is being moved is drawn by nobody, if who moves it dies."""


class RedisKeeping(Keeping):
    """Changes what is stored, call by call."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store
        self._looking = RedisLooking(store)

    def _each(self, tags: Sequence[str], what: str, *arguments: object) -> list[Any]:
        # Whatever draws of this process hold that are over is void, and is known to be.
        self._store.settle_left()
        try:
            return self._store.keep(map(self._store.base_of, tags), what, *arguments)
        finally:
            self._store.begin_epoch()

    def forget(self, call: Call) -> int:
        """Remove a call with all that it has."""
        tag = self._store.tag_of(self._store.base(call))
        self._unlist(call.function, tag)
        ((samples, is_kept),) = self._each([tag], "forget", new_number())
        if is_kept:
            self._list(call.function, tag)
        return int(samples)

    def _unlist(self, function: str, tag: str) -> None:
        """Take a call off the list of all before it goes: whoever draws it then puts it there again."""
        self._store.ask("ZREM", f"{self._store.books}:calls:{function}", tag)

    def _list(self, function: str, tag: str) -> None:
        made = self._store.ask("HGET", f"{self._store.base_of(tag)}:call", "made")
        self._store.ask("SADD", f"{self._store.books}:functions", function)
        self._store.ask("ZADD", f"{self._store.books}:calls:{function}", "NX", made or 0, tag)

    def rewind(self, reader: str) -> bool:
        """Begin a reader's cursors anew."""
        return any(self._each(self._looking.tags(), "rewind", reader, recorder(reader), new_number()))

    def drop(self, reader: str) -> bool:
        """Remove a reader."""
        return any(self._each(self._looking.tags(), "drop", reader))

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """Forget calls that were not used since."""
        listed = set(self._looking.tags())
        tags = [each for each in handles if isinstance(each, str) and each in listed]
        abouts = self._looking.look(tags, "call")
        answers = self._each(tags, "evict", new_number(), repr(float(used_by)))
        evicted: list[object] = []
        for tag, (about, _), (is_gone, is_kept) in zip(tags, abouts, answers, strict=True):
            call = call_of(about)
            if is_gone:
                evicted.append(tag)
            if is_gone and not is_kept and call is not None:
                self._unlist(call.function, tag)
        return evicted

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Do nothing: the server gives space back by itself."""

    # Adopting.

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to others: first each is lifted, so that nobody draws it, then it is put there."""
        store = self._store
        store.settle_left()
        lifted: list[tuple[Move, Any]] = []
        try:
            self._require_free(moves)
            for move in moves:
                (found,) = store.keep([store.base(move.old)], "lift", MOVING)
                if found == 0:
                    raise in_use(move.old)
                if found:
                    lifted.append((move, found))
            written = [_rewritten(move, found, rewrite) for move, found in lifted]
            return sum(self._put(move, found, samples) for (move, found), samples in zip(lifted, written, strict=True))
        finally:
            store.keep([store.base(move.old) for move, _ in lifted], "settle")
            store.begin_epoch()

    def _require_free(self, moves: Sequence[Move]) -> None:
        calls = [(move, self._store.base(call)) for move in moves for call in move]
        for (move, _), is_held in zip(calls, self._store.keep([base for _, base in calls], "held"), strict=True):
            if is_held:
                raise in_use(move.old)

    def _put(self, move: Move, found: Any, samples: Sequence[tuple[int, bytes]]) -> int:
        store, new = self._store, move.new
        tag, old = store.tag_of(store.base(new)), store.tag_of(store.base(move.old))
        _, readers, lanes, replaced, uses, (made, used) = found
        given = (
            [slot for slot, _ in samples],
            [
                (reader.decode(), next_, list(map(int, loose)), resumed(reader.decode()) is not None)
                for reader, next_, loose in readers
            ],
            [(whose.decode(), lane.decode(), list(map(int, positions))) for whose, lane, positions in lanes],
            len(replaced),
            [(run.decode(), *one) for run, known in pairs(uses) for one in msgspec.msgpack.decode(known)],
            (made.decode(), (used or b"0").decode()),
        )
        about = (new.key.hex(), new.function, new.form)
        encode = msgspec.msgpack.encode
        self._list_at(new.function, tag, made)
        (answer,) = store.keep(
            [store.base(new)],
            "absorb",
            *(encode(given), encode(about), new_number(), f"{old}:{made.decode()}"),
            *replaced,
            *(sample for _, sample in samples),
        )
        if answer == -1:
            raise in_use(move.old)
        self._unlist(move.old.function, old)
        store.keep([store.base(move.old)], "vacate", new_number(), made)
        return len(samples)

    def _list_at(self, function: str, tag: str, made: bytes) -> None:
        self._store.ask("SADD", f"{self._store.books}:functions", function)
        self._store.ask("ZADD", f"{self._store.books}:calls:{function}", "NX", made, tag)

    # Counts and notes.

    def count(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - the protocol's
        """Add up, once."""
        self._store.count(id, counts)
        for use in uses:
            base = self._store.base(use.call)
            self._store.keep([base], "use", repr(use.at), use.run or "", use.first, use.last)

    def note(self, kind: str, name: str, document: Document, *, instead_of: Document | None) -> bool:
        """Keep a document."""
        key = f"{self._store.books}:notes:{kind}"
        there = self._store.ask("HGET", key, name)
        if (None if there is None else read_document(name, there)) != instead_of:
            return False
        return bool(self._store.book("note", kind, name, json.dumps(document), *([] if there is None else [there])))

    def transfer(self) -> RedisTransfer:
        """Give access to the content."""
        return RedisTransfer(self._store)


def _rewritten(move: Move, found: Any, rewrite: Callable[[Move, bytes], bytes]) -> list[tuple[int, bytes]]:
    """Write the samples of a call for another."""
    written: list[tuple[int, bytes]] = []
    for slot, data in pairs(found[0]):
        record = data[HEAD.size :]
        new = rewrite(move, record)
        written.append((int(slot), data if new == record else packed(sample_of(data)._replace(record=new))))
    return written
