"""Conformance, an optional part: the vectors and matches of similar calls, of stores that keep them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from memollm._types.calls import Call
from memollm._types.listings import Move
from memollm.stores.matching import MOST_VECTORS, StoredMatch, StoredVector, VectorSpace, every_vector, matching
from memollm.testing._bench import Bench
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.stores.drawing import Drawing
    from memollm.stores.matching import Matching

SPACE: Final = VectorSpace("e 2", "q")
OTHER: Final = VectorSpace("f 2", "q")
LEARNERS: Final = 4
LEARNED: Final = 12


def asking(text: str, function: str = "tests.ask") -> Call:
    """Make a call that asks a text, with its canonical form and its hash."""
    form = f'{{"memollm":1,"function":{{"name":"{function}","version":"1"}},"arguments":{{"n":1,"q":"{text}"}}}}'
    return Call(hashlib.blake2b(form.encode(), digest_size=16).digest(), form, function)


def numbers_of(call: Call) -> bytes:
    """Return the two numbers of a call's text."""
    return hashlib.blake2b(call.form.partition('"q":')[2].encode(), digest_size=8).digest()


def vector_of(call: Call, space: VectorSpace = SPACE) -> StoredVector:
    """Make a vector of a call."""
    return StoredVector(call, space, numbers_of(call))


def digest_of(call: Call, space: VectorSpace = SPACE) -> bytes:
    """Return the space of a call."""
    return space.digest(call.form)


def match_of(call: Call, of: Call, *, at: float = NOON, shadow: bool = False) -> StoredMatch:
    """Make a match."""
    return StoredMatch(call, of, "q", 0.987654, 'the "rule"', at, shadow=shadow)


