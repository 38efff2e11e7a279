"""Looking into a Redis store: a script for each call, many in one round trip."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from memollm._types.calls import Call, recorder
from memollm._types.counting import Account, Counts
from memollm._types.listings import Item, ListedReader, ReaderOfCall, Standing, Stored, Surveyed
from memollm.stores.documents import damaged, document_of
from memollm.stores.looking import Looking, mentions
from memollm.stores.redis.asking import pairs
from memollm.stores.redis.transcripts import rows_of
from memollm.stores.transcripts import Transcribed, sought, stretches_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._types.counting import DrawnStretch
    from memollm.stores.looking import Document
    from memollm.stores.redis.session import RedisSession


class RedisLooking(Looking, Transcribed):
    """Makes lists of what scripts find, atomic a call."""

    def __init__(self, session: RedisSession) -> None:
        self._session = session

    def tags(self, function: str | None = None) -> list[str]:
        """List the calls of a function, or all, in order of making."""
        session = self._session
        if function is None:
            functions = sorted(session.ask("SMEMBERS", f"{session.books}:functions"))
        else:
            functions = [function.encode()]
        keys = [session.books.encode() + b":calls:" + each for each in functions]
        found = session.ask_many([("ZRANGE", key, 0, -1) for key in keys])
        return [tag.decode() for tags in found for tag in tags]

    def look(self, tags: Sequence[str], what: str, *arguments: object) -> list[Any]:
        """Look at each of some calls."""
        return self._session.look(map(self._session.base_of, tags), what, *arguments)

    def all_of(self, tags: Sequence[str]) -> list[Any]:
        """Look at all that calls have, but for their samples; what dead processes had in flight is free by that."""
        return self.look(tags, "all", int(self._session.owns))

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call."""
        base = self._session.base(call)
        ((next_, loose, lanes),) = self._session.look([base], "standing", reader, recorder(reader))
        recorded = {int(at): lane.decode() for lane, positions in lanes for at in positions}
        return Standing(next_, frozenset(map(int, loose)), recorded)

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function."""
        found = [(call_of(about), samples) for about, samples in self.look(self.tags(function), "call")]
        return [Stored(call, samples) for call, samples in found if call is not None]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List the calls that have samples."""
        listed = [
            surveyed
            for surveyed in map(_surveyed, self.look(self.tags(function), "survey"))
            if surveyed is not None and (text is None or mentions(surveyed.call.form, text))
        ]
        return sorted(listed, key=attrgetter("made"))

    def inventory(self) -> list[Item]:
        """List every call that has samples."""
        tags = self.tags()
        found = zip(tags, map(_surveyed, self.look(tags, "survey")), strict=True)
        return [
            Item(tag, one.call.function, one.samples, one.bytes, one.made, one.used)
            for tag, one in found
            if one is not None
        ]

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call."""
        (readers,) = self._session.look([self._session.base(call)], "readers")
        return [ReaderOfCall(name.decode(), draws, self._lanes(name.decode(), call)) for name, draws in sorted(readers)]

    def _lanes(self, reader: str, call: Call) -> tuple[str, ...]:
        standing = self.standing(reader, call)
        given = {lane for at, lane in standing.lanes.items() if at < standing.next and at not in standing.loose}
        return tuple(sorted(given))

    def readers(self) -> list[ListedReader]:
        """List the readers."""
        listed: dict[str, list[int]] = {}
        for readers in self.look(self.tags(), "readers"):
            for name, draws in readers:
                listed.setdefault(name.decode(), []).append(draws)
        return [ListedReader(name, len(draws), sum(draws)) for name, draws in sorted(listed.items())]

    def transcript(self, *, run: str | None, namespace: str | None, lane: str | None) -> list[DrawnStretch]:
        """List what was given, in the order of asking."""
        found = [(call_of(about), fields) for about, fields in self.look(self.tags(), "drawn")]
        rows = [row for call, fields in found if call is not None for row in rows_of(call, fields)]
        runner, _ = sought(run, namespace)
        wanted = [row for row in rows if runner in {None, row[0]} and lane in {None, row[2]}]
        return stretches_of(sorted(wanted, key=lambda row: (row[-1], row[-3])), namespace)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        found = self._session.ask("HGETALL", f"{self._session.books}:tally")
        decode = msgspec.msgpack.decode
        counted = {Account(*decode(account)): _counts(decode(amounts)) for account, amounts in pairs(found)}
        return dict(sorted(counted.items()))

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read documents of the catalog."""
        key = f"{self._session.books}:notes:{kind}"
        if name is not None:
            text = self._session.ask("HGET", key, name)
            return {} if text is None else {name: read_document(name, text)}
        found = self._session.ask("HGETALL", key)
        documents = sorted((name.decode(), text) for name, text in pairs(found))
        return {name: read_document(name, text) for name, text in documents}


def call_of(about: Sequence[Any]) -> Call | None:
    """Return a call as it is stored, if it is there."""
    key, form, function = about[:3]
    return None if key is None else Call(bytes.fromhex(key.decode()), form.decode(), function.decode())


def _surveyed(found: Sequence[Any]) -> Surveyed | None:
    about, samples, size, first, last, seconds, input_tokens, output_tokens, cost = found
    call = call_of(about)
    if call is None or not samples:
        return None
    return Surveyed(
        call,
        samples,
        bytes=size + len(call.form.encode()),
        made=float(first),
        used=max(float(last), float(about[4] or 0)),
        seconds=float(seconds),
        input_tokens=int(float(input_tokens)),
        output_tokens=int(float(output_tokens)),
        cost=float(cost) if cost else None,
    )


def read_document(name: str, text: bytes) -> Document:
    """Read a document, or refuse what is none."""
    document = document_of(text.decode(errors="replace"))
    if document is None:
        raise damaged(name)
    return document


def _counts(amounts: Sequence[float]) -> Counts:
    """Make counts of numbers, of which the server knows one kind."""
    kinds = [type(default) for default in Counts()]
    amounts_of: list[Any] = [kind(amount) for kind, amount in zip(kinds, amounts, strict=True)]
    return Counts(*amounts_of)
