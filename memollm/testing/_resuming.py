"""Conformance, eighth part: a reader that resumes another is given what that one had been given, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memollm._types.calls import resuming
from memollm._types.samples import MINE
from memollm.testing._bench import Bench, Hand, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

OF: Final = "namespace:a"
RESUMES: Final = resuming("run-1", "a")


class ResumingBench(Bench):
    """Readers that resume the namespace a, by hand."""

    def deal(self, n: int, *, lane: str | None = None, pool: int | None = None, reader: str = OF) -> list[int]:
        """Let a reader draw, and return its positions."""
        hand = self.take(n, reader=reader, lane=lane, pool=pool)
        if MINE in hand.states:
            hand.fill(*(b"%d" % at for at, state in zip(hand.at, hand.states, strict=True) if state is MINE))
        hand.settle()
        return hand.at

    def reread(self, n: int, *, lane: str | None = None, pool: int | None = None, reader: str = RESUMES) -> list[int]:
        """Take what is left to be read again, at most so many, and return the positions."""
        hand = self.take(n, reader=reader, lane=lane, pool=pool)
        assert MINE not in hand.states
        hand.abandon()
        return hand.at


class ResumingCases(ResumingBench):
    """What is given to a reader that resumes another."""

    def test_resumes_what_was_given(self) -> None:
        """It gets the samples of the other in their order, each once, and then none (P1)."""
        self.deal(5)
        hand = self.take(2, reader=RESUMES)
        assert (hand.at, hand.records) == ([0, 1], [b"0", b"1"])
        hand.abandon()
        assert [self.reread(n) for n in (2, 2, 1)] == [[2, 3], [4], []]

    def test_resumes_nothing_of_a_new_call(self) -> None:
        """Where the other has drawn nothing there is nothing, now and later, and no slot is claimed."""
        assert self.reread(3) == []
        assert self.deal(2) == [0, 1]
        assert self.reread(3) == []

    def test_resumes_nothing_that_came_later(self) -> None:
        """What the other is given after this one's first draw of the call is not given to it."""
        self.deal(2)
        assert self.reread(1) == [0]
        self.deal(2)
        assert self.reread(3) == [1]

    def test_other_moves_by_itself(self) -> None:
        """The one that is resumed goes on where it stands."""
        self.deal(2)
        self.reread(2)
        assert self.deal(1) == [2]

    def test_runs_resume_side_by_side(self) -> None:
        """Each run reads all of it, and another namespace's is none of theirs."""
        self.deal(2)
        self.deal(3, reader="namespace:b")
        assert [self.reread(3), self.reread(3, reader=resuming("run-2", "a"))] == [[0, 1], [0, 1]]
        assert self.reread(4, reader=resuming("run-1", "b")) == [0, 1, 2]

    def test_names_are_told_apart(self) -> None:
        """Names of runs and namespaces may be anything that can be printed."""
        self.deal(1, reader="namespace:x:y")
        assert self.reread(1, reader=resuming("run:x", "x:y")) == [0]
        assert self.reread(1, reader=resuming("run", "x:x:y")) == []

    def test_what_was_not_given_is_not_left(self) -> None:
        """What the other gave back, or has in flight, is not read again."""
        hands = [self.take(reader=OF) for _ in range(4)]
        for hand in (hands[1], hands[3]):
            hand.fill(b"x")
            hand.settle()
        hands[0].give_back()
        assert self.reread(4) == [1, 3]
        hands[2].give_back()
        assert self.reread(4) == []

    def test_given_back_is_left_again(self) -> None:
        """What did not reach anybody comes again, in its place in the order (P3)."""
        self.deal(4)
        ends: list[Callable[[Hand], object]] = [Hand.give_back, lambda hand: hand.bring_back(*hand.at)]
        for end in ends:
            hand = self.take(2, reader=RESUMES)
            assert hand.at == [0, 1]
            end(hand)
        assert [self.reread(1), self.reread(4)] == [[0], [1, 2, 3]]

    def test_asked_again_it_answers_the_same(self) -> None:
        """A take whose answer was lost is answered as before."""
        self.deal(3)
        hand = self.take(2, reader=RESUMES)
        assert self.store.perform([hand.request]) == [hand.taken]
        hand.abandon()
        assert self.reread(2) == [2]

    def test_old_samples_may_be_made_anew(self) -> None:
        """A slot whose sample does not count is claimed, and its position is in flight meanwhile (P1, P5)."""
        self.deal(3)
        hand = self.take(reader=RESUMES, newer_than=NOON)
        assert (hand.at, hand.states) == ([0], [MINE])
        assert self.reread(1) == [1]
        hand.fill(b"new", stored=NOON + 1)
        hand.settle()
        assert self.reread(3) == [2]

    def test_lost_position_is_left_again(self) -> None:
        """What a draw had in flight that is no more is left again (P3)."""
        self.deal(2)
        self.take(reader=RESUMES, newer_than=NOON).abandon()
        assert self.reread(2) == [0, 1]

    def test_each_lane_resumes_its_own(self) -> None:
        """In a lane it gets what the lane was given, in the lane's order; outside, what was given outside (P1)."""
        for lane in ("x", "y", None, "x", "y", None):
            self.deal(1, lane=lane)
        assert [self.reread(1, lane="y"), self.reread(3), self.reread(3, lane="x"), self.reread(3, lane="y")] == [
            [1],
            [2, 5],
            [0, 3],
            [4],
        ]
        assert [self.reread(1, lane=lane) for lane in ("x", None, "never")] == [[], [], []]

    def test_pools_are_resumed(self) -> None:
        """Positions of a pool come again; two that read one slot are not in one draw (P1)."""
        for _ in range(5):
            self.deal(1, pool=2)
        assert [self.reread(2, pool=2) for _ in range(3)] == [[0, 1], [2, 3], [4]]
        self.deal(1, pool=2)
        run_2 = resuming("run-2", "a")
        assert self.reread(1, pool=2, reader=run_2) == [0]
        hand = self.take(2, reader=run_2, pool=2)
        assert sorted(map(hand.want.slot, hand.at)) == [0, 1]

    def test_many_are_left(self) -> None:
        """However many there are and are in flight, none is given twice and none is passed over (P1)."""
        self.deal(60)
        held = self.take(40, reader=RESUMES, newer_than=NOON)
        assert held.at == [*range(40)]
        assert self.reread(10) == [*range(40, 50)]
        held.give_back()
        assert self.reread(100) == [*range(40), *range(50, 60)]

    def test_crowd_resumes_together(self) -> None:
        """Threads that resume together read each sample once (P1)."""
        self.deal(24)

        def some() -> list[int]:
            return [at for _ in range(6) for at in self.reread(2)]

        read = self.together(some, some, some, some)
        assert sorted(at for each in read for at in each) == [*range(24)]

    def test_resumes_of_other_calls(self) -> None:
        """What is left is told call by call."""
        self.deal(2)
        hand = self.take(2, of=call("other"), reader=RESUMES)
        assert hand.at == []
        hand.abandon()
        assert self.reread(2) == [0, 1]
