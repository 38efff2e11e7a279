"""How a Redis store keeps vectors and matches: with their calls, and for each space a list of whose vectors are in it.

The calls and the lists are at different places of a cluster, so each step stands by itself. A call is on the list
before it has its vector, and goes to the end of the list when it has: so whoever has read too early reads it again,
and one that never gets a vector is passed over, and taken off the list later. A match begins with a mark of the call
that lends. When that is forgotten, its mark goes with it, and the match counts no more, even if nobody removes it.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._types.calls import Call
from memollm.stores.matching import MOST_VECTORS, Matching, StoredMatch, StoredVector, VectorSpace
from memollm.stores.redis.asking import pairs
from memollm.stores.redis.looking import RedisLooking, call_of
from memollm.stores.redis.scripts import Command, matching, spaces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memollm._types.listings import Move
    from memollm.stores.redis.session import RedisSession

MARK_BYTES: Final = 6
MARK: Final = 2 * MARK_BYTES
"""How long a mark is."""
ABANDONED: Final = 600
"""Seconds after which a call on a list gets no vector any more: whoever was to keep it has died."""
TOGETHER: Final = 500
"""How many calls are put on a list by one run of the script; meanwhile the server does nothing else."""
NAMED: Final = ("key", "form", "function")
encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
Listed = tuple[str, bytes]
"""A call on the list of a space: its tag, and its number as the server writes it."""


class Traces(NamedTuple):
    """What is kept at other places than a call's own of what it has."""

    tag: str
    spaces: Sequence[bytes]
    given: Sequence[bytes]
    """Whom something of it was given, by their tags."""
    mark: bytes | None


class RedisMatches(Matching):
    """Reads vectors and matches, and notes nothing: of what is only read."""

    def __init__(self, session: RedisSession) -> None:
        self._session = session

    def _list_of(self, space: bytes) -> str:
        """Return how the keys of a space begin."""
        return f"{self._session.address.prefix}:{{v{space.hex()}}}"

    def _key_of(self, space: bytes) -> str:
        return f"{self._list_of(space)}:vectors"

    # Vectors.

    def vectors(self, space: bytes, after: int) -> Sequence[tuple[int, bytes]]:
        """Read the list, and then the vectors of those on it."""
        found: list[tuple[int, bytes]] = []
        key, least = self._key_of(space), f"({after}"
        while len(found) < MOST_VECTORS:
            most = MOST_VECTORS - len(found)
            some = self._session.ask("ZRANGEBYSCORE", key, least, "+inf", "WITHSCORES", "LIMIT", 0, most)
            listed = [(tag.decode(), number) for tag, number in pairs(some)]
            kept = self._kept(space, [tag for tag, _ in listed])
            vacant = [each for each, vector in zip(listed, kept, strict=True) if vector is None]
            rows = zip(listed, kept, strict=True)
            found += [(int(float(number)), decode(vector)[-1]) for (_, number), vector in rows if vector is not None]
            if vacant:
                self._left_behind(space, vacant)
            if len(listed) < most:
                break
            least = f"({listed[-1][1].decode()}"
        return found

    def _kept(self, space: bytes, tags: Sequence[str]) -> list[Any]:
        base_of = self._session.base_of
        return self._session.ask_many([("HGET", f"{base_of(tag)}:e", space.hex()) for tag in tags])

    def _left_behind(self, space: bytes, listed: Sequence[Listed]) -> None:
        """Leave it to those who write what is on a list without a vector."""

    def calls_of(self, space: bytes, numbers: Sequence[int]) -> Mapping[int, Call]:
        """Read who is on the list under these numbers, and still has a vector."""
        session, key = self._session, self._key_of(space)
        tags = session.ask_many([("ZRANGEBYSCORE", key, number, number) for number in numbers])
        known = [
            (number, session.base_of(tag.decode())) for number, some in zip(numbers, tags, strict=True) for tag in some
        ]
        kept = session.ask_many([("HEXISTS", f"{base}:e", space.hex()) for _, base in known])
        named = session.ask_many([("HMGET", f"{base}:call", *NAMED) for _, base in known])
        found = zip(known, kept, map(call_of, named), strict=True)
        return {number: call for (number, _), is_kept, call in found if is_kept and call is not None}

    def keeps_any(self) -> bool:
        """Read whether any list has somebody on it."""
        spaces = self._session.ask("SMEMBERS", f"{self._session.books}:spaces")
        keys = [self._key_of(bytes.fromhex(each.decode())) for each in spaces]
        return any(self._session.ask_many([("ZCARD", key) for key in keys]))

    def vectors_of(self, call: Call) -> list[StoredVector]:
        """Read what is kept with the call."""
        found = self._session.ask("HVALS", f"{self._session.base(call)}:e")
        kept = sorted(decode(each) for each in found)
        return [StoredVector(call, VectorSpace(embedder, parameter), vector) for _, embedder, parameter, vector in kept]

    # Matches.

    def match_of(self, call: Call) -> StoredMatch | None:
        """Read what is kept with the call, and whether the other lends it still."""
        base = self._session.base(call)
        samples, kept = self._session.ask_many([("HLEN", f"{base}:s"), ("HGET", f"{base}:l", 0)])
        found = [] if samples or kept is None else self._counting([(_match(call, kept, shadow=False), kept)])
        return found[0] if found else None

    def matches(self, function: str | None = None) -> list[StoredMatch]:
        """List what is kept with each call."""
        looking = RedisLooking(self._session)
        bases = [self._session.base_of(tag) for tag in looking.tags(function)]
        kept = self._session.ask_many([("HGETALL", f"{base}:l") for base in bases])
        given = [(base, fields) for base, fields in zip(bases, kept, strict=True) if fields]
        named = self._session.ask_many([("HMGET", f"{base}:call", *NAMED) for base, _ in given])
        found = [
            (_match(call, value, shadow=shadow == b"1"), value)
            for (_, fields), call in zip(given, map(call_of, named), strict=True)
            if call is not None
            for shadow, value in pairs(fields)
        ]
        return sorted(self._counting(found), key=lambda match: match.at)

    def _counting(self, found: Sequence[tuple[StoredMatch, bytes]]) -> list[StoredMatch]:
        """Leave out what calls lend no more."""
        marks = self._session.ask_many([("HGET", f"{self._session.base(m.of)}:call", "lends") for m, _ in found])
        return [match for (match, kept), mark in zip(found, marks, strict=True) if mark == kept[:MARK]]

    def learn(self, *vectors: StoredVector) -> None:
        """Keep nothing."""

    def note(self, *matches: StoredMatch) -> None:
        """Keep nothing."""


