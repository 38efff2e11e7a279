"""Conformance, third part: what is kept, listed, set back and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.calls import Place, Want
from memollm._types.counting import Use
from memollm._types.listings import ListedReader, ReaderOfCall, Surveyed
from memollm._types.requests import Fill
from memollm._types.samples import MINE, Busy, Sample
from memollm.testing._bench import Bench, Hand, call
from memollm.testing.fakes import NOON

if TYPE_CHECKING:
    from collections.abc import Callable


class KeepingCases(Bench):
    """Peek, forget, rewind, drop, readers, surveys, notes, close."""

    def test_peek_reads_all_samples(self) -> None:
        """A peek tells every sample by slot, vacant slots left out, and changes nothing."""
        hand = self.take(3)
        self.write(*(hand.fills(b"0", b"1", b"2")[slot] for slot in (2, 0)))
        assert list(self.store.peek(call()).items()) == [(0, Sample(b"0", NOON)), (2, Sample(b"2", NOON))]
        assert self.take().at == [3]

    def test_peek_at_the_unknown(self) -> None:
        """A call that was never drawn has no samples, and is not made one by looking."""
        assert self.store.peek(call("never")) == {}

    def test_peek_at_some_slots(self) -> None:
        """A peek at some slots tells those of them that are filled, by slot, wherever they lie; at none, nothing."""
        self.stock(*(b"%d" % slot for slot in range(6)))
        for slots in ([3, 1], [5, 0, 9], [4], [1_000_000, 2], []):
            wanted = [slot for slot in sorted(slots) if slot < 6]
            assert list(self.store.peek(call(), slots).items()) == [(s, Sample(b"%d" % s, NOON)) for s in wanted]

    def test_peek_at_many_slots_looks_for_none_in_a_list(self) -> None:
        """Each slot that is found is not compared with each that was asked for, which would be quadratic."""

        class SlotsKept(list[int]):
            def __contains__(self, key: object) -> bool:
                raise AssertionError(f"{key} was looked for in a list")

        self.stock(*(b"%d" % slot for slot in range(9)))
        assert list(self.store.peek(call(), SlotsKept(range(2, 9)))) == [*range(2, 9)]

    # Rewinding and dropping.

    def test_rewound_reader_draws_the_same_again(self) -> None:
        """A rewind sets every cursor of a reader, and no other, to its start; samples stay (P2)."""
        self.stock(b"zero", b"one")
        for reader in ("a", "b"):
            self.drawn(2, reader=reader)
        self.take(of=call("other"), reader="a").settle()
        assert self.keeping.rewind("a")
        assert self.take(2, reader="a").records == [b"zero", b"one"]
        assert [self.take(reader="a", of=call("other")).at, self.take(reader="b").at] == [[0], [2]]

    def test_unknown_reader_is_not_rewound(self) -> None:
        """Rewinding or dropping a reader that never drew says so."""
        assert not self.keeping.rewind("nobody")
        assert not self.keeping.drop("nobody")
        assert self.looking.readers() == []

    def test_rewind_forgets_what_was_given_back(self) -> None:
        """After a rewind every position is drawn once, even if it had been given back (P1)."""
        self.take(3).settle(1)
        self.keeping.rewind("reader")
        assert [self.take(2).at, self.take().at] == [[0, 1], [2]]

    def test_rewind_leaves_claims(self) -> None:
        """A draw in flight goes on filling its slot; the rewound reader waits for it (P5)."""
        first = self.take()
        self.keeping.rewind("reader")
        second = self.take()
        assert (second.at, second.states) == ([0], [Busy(first.ticket)])
        first.fill(b"zero")
        assert second.look(0) == [Sample(b"zero", NOON)]

    def test_draw_from_before_a_rewind_frees_nothing(self) -> None:
        """A draw that began before a rewind gives nothing back after it (P1)."""
        for set_back in (self.keeping.rewind, self.keeping.drop):
            for successor_is_over in (False, True):
                before = self._in_flight_when(set_back)
                successor = self.take()
                if successor_is_over:
                    successor.settle()
                before.settle(0)
                assert self.take().at == [1]

    def test_failed_draw_from_before_a_rewind_frees_nothing(self) -> None:
        """A draw that failed without knowing its positions frees none that a rewind took from it (P1)."""
        for set_back in (self.keeping.rewind, self.keeping.drop):
            before = self._in_flight_when(set_back)
            self.take()
            before.give_back()
            assert self.take().at == [1]

    def test_draw_from_before_a_rewind_delivers_nothing(self) -> None:
        """A draw that began before a rewind takes no position away when it ends (P3)."""
        for set_back in (self.keeping.rewind, self.keeping.drop):
            before = self._in_flight_when(set_back)
            successor = self.take()
            before.settle()
            successor.give_back()
            assert self.take().at == [0]

    def _in_flight_when(self, set_back: Callable[[str], bool]) -> Hand:
        """Begin a reader's first draw, and set the reader back."""
        self.keeping.drop("reader")
        hand = self.take()
        assert set_back("reader")
        return hand

    def test_dropped_reader_is_gone(self) -> None:
        """A dropped reader is no longer listed and begins anew; samples stay (P2)."""
        self.stock(b"zero")
        self.drawn()
        assert self.keeping.drop("reader")
        assert self.looking.readers() == []
        assert not self.keeping.drop("reader")
        assert self.take().records == [b"zero"]

    def test_dropped_reader_stays_gone(self) -> None:
        """A draw in flight does not bring its reader back."""
        hand = self.take()
        self.keeping.drop("reader")
        hand.fill(b"zero")
        hand.settle(0)
        hand.bring_back(0)
        assert self.looking.readers() == []
        assert list(self.drawn().positions) == [0]

    # Forgetting.

    def test_forgotten_call_begins_anew(self) -> None:
        """Forgetting removes a call's samples and cursors, counts them, and touches no other call."""
        self.stock(b"zero", b"one")
        self.stock(b"other", of=call("other"))
        self.drawn(2)
        self.drawn(of=call("other"))
        assert self.keeping.forget(call()) == 2
        assert self.store.peek(call()) == {}
        assert [self.take().at, self.take(of=call("other")).at] == [[0], [1]]

    def test_forgetting_begins_an_epoch(self) -> None:
        """Who remembers a sample learns that it is gone."""
        self.stock(b"zero")
        epoch = self.store.epoch()
        self.keeping.forget(call())
        assert self.store.epoch() != epoch

    def test_setting_a_reader_back_begins_an_epoch(self) -> None:
        """Who remembers how far a reader has come learns that it begins anew."""
        self.stock(b"zero")
        for change in (self.keeping.rewind, self.keeping.drop):
            self.drawn()
            epoch = self.store.epoch()
            change("reader")
            assert self.store.epoch() != epoch

    def test_forgetting_the_unknown(self) -> None:
        """A call that was never drawn had no samples."""
        assert self.keeping.forget(call("never")) == 0

    def test_forgetting_leaves_equal_hashes(self) -> None:
        """Of two calls with one hash, forgetting removes the one that is meant (P8)."""
        one, other = call("one", key=b"k" * 16), call("other", key=b"k" * 16)
        for each in (one, other):
            self.stock(b"kept", of=each)
        assert self.keeping.forget(one) == 1
        assert (self.store.peek(one), self.store.peek(other)) == ({}, {0: Sample(b"kept", NOON)})

    def test_draw_in_flight_outlives_forgetting(self) -> None:
        """Who is filling a slot of a forgotten call keeps it and stores into it (P5, P7)."""
        first = self.take()
        self.keeping.forget(call())
        second = self.take(reader="b")
        assert second.states == [Busy(first.ticket)]
        first.fill(b"zero")
        first.settle(0)
        assert second.look(0) == [Sample(b"zero", NOON)]
        assert list(self.drawn().positions) == [0]

    def test_waiting_draw_outlives_forgetting(self) -> None:
        """A draw that holds a position and no claim settles after its call was forgotten, freeing nothing (P1)."""
        self.take(reader="a")
        second = self.take(reader="b")
        self.keeping.forget(call())
        again = self.take(reader="b")
        second.settle(0)
        assert [again.at, self.take(reader="b").at] == [[0], [1]]

    def test_forgotten_call_can_be_drawn_again_and_again(self) -> None:
        """Forgetting and drawing in turn never mixes the old with the new (P1)."""
        for turn in range(3):
            hand = self.take()
            assert (hand.at, hand.states) == ([0], [MINE])
            hand.fill(b"%d" % turn)
            hand.settle()
            assert self.take(reader="b").records == [b"%d" % turn]
            self.keeping.forget(call())

    # Listing.

    def test_readers_are_listed(self) -> None:
        """Readers come by name, with their calls and what they drew; what is in flight or given back does not count."""
        self.take(3, reader="b").settle(0)
        self.take(2, reader="b", of=call("other"))
        self.take(reader="a").settle()
        readers = self.looking.readers()
        assert readers == [ListedReader("a", 1, 1), ListedReader("b", 2, 2)]
        assert all(type(number) is int for reader in readers for number in reader[1:])

    def test_rewound_reader_is_listed(self) -> None:
        """A rewound reader is there and has drawn nothing."""
        self.take(2).settle()
        self.keeping.rewind("reader")
        assert self.looking.readers() == [ListedReader("reader", 1, 0)]

    def test_reader_without_calls_is_gone(self) -> None:
        """A reader whose only call was forgotten is no longer there."""
        self.take().settle()
        self.keeping.forget(call())
        assert self.looking.readers() == []
        assert not self.keeping.rewind("reader")
        assert not self.keeping.drop("reader")

    def test_survey_lists_calls_with_what_their_samples_took(self) -> None:
        """Calls come in order of making with sums over their samples; a call without samples is none."""
        self.take(of=call("vacant"))
        self._store_samples("later", Sample(b"abc", NOON + 9))
        self._store_samples("first", Sample(b"a", NOON + 2, 1.5, 10, 3, 0.25), Sample(b"bc", NOON + 1, 0.5, 1, 1))
        later, first = call("later"), call("first")
        self.count({}, [Use("run", first, 0, 1, 4e9)])
        surveyed = self.looking.survey()
        assert [each.call for each in surveyed] == [first, later]
        assert surveyed[0] == Surveyed(first, 2, len(first.form) + 3, NOON + 1, 4e9, 2.0, 11, 4, 0.25)
        assert surveyed[0].call.function == first.function
        assert surveyed[1]._replace(used=0) == Surveyed(later, 1, len(later.form) + 3, NOON + 9, 0, 0.0, 0, 0, None)

    def _store_samples(self, text: str, *samples: Sample) -> None:
        hand = self.take(len(samples), of=call(text), reader=None)
        self.write(*(Fill(hand.ticket, Place(call(text), slot), sample) for slot, sample in enumerate(samples)))
        hand.settle()

    def test_survey_is_narrowed(self) -> None:
        """A survey can be of one function, and of calls whose form has a text in whatever case, also as JSON has it."""
        for text in ("Red é wine", 'say \\"hi\\"', "blue"):
            self.stock(b"zero", of=call(text))
        assert [each.call for each in self.looking.survey(text="rED É")] == [call("Red é wine")]
        assert [each.call for each in self.looking.survey(text='Say "hi"')] == [call('say \\"hi\\"')]
        assert len(self.looking.survey(function=call().function)) == 3
        assert self.looking.survey(function="tests.other") == []
        assert self.looking.survey(function=call().function, text="green") == []

    def test_readers_of_a_call(self) -> None:
        """A call's readers come by name with what they were given of it, and the lanes that got any of it."""
        self.stock(b"zero", b"one", b"two", of=call("other"))
        self.take(3, reader="b").settle(0)
        self.drawn(of=call("other"), reader="b")
        for lane in ("right", "left"):
            Hand(self.store, Want(call(), "a", 1, None, lane)).settle()
        Hand(self.store, Want(call(), "a", 1, None, "given back")).give_back()
        assert self.looking.readers_of(call()) == [ReaderOfCall("a", 2, ("left", "right")), ReaderOfCall("b", 2, ())]
        assert self.looking.readers_of(call("other")) == [ReaderOfCall("b", 1, ())]
        assert self.looking.readers_of(call("never")) == []

    # The catalog.

    def test_notes_are_kept_by_kind_and_name(self) -> None:
        """A document comes back under its kind and name, equal, and by name in order."""
        document = {"source": "def f(): ...\n", "parts": {"é": [1, 2.5, None, True]}, "名": "🙂"}
        for kind, name in (("function", "b"), ("function", "a.é"), ("run", "a")):
            self.note(kind, name, {**document, "name": name})
        assert list(self.looking.notes("function").items()) == [
            (name, {**document, "name": name}) for name in ("a.é", "b")
        ]
        assert set(self.looking.notes("run")) == {"a"}
        assert dict(self.looking.notes("namespace")) == {}

    def test_note_replaces_note(self) -> None:
        """A document replaces the one of its kind and name."""
        for text in ("old", "new"):
            self.note("function", "f", {"source": text})
        assert dict(self.looking.notes("function")) == {"f": {"source": "new"}}

    def test_notes_are_copies(self) -> None:
        """Changing a document that was given or got changes nothing stored (P11)."""
        document = {"parts": ["one"]}
        self.note("function", "f", document)
        document["parts"].append("two")
        self.looking.notes("function")["f"]["parts"].append("three")
        assert dict(self.looking.notes("function")) == {"f": {"parts": ["one"]}}

    # Leaving.

    def test_close_is_for_good_and_may_be_repeated(self) -> None:
        """A store that was never used, or is closed already, can be closed."""
        self.store.close()
        self.store.close()
