"""Conformance, seventh part: what samples cost, what was counted and used, and how space is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.allowance import Allowance, Charged
from memollm._types.calls import Place
from memollm._types.counting import Account, Counts, Use
from memollm._types.listings import Move
from memollm._types.requests import Fill, Return, Settle
from memollm._types.samples import EVER, MINE, Sample
from memollm.stores.limiting import limiting
from memollm.stores.transfer import Part
from memollm.testing._bench import Bench, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memollm._types.calls import Call

ENDLESSLY = float("inf")
COSTS = [
    Sample(b"zero", NOON, 1.5, 10, 20, 0.25, 12.5),
    Sample(b"one", NOON + 1, 0.0, 0, 0, None),
    Sample(b"two", NOON + 2, 1e-6, 2**40, 1, 0.0),
]


class TendingCases(Bench):
    """Costs, counts, inventory, evict, shrink."""

    # What samples cost.

    def _fill_with_costs(self) -> None:
        hand = self.take(len(COSTS), reader=None)
        self.write(*(Fill(hand.ticket, Place(call(), slot), sample) for slot, sample in enumerate(COSTS)))
        hand.settle()

    def test_costs_come_back(self) -> None:
        """What making a sample took is kept beside it, and told by every way of reading it."""
        self._fill_with_costs()
        assert list(self.store.peek(call()).values()) == COSTS
        assert [self.take().states[0] for _ in COSTS] == COSTS
        assert self.take(3, reader="b").states == COSTS
        assert self.take(3, reader="run:1", lane="x").states == COSTS
        assert self.take(reader=None).states == COSTS[:1]
        assert self.take(reader=None).look(2, 1, 0) == COSTS[::-1]

    def test_costs_move_with_samples(self) -> None:
        """Samples that are given to another call keep what they cost, whether it had samples or not."""
        self._fill_with_costs()
        self.stock(b"of other", of=call("other"))
        for old, new in ((call(), call("new")), (call("new"), call("other"))):
            self.keeping.adopt([Move(old, new)], lambda _, record: record + b"!")
        samples = [sample._replace(record=sample.record + b"!!") for sample in COSTS]
        assert list(self.store.peek(call("other")).values())[1:] == samples

    # Counts.

    def test_counts_add_up(self) -> None:
        """What is counted for one day, run, namespace and function adds up, and is told apart from all else."""
        accounts = [
            Account("2026-11-21", "r", "", "f"),
            Account("2026-11-22", "r", "", "f"),
            Account("2026-11-22", "r", "é", "f"),
            Account("2026-11-22", "r", "é", "g"),
            Account("2026-11-22", "s", "é", "g"),
        ]
        counts = Counts(*range(1, len(Counts._fields) + 1))
        assert dict(self.looking.counted()) == {}
        self.count(dict.fromkeys(accounts, counts), [])
        self.count({accounts[2]: counts, accounts[3]: Counts(draws=1, spent_cost=0.5)}, [])
        once = dict.fromkeys(accounts, counts)
        more = {accounts[2]: counts.plus(counts), accounts[3]: counts.plus(Counts(draws=1, spent_cost=0.5))}
        assert list(self.looking.counted().items()) == [*{**once, **more}.items()]

    # Budgets of programs.

    def test_a_program_is_charged_as_long_as_there_is_room(self) -> None:
        """What a program spends adds up, apart from other programs; what exceeds the allowance changes nothing."""
        if getattr(self.store, "limiting", None) is None:
            return
        charge = limiting(self.store).charge
        allowed = Allowance(cost=1.0, calls=3)
        assert charge("p", Charged(2, 0.0, 0.5), allowed) == (Charged(2, 0.0, 0.5), True)
        assert charge("p", Charged(2), allowed) == (Charged(2, 0.0, 0.5), False)
        assert charge("p", Charged(1, 0.0, 0.75), allowed) == (Charged(2, 0.0, 0.5), False)
        assert charge("p", Charged(-1, 0.25, -0.5, 1)) == (Charged(1, 0.25, 0.0, 1), True)
        assert charge("q", Charged(3), allowed) == (Charged(3), True)
        assert charge("p", Charged(2), allowed) == (Charged(3, 0.25, 0.0, 1), True)

    def test_counting_nothing(self) -> None:
        """Nothing counted is nothing kept, and no error."""
        self.count({}, [])
        assert dict(self.looking.counted()) == {}

    def test_counts_outlive_calls(self) -> None:
        """What was counted stays when the call, the namespace and the samples are gone."""
        self.stock(b"zero")
        self.count({Account("d", "r", "n", "f"): Counts(draws=1)}, [Use("r", call(), 0, 0, NOON)])
        self.keeping.forget(call())
        assert dict(self.looking.counted()) == {Account("d", "r", "n", "f"): Counts(draws=1)}

    def test_uses_of_any_order(self) -> None:
        """Stretches may touch, hold one another, come twice, lie apart or be of a call that is gone."""
        self.stock(b"zero")
        stretches = [(3, 4), (0, 1), (0, 3), (0, 3), (9, 9), (7, 7), (8, 8), (0, 20), (5, 6)]
        for first, last in stretches:
            self.count({}, [Use("run:1", call(), first, last, NOON), Use(None, call(), first, last, NOON)])
        self.count({}, [Use("run:1", call("never"), 0, 0, NOON)])
        assert [item.used for item in self.looking.inventory()] == [NOON]

    # The inventory.

    def test_inventory_tells_sizes_and_times(self) -> None:
        """Every call that has samples is listed with their number, the bytes of it all, and its first and last use."""
        self.take(of=call("never filled")).settle()
        self.stock(b"zero", b"one", of=call("é"), stored=NOON)
        self.stock(b"", of=call("b"), stored=NOON + 5)
        hand = self.take(of=call("b"), newer_than=NOON + 5)
        hand.fill(b"replaced", stored=NOON + 7)
        hand.settle()
        sizes = {text: len(call(text).form.encode()) for text in ("é", "b")}
        assert sorted(item[1:] for item in self.looking.inventory()) == [
            ("tests.ask", 1, 8 + sizes["b"], NOON + 7, NOON + 7),
            ("tests.ask", 2, 7 + sizes["é"], NOON, NOON),
        ]

    def test_use_is_the_latest(self) -> None:
        """A call was last used when anybody told of it, or when a sample of it was stored (for eviction)."""
        self.stock(b"zero", stored=NOON)
        for at, seen in ((NOON + 3, NOON + 3), (NOON + 2, NOON + 3), (NOON + 4, NOON + 4)):
            self.count({}, [Use(None, call(), 0, 0, at)])
            (item,) = self.looking.inventory()
            assert (item.made, item.used) == (NOON, seen)
        self.take(2).fill(b"one", stored=NOON + 9)
        assert [item.used for item in self.looking.inventory()] == [NOON + 9]

    def test_use_moves_with_the_call(self) -> None:
        """A call that was given another's samples was last used when either was."""
        self.stock(b"old", of=call("old"))
        self.stock(b"new")
        self.count({}, [Use(None, call("old"), 0, 0, NOON + 3)])
        self.keeping.adopt([Move(call("old"), call())], lambda _, record: record)
        assert [(item.samples, item.used) for item in self.looking.inventory()] == [(2, NOON + 3)]

    def test_uses_move_with_the_call(self) -> None:
        """What a run used of both calls may lie over one another, as it was used of slots that are empty now."""
        self.stock(b"old", of=call("old"))
        self.stock(b"new")
        for run, of, first, last in (("1", call(), 1, 5), ("1", call("old"), 0, 8), ("2", call(), 1, 5)):
            self.count({}, [Use(f"run:{run}", of, first, last, NOON)])
        self.count({}, [Use("run:2", call("old"), 0, 1, NOON)])
        assert self.keeping.adopt([Move(call("old"), call())], lambda _, record: record) == 1
        with self.keeping.transfer().snapshot() as snapshot:
            (entry,) = snapshot.entries(Part())
            used = {(run, slot) for run, first, last in snapshot.stretches(entry) for slot in range(first, last + 1)}
        assert used == {("run:1", slot) for slot in range(1, 10)} | {("run:2", slot) for slot in range(1, 6)}

    # Evicting.

    def _handles(self, *of: Call) -> list[object]:
        """Stock calls, and return their handles."""
        handles: list[object] = []
        for each in of:
            before = {item.handle for item in self.looking.inventory()}
            self.stock(b"0", b"1", of=each)
            handles += [item.handle for item in self.looking.inventory() if item.handle not in before]
        return handles

    def _evict(self, handles: Iterable[object], *, used_by: float = ENDLESSLY) -> list[object]:
        return self.keeping.evict(list(handles), used_by=used_by)

    def test_evicted_call_begins_anew(self) -> None:
        """An evicted call is gone with samples, cursors and lanes; others stay as they are."""
        handles = self._handles(call("a"), call("b"), call("c"))
        for each in "abc":
            self.drawn(2, of=call(each))
        epoch = self.store.epoch()
        assert self._evict(handles[:2]) == handles[:2]
        assert self.store.epoch() != epoch
        assert [len(self.store.peek(call(each))) for each in "abc"] == [0, 0, 2]
        assert [self.take(of=call(each)).at for each in "abc"] == [[0], [0], [2]]
        assert [item.handle for item in self.looking.inventory()] == handles[2:]

    def test_evicting_what_is_gone(self) -> None:
        """A handle of a call that is gone already evicts nothing."""
        handles = self._handles(call("a"))
        self.keeping.forget(call("a"))
        assert self._evict([*handles, "nonsense", None]) == []
        assert self._evict([]) == []

    def test_call_used_since_stays(self) -> None:
        """A call that was used later than the caller knows of stays."""
        handles = self._handles(call("a"), call("b"), call("c"))
        self.count({}, [Use(None, call("b"), 0, 0, NOON + 2)])
        self.take(3, of=call("c")).fill(b"2", stored=NOON + 3)
        assert self._evict(handles, used_by=NOON - 1) == []
        assert self._evict(handles, used_by=NOON + 1) == handles[:1]
        assert self._evict(handles[:2], used_by=NOON + 2) == handles[1:2]

    def test_call_being_drawn_stays(self) -> None:
        """A call with a live claim, or a live draw's position, stays until that draw is over (P1, P5)."""
        handles = self._handles(call("a"), call("b"))
        claiming = self.take(reader=None, of=call("a"), newer_than=NOON)
        holding = self.take(3, of=call("b"))
        holding.fill(b"2")
        assert self._evict(handles) == []
        holding.settle(2)
        claiming.abandon()
        assert self._evict(handles) == handles

    def test_vanished_draw_keeps_no_call(self) -> None:
        """A draw that is no longer aloft keeps nothing; what it settles late does no harm (P1)."""
        handles = self._handles(call())
        hand = self.take(3)
        hand.abandon()
        assert self._evict(handles) == handles
        again = self.take()
        assert (again.at, again.states) == ([0], [MINE])
        self.write(Settle(hand.ticket, None), Return(0, *hand.positions(2)))
        assert self.take().at == [1]

    def test_evicted_call_was_not_used(self) -> None:
        """A call that was evicted and drawn again has the times of its new samples."""
        handles = self._handles(call())
        self.count({}, [Use("run:1", call(), 0, 1, NOON + 9)])
        self._evict(handles)
        self.stock(b"new", stored=NOON + 1)
        assert [(item.made, item.used) for item in self.looking.inventory()] == [(NOON + 1, NOON + 1)]
        assert self._evict(handles) in ([], handles)

    # Shrinking.

    def test_shrinking_keeps_everything(self) -> None:
        """Giving space back changes nothing that is stored, and tells of bytes that never go back."""
        handles = self._handles(*(call(f"{number}") for number in range(20)))
        self.stock(*(b"x" * 50_000 for _ in range(20)))
        self._evict(handles)
        told: list[tuple[int, int]] = []
        self.keeping.shrink(lambda done, total: told.append((done, total)))
        assert told == sorted(told)
        assert all(0 <= done <= total for done, total in told)
        self.keeping.shrink(lambda done, total: told.append((done, total)))
        assert [len(sample.record) for sample in self.store.peek(call()).values()] == [50_000] * 20
        assert self.take(20, newer_than=EVER).at == list(range(20))