class MatchingCases(Bench):
    """Vectors in their order, matches as long as they count, both gone where their calls go."""

    @property
    def matching(self) -> Matching:
        """What keeps vectors and matches."""
        return matching(self.store)

    def learn(self, *calls: Call, space: VectorSpace = SPACE, store: Drawing | None = None) -> None:
        """Keep a vector of each."""
        matching(store or self.store).learn(*(vector_of(call, space) for call in calls))

    def learned(self, of: Call, space: VectorSpace = SPACE) -> list[Call | None]:
        """List whose vectors are found in the space of a call, in their order."""
        rows = self.matching.vectors(digest_of(of, space), 0)
        calls = self.matching.calls_of(digest_of(of, space), [number for number, _ in rows])
        found = [calls.get(number) for number, _ in rows]
        assert [vector for _, vector in rows] == [call and numbers_of(call) for call in found]
        return found

    # Vectors.

    def test_vectors_come_in_the_order_of_storing(self) -> None:
        """Whoever has read up to a number is given what came after it, each vector once; other spaces are apart."""
        a, b, c = map(asking, "abc")
        assert not self.matching.keeps_any()
        self.learn(a, b)
        self.learn(c, a)
        space = digest_of(a)
        rows = self.matching.vectors(space, 0)
        assert [vector for _, vector in rows] == [numbers_of(call) for call in (a, b, c)]
        assert [number for number, _ in rows] == sorted({number for number, _ in rows})
        assert list(self.matching.vectors(space, rows[0][0])) == list(rows[1:])
        assert list(self.matching.vectors(space, rows[-1][0])) == []
        assert self.matching.calls_of(space, [rows[1][0], rows[-1][0] + 1]) == {rows[1][0]: b}
        assert self.matching.calls_of(digest_of(a, OTHER), [rows[1][0]]) == self.matching.calls_of(space, []) == {}
        assert list(self.matching.vectors(digest_of(a, OTHER), 0)) == []
        assert self.matching.keeps_any()

    def test_a_call_has_a_vector_in_each_space(self) -> None:
        """A call's vectors are told in the order of storing; what is stored of a space first stays."""
        a = asking("a")
        self.learn(a)
        self.learn(a, space=OTHER)
        self.matching.learn(vector_of(a)._replace(vector=b"another!"))
        assert self.matching.vectors_of(a) == [vector_of(a), vector_of(a, OTHER)]
        assert self.matching.vectors_of(asking("never")) == []
        assert self.learned(a) == self.learned(a, OTHER) == [a]

    def test_many_vectors_come_some_at_a_time(self) -> None:
        """Whoever is given the most that come at a time asks again, and misses none."""
        calls = [asking(f"{number}") for number in range(MOST_VECTORS + 1)]
        self.learn(*calls)
        space = digest_of(calls[0])
        assert len(self.matching.vectors(space, 0)) == MOST_VECTORS
        assert [vector for _, vector in every_vector(self.matching, space)] == [numbers_of(call) for call in calls]

    def test_vectors_are_no_samples(self) -> None:
        """A call of which there is a vector alone has no samples, and whoever draws it is to make the first."""
        a = asking("a")
        self.learn(a)
        assert (self.store.peek(a), self.looking.survey()) == ({}, [])
        hand = self.take(of=a)
        assert (hand.at, self.keeping.forget(a)) == ([0], 0)

    # Matches.

    def test_a_match_is_read_as_long_as_there_is_no_sample(self) -> None:
        """A shadow is no match that is given; the last match counts, until the call has a sample of its own."""
        a, b, c, asked = map(asking, "abcd")
        for source in (a, b, c):
            self.stock(b"sample", of=source)
        self.matching.note(match_of(asked, c, shadow=True))
        assert self.matching.match_of(asked) is None
        self.matching.note(match_of(asked, a), match_of(asked, b, at=NOON + 1))
        assert self.matching.match_of(asked) == match_of(asked, b, at=NOON + 1)
        assert self.matching.match_of(a) is self.matching.match_of(asking("never")) is None
        self.stock(b"its own", of=asked)
        assert self.matching.match_of(asked) is None
        assert self.matching.matches() == [match_of(asked, c, shadow=True), match_of(asked, b, at=NOON + 1)]

    def test_matches_are_listed_in_the_order_of_making(self) -> None:
        """Those of one function, or all; those of calls that have samples of their own, too."""
        source, others = asking("a", "tests.other"), [asking(text, "tests.other") for text in "bc"]
        mine = asking("d")
        self.stock(b"sample", of=source)
        times = zip((others[0], others[1], mine), (NOON + 2, NOON, NOON + 1), strict=True)
        made = [match_of(each, source, at=at) for each, at in times]
        self.matching.note(*made)
        self.stock(b"its own", of=others[0])
        assert self.matching.matches() == [made[1], made[2], made[0]]
        assert self.matching.matches("tests.other") == [made[1], made[0]]
        assert self.matching.matches("tests.never") == []

    def test_a_match_with_what_is_not_there_is_not_kept(self) -> None:
        """What is gone is no longer given, and is not made by being named."""
        asked, source = asking("a"), asking("b")
        self.matching.note(match_of(asked, source))
        assert (self.matching.match_of(asked), self.matching.matches()) == (None, [])
        self.stock(b"sample", of=source)
        assert (self.matching.match_of(asked), self.matching.matches()) == (None, [])

    # Going where the calls go.

    def _some(self) -> tuple[Call, Call, Call]:
        """Keep two calls with vectors; the first was given to a third call, and a shadow noted it for the second."""
        a, b, asked = map(asking, "abc")
        for call in (a, b):
            self.learn(call)
            self.stock(b"of " + call.key, of=call)
        self.matching.note(match_of(asked, a), match_of(b, a, at=NOON + 1, shadow=True))
        return a, b, asked

    def test_what_is_forgotten_leaves_nothing(self) -> None:
        """No vector and no match stays of a call that is forgotten, on either side, also when it is made anew."""
        a, b, asked = self._some()
        ((number, _), (last, _)) = self.matching.vectors(digest_of(a), 0)
        assert self.keeping.forget(a) == 1
        assert self.matching.calls_of(digest_of(a), [number]) == {}
        assert (self.learned(a), self.matching.vectors_of(a), self.matching.matches()) == ([b], [], [])
        self.stock(b"anew", of=a)
        assert (self.matching.match_of(asked), self.matching.matches()) == (None, [])
        self.learn(a)
        ((again, _),) = self.matching.vectors(digest_of(a), last)
        assert (again > last, self.learned(a)) == (True, [b, a])
        self.keeping.forget(a)
        self.keeping.forget(b)
        assert not self.matching.keeps_any()

    def test_forgetting_who_was_lent_to(self) -> None:
        """A match goes with the call that was given another's sample; the other keeps its own."""
        a, b, asked = self._some()
        self.keeping.forget(asked)
        assert (self.matching.match_of(asked), self.learned(a)) == (None, [a, b])
        assert self.matching.matches() == [match_of(b, a, at=NOON + 1, shadow=True)]

    def test_what_is_evicted_leaves_nothing(self) -> None:
        """Evicting a call is as forgetting it."""
        a, b, asked = self._some()
        handles = [each.handle for each in self.looking.inventory()]
        assert len(self.keeping.evict(handles, used_by=NOON + 10)) == len(handles) == 2
        assert (self.learned(a), self.learned(b), self.matching.matches()) == ([], [], [])
        assert (self.matching.match_of(asked), self.matching.keeps_any()) == (None, False)

    def test_what_is_moved_takes_all_along(self) -> None:
        """Vectors are found where the new call's are, under numbers that nobody has passed; matches name it."""
        a, b, asked = self._some()
        new = [asking(text, "tests.new") for text in "abc"]
        ((_, _), (last, _)) = self.matching.vectors(digest_of(a), 0)
        moves = [Move(old, this) for old, this in zip((a, b, asked), new, strict=True)]
        assert self.keeping.adopt(moves, lambda _, record: record) == 2
        assert (self.learned(a), self.matching.vectors_of(a), self.matching.match_of(asked)) == ([], [], None)
        assert self.learned(new[0]) == new[:2]
        assert self.matching.match_of(new[2]) == match_of(new[2], new[0])
        assert self.matching.matches() == [
            match_of(new[2], new[0]), match_of(new[1], new[0], at=NOON + 1, shadow=True)
        ]  # fmt: skip
        assert [*self.matching.vectors(digest_of(new[0]), last)] == [*self.matching.vectors(digest_of(new[0]), 0)]
        self.keeping.forget(new[0])
        assert (self.matching.matches(), self.learned(new[0])) == ([], [new[1]])

    def test_what_joins_another_has_a_vector_once(self) -> None:
        """Where the new call has a vector it stays as it is, and a match that moves takes the place of its own."""
        a, b, asked = self._some()
        new, source = asking("a", "tests.new"), asking("z")
        self.learn(new)
        self.stock(b"there", of=new)
        self.stock(b"of another", of=source)
        theirs = asking("c", "tests.new")
        self.matching.note(match_of(theirs, source))
        moves = [Move(a, new), Move(asked, theirs)]
        assert self.keeping.adopt(moves, lambda _, record: record) == 1
        assert (self.learned(new), self.matching.vectors_of(new)) == ([new], [vector_of(new)])
        assert self.matching.match_of(theirs) == match_of(theirs, new)
        assert self.matching.matches() == [match_of(theirs, new), match_of(b, new, at=NOON + 1, shadow=True)]

    def test_what_is_not_moved_stays_as_it_is(self) -> None:
        """Where a record cannot be written for its new call, nothing has changed."""
        a, b, asked = self._some()
        failed = RuntimeError("cannot be written")

        def refuse(*_: object) -> bytes:
            raise failed

        try:
            self.keeping.adopt([Move(a, asking("a", "tests.new"))], refuse)
        except RuntimeError as error:
            assert error is failed  # noqa: PT017 - nothing here imports pytest
        assert (self.learned(a), self.matching.match_of(asked)) == ([a, b], match_of(asked, a))
        assert self.learned(asking("a", "tests.new")) == []


