"""Conformance, eighth part: what a draw in flight says after its reader was set back, or its call was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.listings import Move
from memollm._types.requests import Return, Settle
from memollm._types.samples import Sample
from memollm.testing._bench import Bench, Hand, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._types.calls import Call, Position


class GenerationCases(Bench):
    """A sequence that was begun anew is no longer that of the draws before it (P1)."""

    def _begun_anew(self) -> list[tuple[str, Callable[[], object]]]:
        return [
            ("rewind", lambda: self.keeping.rewind("reader")),
            ("drop", lambda: self.keeping.drop("reader")),
            ("rewind twice", lambda: [self.keeping.rewind("reader"), self.keeping.rewind("reader")]),
        ]

    def _fresh(self, *records: bytes) -> None:
        """Have a call and a reader that nothing has happened to."""
        self.keeping.drop("reader")
        self.keeping.forget(call())
        if records:
            self.stock(*records)

    def _next(self) -> list[int]:
        """Tell what a draw would get."""
        hand = self.take()
        hand.give_back()
        return hand.at

    def test_returns_of_an_older_sequence_are_void(self) -> None:
        """A position delivered before goes back into nothing: who has drawn it since has drawn it once (P1)."""
        for name, begin_anew in self._begun_anew():
            self._fresh(b"0", b"1", b"2")
            hand = self.take(2)
            begin_anew()
            self.take(2).settle()
            hand.bring_back(0, 1)
            assert self._next() == [2], name

    def test_settlements_of_an_older_sequence_are_void(self) -> None:
        """Positions in flight before are neither freed nor delivered after, and nobody is told of it (P1, P3)."""
        ends: list[Callable[[Hand], tuple[Position, ...]]] = [
            lambda hand: (*hand.settle(0).void,),
            lambda hand: (*hand.settle().void,),
            lambda hand: (*self.write(Settle(hand.ticket, None)).void,),
        ]
        for name, begin_anew in self._begun_anew():
            for end in ends:
                for delivered in (False, True):
                    self._fresh()
                    hand = self.take(2)
                    begin_anew()
                    successor = self.take(2)
                    assert successor.at == [0, 1]
                    if delivered:
                        successor.settle()
                    assert end(hand) == (), name
                    hand.abandon()
                    assert self._next() == [2], name
                    assert successor.settle().void == ()

    def test_settlements_of_a_forgotten_sequence_are_told(self) -> None:
        """Who was drawing a call when it was forgotten is told, to draw of the sequence that has begun (P1)."""
        for text in ("all", "none", "unknown"):
            hand = self.take(2, of=call(text))
            self.keeping.forget(call(text))
            successor = self.take(of=call(text))
            assert successor.at == [0]
            if text == "unknown":
                self.write(Settle(hand.ticket, None))
            else:
                assert [each.at for each in hand.settle(*([0, 1] if text == "none" else [])).void] == [0, 1]
            hand.abandon()
            assert successor.settle().void == ()
            assert self.take(of=call(text)).at == [1]

    def test_take_that_delivered_before_frees_nothing(self) -> None:
        """A draw that does not know what it was given before frees nothing after (P1)."""
        for name, begin_anew in self._begun_anew():
            self._fresh(b"0", b"1")
            hand = self.take(2)
            begin_anew()
            self.take(2).settle()
            hand.give_back()
            assert self._next() == [2], name

    def test_positions_of_a_call_that_was_moved(self) -> None:
        """What was delivered of a call that another took over goes back into nothing (P1)."""
        for kept in (False, True):
            old = call(f"old {kept}")
            new = call(f"new {kept}")
            self.stock(b"0", b"1", of=old)
            if kept:
                self.stock(b"2", of=new)
            hand = self.take(2, of=old)
            self._adopt(old, new)
            hand.bring_back(0, 1)
            assert self.take(3, of=new).at == ([0, 3, 4] if kept else [2, 3, 4])
            assert self.take(of=old).at == [0]

    def _adopt(self, old: Call, new: Call) -> None:
        self.keeping.adopt([Move(old, new)], lambda _, record: record)

    def test_generation_of_nobody(self) -> None:
        """A position of another generation is nobody's."""
        self.stock(b"0")
        hand = self.take()
        (position,) = hand.positions(0)
        self.write(Return(hand.ticket, position._replace(generation=position.generation + 1)))
        assert self._next() == [1]

    def test_fill_of_a_forgotten_call_is_kept(self) -> None:
        """What was paid for is kept, even where the call was forgotten meanwhile (P7)."""
        hand = self.take()
        self.keeping.forget(call())
        hand.fill(b"zero")
        hand.settle()
        assert [sample.record for sample in self.store.peek(call()).values() if isinstance(sample, Sample)] == [b"zero"]
