"""What changes a Redis store besides drawing: atomic a call, and what was cut short can be done again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from memollm._types.calls import recorder
from memollm.stores.keeping import Keeping
from memollm.stores.redis.adopting import Adoption
from memollm.stores.redis.asking import new_number
from memollm.stores.redis.counting import counting, used
from memollm.stores.redis.looking import RedisLooking, call_of, read_document
from memollm.stores.redis.matching import RedisMatching
from memollm.stores.redis.scripts import Command, keeping
from memollm.stores.redis.transcripts import fields_of
from memollm.stores.redis.transfer import RedisTransfer
from memollm.stores.transcripts import Transcribing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, DrawnStretch, Use
    from memollm._types.listings import Move
    from memollm.stores.looking import Document
    from memollm.stores.redis.session import RedisSession


class RedisKeeping(Keeping, Transcribing):
    """Changes what is stored, call by call."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store
        self._looking = RedisLooking(store)
        self._matching = RedisMatching(store)

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
        traces = self._matching.traces([tag])
        # Before it goes: whoever draws it then puts it there again.
        self._store.unlist(call.function, tag)
        ((samples, is_kept),) = self._each([tag], "forget", new_number())
        self._matching.clear(traces)
        if is_kept:
            self._store.register([call])
        return int(samples)

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
        abouts, traces = self._looking.look(tags, "call"), self._matching.traces(tags)
        answers = self._each(tags, "evict", new_number(), repr(float(used_by)))
        evicted: list[object] = []
        for tag, (about, _), (is_gone, is_kept) in zip(tags, abouts, answers, strict=True):
            call = call_of(about)
            if is_gone:
                evicted.append(tag)
            if is_gone and not is_kept and call is not None:
                self._store.unlist(call.function, tag)
        gone = frozenset(evicted)
        self._matching.clear(each for each in traces if each.tag in gone)
        return evicted

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Do nothing: the server gives space back by itself."""

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to others, each call whole."""
        try:
            return Adoption(self._store).run(moves, rewrite)
        finally:
            self._store.begin_epoch()

    # Counts and notes.

    def count(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - the protocol's
        """Add up, once."""
        owner = self._store.opened().owner
        using = [self._command(call, owner, "use", *fields) for call, fields in used(uses).items()]
        self._store.run([*counting(self._store, id, counts), *using])

    def transcribe(self, drawn: Sequence[DrawnStretch]) -> None:
        """Note what runs were given."""
        owner = self._store.opened().owner
        given = fields_of(drawn)
        self._store.run([self._command(call, owner, "transcribe", *fields) for call, fields in given.items()])

    def _command(self, call: Call, *arguments: object) -> Command:
        return Command(keeping(), self._store.base(call), arguments)

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