class MatchingConformance(MatchingCases):
    """What a store promises besides that keeps vectors and matches, as its `matching`; a subclass provides `make`."""


class SharedMatchingConformance(MatchingConformance):
    """What it promises where several processes share it and it outlives them; provides `make`, `peer` and `reopen`."""

    def peer(self, store: Drawing) -> Drawing:
        """Open what the store holds once more, as another process would."""
        raise NotImplementedError(f"{type(self).__name__}.peer() is to open the same store.")

    def reopen(self, store: Drawing) -> Drawing:
        """Close the store and open it again."""
        raise NotImplementedError(f"{type(self).__name__}.reopen() is to open the store again.")

    def test_vectors_and_matches_outlive_the_process(self) -> None:
        """What is opened again has what was kept, under the numbers that it had."""
        a, b, asked = self._some()
        rows = self.matching.vectors(digest_of(a), 0)
        self._store = self.reopen(self.store)
        assert list(self.matching.vectors(digest_of(a), 0)) == list(rows)
        assert (self.learned(a), self.matching.match_of(asked)) == ([a, b], match_of(asked, a))

    def test_whoever_keeps_up_misses_none(self) -> None:
        """Of vectors that are stored at one time from many sides, whoever reads meanwhile is given each."""
        stores = [self.closing(self.peer(self.store)) for _ in range(LEARNERS)]
        wanted = [[asking(f"{nth} {number}") for number in range(LEARNED)] for nth in range(LEARNERS)]
        space, seen, left = digest_of(wanted[0][0]), list[tuple[int, bytes]](), list(range(LEARNERS))

        def keep_up() -> None:
            while True:
                is_over = not left
                more: Sequence[tuple[int, bytes]] = self.matching.vectors(space, seen[-1][0] if seen else 0)
                seen.extend(more)
                if is_over:
                    return

        def learn(nth: int) -> None:
            try:
                for call in wanted[nth]:
                    self.learn(call, store=stores[nth])
            finally:
                left.remove(nth)

        self.together(keep_up, *(lambda nth=nth: learn(nth) for nth in range(LEARNERS)))
        assert {vector for _, vector in seen} == {numbers_of(call) for calls in wanted for call in calls}
        numbers = [number for number, _ in seen]
        assert numbers == sorted(set(numbers))
