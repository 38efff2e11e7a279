"""Conformance, fourth part: many threads at one time."""

from __future__ import annotations

from memollm._types.calls import Place
from memollm._types.samples import MINE, Busy, Sample
from memollm.testing._bench import Bench, call

THREADS = 8
ROUNDS = 12


class CrowdCases(Bench):
    """What holds for one draw holds for all that happen together."""

    def test_threads_take_different_positions(self) -> None:
        """Threads that draw at one time get all positions once, without a gap (P1, P3)."""

        def draw() -> list[int]:
            return [at for n in (1, 2, 1) * 4 for at in self._drawn_by_hand(n)]

        drawn = self.together(*[draw] * THREADS)
        assert sorted(at for each in drawn for at in each) == list(range(THREADS * 16))
        assert set(self.store.peek(call())) == set(range(THREADS * 16))

    def _drawn_by_hand(self, n: int) -> list[int]:
        hand = self.take(n)
        hand.fill(*(b"%d" % at for at in hand.at))
        hand.settle()
        return hand.at

    def test_threads_read_one_sequence(self) -> None:
        """Readers that draw at one time read the same samples at the same positions (P2)."""
        self.stock(*(b"%d" % at for at in range(ROUNDS)))

        def draw(reader: str) -> list[tuple[int, bytes]]:
            hands = [self.take(reader=reader) for _ in range(ROUNDS)]
            return [(hand.at[0], hand.records[0]) for hand in hands]

        drawn = self.together(*[lambda reader=f"r{number}": draw(reader) for number in range(THREADS)])
        assert all(each == [(at, b"%d" % at) for at in range(ROUNDS)] for each in drawn)

    def test_one_of_many_fills_a_slot(self) -> None:
        """Of all who want one vacant slot at one time, one is to fill it and the others read its answer (P5)."""
        fillers: list[int] = []

        def want(number: int) -> bytes:
            hand = self.take(reader=f"r{number}")
            (state,) = hand.states
            if state is MINE:
                fillers.append(number)
                hand.fill(b"by %d" % number)
            while isinstance(state, Busy):
                assert state.ticket is not None
                self.store.flights.landing(state.ticket, Place(call(), 0)).wait()
                (state,) = hand.look(0)
            hand.settle()
            return state.record if isinstance(state, Sample) else b"by %d" % number

        answers = self.together(*[lambda number=number: want(number) for number in range(THREADS)])
        assert answers == [b"by %d" % fillers[0]] * THREADS
        assert len(fillers) == 1

    def test_failing_crowd_loses_no_position(self) -> None:
        """Threads of which every other draw fails leave no gap and draw nothing twice (P1, P3)."""

        def draw(number: int) -> list[int]:
            kept: list[int] = []
            for turn in range(ROUNDS):
                hand = self.take()
                fails = (number + turn) % 2
                if fails:
                    hand.give_back()
                else:
                    hand.settle()
                    kept += hand.at
            return kept

        drawn = self.together(*[lambda number=number: draw(number) for number in range(THREADS)])
        delivered = sorted(at for each in drawn for at in each)
        assert len(set(delivered)) == len(delivered) == THREADS * ROUNDS // 2
        free = self.take(delivered[-1] + 1 - len(delivered)).at if len(delivered) <= delivered[-1] else []
        assert sorted({*delivered, *free}) == list(range(delivered[-1] + 1))


class CrowdKeepingCases(CrowdCases):
    """What is not drawing, at one time with it."""

    def test_maintenance_beside_draws(self) -> None:
        """Drawing, listing, peeking and noting at one time disturb one another in nothing."""

        def look_around(number: int) -> None:
            for turn in range(ROUNDS):
                self.note("run", f"{number}", {"turn": turn})
                self.store.peek(call())
                self.looking.readers()

        def draw() -> None:
            for _ in range(ROUNDS):
                self._drawn_by_hand(1)

        self.together(*[draw] * 4, lambda: look_around(1), lambda: look_around(2))
        assert set(self.store.peek(call())) == set(range(4 * ROUNDS))
        assert {name: note["turn"] for name, note in self.looking.notes("run").items()} == dict.fromkeys(
            "12", ROUNDS - 1
        )
