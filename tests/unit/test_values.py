"""What a user sees of the codec: answers of every kind come back, trust, and what cannot be kept (P7, P10, P11)."""

from __future__ import annotations

import dataclasses
import io
import sqlite3
import subprocess
import sys

import pytest
from ids import steady

from memollm import Cache, NotStoredWarning, StaleRecord, UncacheableResult, UntrustedRecord, configure


@dataclasses.dataclass
class Answer:
    text: str
    scores: tuple[float, ...]


class Odd:
    """A class that only a pickle can hold."""

    def __init__(self, size):
        self.size = size

    def __eq__(self, other):
        return isinstance(other, Odd) and self.size == other.size

    def __hash__(self):
        return hash(self.size)


class Money:
    def __init__(self, amount):
        self.amount = amount


def asking(cache, value):
    return cache.cached_llm(lambda prompt: value, name="ask", version=1, pool=1)


@pytest.mark.parametrize(
    "value", ["text", {"a": [1, 2.5, None]}, (1, {2, 3}), b"\x00", 10**40, Answer("yes", (0.5,)), Odd(3)], ids=steady
)
def test_an_answer_comes_back_as_it_was(tmp_path, value):
    """What another process reads is equal and of the same type."""
    with Cache(tmp_path) as cache:
        asking(cache, value)("x")
    with Cache(tmp_path) as cache:
        again = asking(cache, None)("x")
        assert again == value
        assert type(again) is type(value)