class RedisMatching(RedisMatches):
    """Notes, step by step."""

    def _tag(self, call: Call) -> str:
        return self._session.tag_of(self._session.base(call))

    def _do(self, what: str, asked: Iterable[tuple[Call | str, bytes, Sequence[object]]]) -> list[Any]:
        """Do something to each of some calls, or tags; what each is makes it be there."""
        owner, session = self._session.opened().owner, self._session
        placed = (
            (session.base_of(call) if isinstance(call, str) else session.base(call), about, values)
            for call, about, values in asked
        )
        return session.run([Command(matching(), base, (owner, what, about, *values)) for base, about, values in placed])

    def _keep(self, asked: Sequence[tuple[Call, Sequence[object]]], what: str) -> list[Any]:
        """Do something to each of some calls, which are made where they are not there."""
        answers = self._do(what, ((call, b"", values) for call, values in asked))
        missing = [nth for nth, answer in enumerate(answers) if answer is None]
        self._session.register([asked[nth][0] for nth in missing])
        cache = self._session.known_as
        named = ((call, _about(call, cache), values) for call, values in (asked[nth] for nth in missing))
        for nth, answer in zip(missing, self._do(what, named), strict=True):
            answers[nth] = answer
        return answers

    # Vectors.

    def learn(self, *vectors: StoredVector) -> None:
        """List calls, keep their vectors, and list them anew: who has read the list in between has not seen them."""
        by_space: dict[bytes, list[StoredVector]] = {}
        for each in vectors:
            by_space.setdefault(each.space.digest(each.call.form), []).append(each)
        names = [space.hex() for space in by_space]
        for some in (names[first : first + TOGETHER] for first in range(0, len(names), TOGETHER)):
            if not all(self._session.ask("SMISMEMBER", f"{self._session.books}:spaces", *some)):
                self._session.book("spaces", *some)
        for space, every in by_space.items():
            for first in range(0, len(every), TOGETHER):
                self._learn(space, every[first : first + TOGETHER])

    def _learn(self, space: bytes, vectors: Sequence[StoredVector]) -> None:
        tags = [self._tag(each.call) for each in vectors]
        numbered = zip(vectors, self._listed(space, tags, "new"), strict=True)
        kept = [(each.call, (space.hex(), _packed(each, number))) for each, number in numbered]
        answers = self._keep(kept, "learn")
        new = [tag for tag, is_new in zip(tags, answers, strict=True) if is_new]
        if new:
            self._listed(space, new, "anew")

    def _listed(self, space: bytes, tags: Sequence[str], which: str) -> list[bytes]:
        numbers: list[bytes] = self._of_list(space, "list", which, *tags)
        return numbers

    def _of_list(self, space: bytes, what: str, *arguments: object) -> Any:
        owner = self._session.opened().owner
        return self._session.run([Command(spaces(), self._list_of(space), (owner, what, *arguments))])[0]

    def _left_behind(self, space: bytes, listed: Sequence[Listed]) -> None:
        """Take off the list who has been on it for long without a vector."""
        self._drop(space, listed, ABANDONED)

    def _drop(self, space: bytes, listed: Sequence[Listed], seconds: int = 0) -> None:
        """Take off the list who has been on it for so long, under the number that was read."""
        self._of_list(space, "drop", seconds, *(value for each in listed for value in each))

    # Matches.

    def note(self, *matches: StoredMatch) -> None:
        """Have the other call lend, and keep with this one what it was given."""
        marks = self._lent((match.of, [self._tag(match.call)]) for match in matches)
        # A call that was forgotten meanwhile is no longer given.
        given = [(match, mark) for match, mark in zip(matches, marks, strict=True) if mark is not None]
        self._keep([(match.call, (int(match.shadow), _written(match, mark), "")) for match, mark in given], "match")

    def _lent(self, given: Iterable[tuple[Call, Sequence[object]]]) -> list[bytes | None]:
        """Have calls remember to whom they lend; return their marks."""
        return self._do("lend", ((call, b"", (secrets.token_hex(MARK_BYTES), *tags)) for call, tags in given))

    # Going where calls go.

    def traces(self, tags: Sequence[str]) -> list[Traces]:
        """Read what is kept elsewhere of calls, before these go."""
        if not tags or not self._session.ask("EXISTS", f"{self._session.books}:spaces"):
            return []
        found = self._session.ask_many(
            [
                command
                for base in map(self._session.base_of, tags)
                for command in (("HKEYS", f"{base}:e"), ("SMEMBERS", f"{base}:g"), ("HGET", f"{base}:call", "lends"))
            ]
        )
        return [Traces(tag, *found[3 * nth : 3 * nth + 3]) for nth, tag in enumerate(tags)]

    def clear(self, traces: Iterable[Traces]) -> None:
        """Remove what is kept elsewhere of calls that are gone."""
        for tag, digests, given, mark in traces:
            if mark is not None and given:
                self._do("unmatch", ((each.decode(), b"", (mark,)) for each in given))
            for space in (bytes.fromhex(each.decode()) for each in digests):
                number = self._session.ask("ZSCORE", self._key_of(space), tag)
                if number is not None and self._kept(space, [tag]) == [None]:
                    self._drop(space, [(tag, number)])

    def move(self, move: Move) -> None:
        """Have the new call what the old one has; done again, it changes nothing."""
        self.learn(*(each._replace(call=move.new) for each in self.vectors_of(move.old)))
        base = self._session.base(move.old)
        kept, given = self._session.ask_many([("HGETALL", f"{base}:l"), ("SMEMBERS", f"{base}:g")])
        self.note(*(_match(move.new, value, shadow=shadow == b"1") for shadow, value in pairs(kept)))
        if given:
            self._pass_on(move, given)

    def _pass_on(self, move: Move, given: Sequence[bytes]) -> None:
        """Let those who were given a sample of the old call have been given the new one's."""
        session, (mark,) = self._session, self._lent([(move.new, given)])
        old = session.ask("HGET", f"{session.base(move.old)}:call", "lends")
        tags = [tag.decode() for tag in given]
        found = session.ask_many([("HGETALL", f"{session.base_of(tag)}:l") for tag in tags])
        for tag, fields in zip(tags, found, strict=True):
            for shadow, value in pairs(fields):
                if value[:MARK] == old and mark is not None:
                    match = _match(move.new, value, shadow=False)._replace(of=move.new)
                    self._do("match", [(tag, b"", (shadow, _written(match, mark), value))])


def _about(call: Call, cache: str) -> bytes:
    return encode((call.key.hex(), call.function, call.form, repr(time.time()), cache))


def _packed(vector: StoredVector, number: bytes) -> bytes:
    return encode((int(number), vector.space.embedder, vector.space.parameter, vector.vector))


def _written(match: StoredMatch, mark: bytes) -> bytes:
    """Write what a call was given, behind the mark of who lends."""
    of = match.of
    return mark + encode((of.key, of.form, of.function, match.parameter, match.score, match.rule, match.at))


def _match(call: Call, kept: bytes, *, shadow: bool) -> StoredMatch:
    key, form, function, parameter, score, rule, at = decode(kept[MARK:])
    return StoredMatch(call, Call(key, form, function), parameter, score, rule, at, shadow)