def test_two_draws_of_a_slot_share_no_mutable_part(cache):
    """P11: objects that name classes are built anew for each draw, too."""
    ask = asking(cache, Answer("yes", (0.5,)))
    drawn = [ask("x") for _ in range(3)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert len({id(answer) for answer in drawn}) == 3


def test_a_signed_record_of_another_key_is_not_read_until_it_is_trusted(tmp_path, monkeypatch):
    """P10: the error says whose record it is; trusting that key reads it."""
    theirs = "the secret of the other team"
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", theirs)
    with Cache(tmp_path) as cache:
        asking(cache, Odd(3))("x")
    monkeypatch.delenv("MEMOLLM_SIGNING_KEY")
    with Cache(tmp_path) as cache:
        ask = asking(cache, None)
        with pytest.raises(UntrustedRecord, match=r"signed by key [0-9a-f]{8}, yours is [0-9a-f]{8}.*\.trust\("):
            ask("x")
        cache.trust(theirs)
        assert ask("x") == Odd(3)


def test_an_untrusted_sample_keeps_its_position(tmp_path, monkeypatch):
    """P3: a draw that could not be decoded delivered nothing; neighbours are still read."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "the secret of the other team")
    values = iter(["first", Odd(3), "third"])
    with Cache(tmp_path) as cache:
        cache.cached_llm(lambda _: next(values), name="ask", version=1, namespace="a").draw(3, "x")
    monkeypatch.delenv("MEMOLLM_SIGNING_KEY")
    with Cache(tmp_path) as cache:
        ask = cache.cached_llm(lambda _: "new", name="ask", version=1, namespace="b")
        assert ask("x") == "first"
        for _ in range(2):
            with pytest.raises(UntrustedRecord):
                ask("x")
        cache.trust("the secret of the other team")
        assert ask.draw(2, "x") == [Odd(3), "third"]


def class_with(*fields):
    """Make a class of the same name with other fields, as an edit of its module would."""
    made = dataclasses.make_dataclass("Answer", fields)
    made.__module__, made.__qualname__ = __name__, "Answer"
    return made


@pytest.mark.parametrize("pool", [None, 1])
def test_a_stale_sample_may_be_made_anew(tmp_path, monkeypatch, pool):
    """A sample whose class has changed is an error that names the class, or by choice a miss that replaces it."""
    now = class_with("text", "scores")
    monkeypatch.setitem(globals(), "Answer", now)
    with Cache(tmp_path) as cache:
        cache.cached_llm(lambda _: now("old", 1), name="ask", version=1, namespace="a", pool=pool)("x")
    edited = class_with("text")
    monkeypatch.setitem(globals(), "Answer", edited)
    with Cache(tmp_path) as cache:
        ask = cache.cached_llm(lambda _: edited("new"), name="ask", version=1, namespace="b", pool=pool)
        with pytest.raises(StaleRecord, match="Answer"):
            ask("x")
        assert ask.with_options(on_stale="miss")("x") == edited("new")
        # It took the slot, for every namespace.
        assert ask.with_options(namespace="c")("x") == edited("new")
        assert ask.peek("x") == [edited("new")]


@pytest.mark.parametrize("reader", [{"namespace": "b"}, {"namespace": "b", "pool": 4}, {}], ids=["own", "pool", "run"])
def test_only_stale_samples_are_made_anew(tmp_path, monkeypatch, reader):
    """P4: of several samples those that can still be read stay as they are, and only the others are paid for."""
    now = class_with("text", "scores")
    monkeypatch.setitem(globals(), "Answer", now)
    answers = iter(["first", now("second", 1), "third", now("fourth", 2)])
    with Cache(tmp_path) as cache:
        cache.cached_llm(lambda _: next(answers), name="ask", version=1, namespace="a").draw(4, "x")
    monkeypatch.setitem(globals(), "Answer", class_with("text"))
    made = iter(["anew", "too", "too much"])
    with Cache(tmp_path) as cache:
        ask = cache.cached_llm(lambda _: next(made), name="ask", version=1, on_stale="miss", **reader)
        assert ask.draw(4, "x") == ["first", "anew", "third", "too"]
        assert ask.peek("x") == ["first", "anew", "third", "too"]


@pytest.mark.parametrize("items", [["old", "new"], ["old", "old", "new"]])
def test_looking_for_stale_samples_reads_each_position_once(cache, items):
    """What is read to see whether it still can be is what is given; two positions have objects of their own (P11)."""
    read = []

    def decode(size):
        read.append(Odd(size))
        return read[-1]

    cache.register(Odd, name="odd", encode=lambda odd: odd.size, decode=decode)
    ask = cache.cached_llm(
        lambda items: [*map(Odd, items)], name="ask", version=1, pool=1, batch="items", on_stale="miss"
    )
    ask(["old"])
    read.clear()
    given = ask(items)
    assert given == [*map(Odd, items)]
    assert len({*map(id, given)}) == len(items)
    assert read.count(Odd("old")) == items.count("old")


def test_each_function_whose_answers_are_not_stored_is_told_of(tmp_path):
    """A second function is paid for anew in every run, for the same reason or not; each is told of once."""
    with Cache(tmp_path) as cache:
        for name in ("first", "second"):
            ask = cache.cached_llm(lambda prompt: iter("abc"), name=name, version=1)
            with pytest.warns(NotStoredWarning, match=name):
                ask("a")
            ask("b")


def test_without_pickle_such_answers_are_returned_and_not_stored(tmp_path):
    """`configure(pickle=False)` forbids cloudpickle, for writing and for reading."""
    with Cache(tmp_path) as cache:
        ask = asking(cache, Odd(3))
        configure(pickle=False)
        with pytest.warns(NotStoredWarning, match="pickle"):
            assert ask("x") == Odd(3)
        assert ask.peek("x") == []
        configure(pickle=None)
        ask("x")
    configure(pickle=False)
    with Cache(tmp_path) as cache, pytest.raises(UntrustedRecord, match="pickle"):
        asking(cache, None)("x")


def test_a_type_of_ones_own_is_stored_under_its_name(tmp_path):
    """A registered type comes back through the user's own functions."""
    for value in (Money(3), None):
        with Cache(tmp_path) as cache:
            cache.register(Money, name="money", encode=lambda money: money.amount, decode=Money)
            assert asking(cache, value)("x").amount == 3


def test_answers_are_readable_in_a_sqlite_browser(tmp_path):
    """The view `answer` shows the text of what is stored."""
    with Cache(tmp_path) as cache:
        for value in ("yes", {"a": 1}, (1, 2), Answer("é", ())):
            cache.cached_llm(lambda _, value=value: value, name="ask", version=1, namespace="a")(repr(value))
    connection = sqlite3.connect(tmp_path / "memollm.db")
    rows = connection.execute("SELECT form, value FROM answer ORDER BY call").fetchall()
    connection.close()
    assert rows[0] == ("J1", '"yes"')
    assert rows[1] == ("J1", '{"a":1}')
    assert rows[2][0] == "T1"
    assert "é" in rows[3][1]


def test_a_result_is_paid_for_even_if_no_key_can_be_made(tmp_path, monkeypatch):
    """P7: where the signing key cannot be written, the answer is returned with a warning."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with Cache(tmp_path / "cache") as cache:
        ask = asking(cache, Odd(3))
        with pytest.warns(NotStoredWarning):
            assert ask("x") == Odd(3)


@pytest.mark.parametrize(
    ("make", "advice"),
    [(lambda: (n for n in range(3)), "generator"), (lambda: iter([1]), "generator"), (io.StringIO, "return the bytes")],
)
def test_streams_are_returned_with_advice(cache, make, advice):
    """What can be read only once is the caller's, and not stored."""
    value = make()
    with pytest.warns(NotStoredWarning, match=advice):
        assert asking(cache, value)("x") is value
    assert asking(cache, None).peek("x") == []
    with pytest.raises(UncacheableResult):
        cache._engine.codec.encode(value)


STUDY = """
import dataclasses, sys
from memollm import cached_llm

@dataclasses.dataclass
class Answer:
    text: str

@cached_llm(namespace="a", pool=1)
def ask(prompt):
    print("paid")
    return Answer("yes")

if __name__ == "__main__":
    print(ask("x"), type(ask("x")) is Answer)
"""
OTHER = """
import dataclasses
from study import Answer as Theirs, ask

@dataclasses.dataclass
class Answer:
    text: str

print(ask("x"), type(ask("x")) is Theirs)
"""


def test_a_program_and_who_imports_it_read_each_others_records(project):
    """A class of a program comes back as that class, run or imported, and never as another of the same name."""
    (project / "study.py").write_text(STUDY)
    (project / "other.py").write_text(OTHER)

    def printed(name):
        result = subprocess.run(
            [sys.executable, name], cwd=project, capture_output=True, text=True, timeout=60, check=True
        )
        return result.stdout.splitlines()

    assert printed("study.py") == ["paid", "Answer(text='yes') True"]
    assert printed("other.py") == printed("study.py") == ["Answer(text='yes') True"]
