"""What is kept of similar calls: vectors and matches go where their calls go, and shadows find a threshold."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import memollm
from memollm import Cache, Embedder, OptionError, Similar
from memollm._similar import vectors
from memollm._types.calls import Call
from memollm.stores.matching import StoredMatch, VectorSpace, matching
from memollm.testing import FakeClock, hashed_ngrams

FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me, what is the capital of France?"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path, clock):
    with Cache("memory:" if request.param == "memory" else tmp_path / "cache", clock=clock) as made:
        yield made


def answering(cache, function=None, **options):
    similar = options.pop("similar", None) or Similar(
        "question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=0.8
    )
    given = {"similar": similar, "pool": 1, "name": "answer", "version": 1, **options}
    return cache.cached_llm(function or (lambda question: f"to {question}"), **given)


def call_of(form, key=b"k" * 16):
    return Call(key, form, "f")


FORM = '{{"memollm":1,"function":{{"name":"f","version":"1"}},"arguments":{{"n":1,"q":"{}"}}}}'
VERSION = re.compile('"version:([0-9])"')
TABLES = ("vector", "likeness")
SPACE = VectorSpace("e 2", "q")


# The store.


def test_a_space_is_what_all_but_the_text_says():
    """Two forms are in one space exactly if they differ in the text alone, whatever their numbers look like (P8)."""
    forms = {
        form: SPACE.digest('{"memollm":1,"function":{"name":"f","version":"1"},"arguments":' + form + "}")
        for form in (
            '{"n":1,"q":"a"}', '{"n":1.0,"q":"a"}', '{"n":"1","q":"a"}', '{"n":true,"q":"a"}', '{"n":[1],"q":"a"}',
            '{"n":{"!digits":"1"},"q":"a"}', '{"n":1' + "0" * 5000 + ',"q":"a"}', '{"n":null,"q":"a"}', '{"q":"a"}',
        )
    }  # fmt: skip
    assert len({*forms.values()}) == len(forms) - 1  # No form has an object that looks like our own tag for numbers.
    assert SPACE.digest(FORM.format("a")) == SPACE.digest(FORM.format("b"))


def test_a_match_is_read_as_long_as_there_is_no_sample(cache):
    """A match of a call whose source was forgotten is gone with it, and one of a call with a sample is not read."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    (match,) = matching(cache.store).matches()
    assert (match.parameter, match.rule, match.shadow) == ("question", '["hashed", "1"]', False)
    assert matching(cache.store).match_of(match.call) == match
    assert matching(cache.store).matches("other") == []
    matching(cache.store).note(StoredMatch(match.call, call_of(FORM.format("a")), "q", 1.0, "r", 0.0))
    assert matching(cache.store).matches() == [match]
    answer.forget(FRANCE)
    assert (matching(cache.store).match_of(match.call), matching(cache.store).matches()) == (None, [])


def test_what_is_forgotten_leaves_nothing(tmp_path):
    """No vector and no match stays behind of a call that is forgotten, on either side of a match."""
    with Cache(tmp_path / "cache") as cache:
        answer = answering(cache)
        answer(FRANCE)
        answer(FRANCE_TOO)
        answer.forget_all()
    with closing(sqlite3.connect(tmp_path / "cache" / "memollm.db")) as connection:
        assert [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES] == [(0,), (0,)]


def test_vectors_are_searched_in_pieces_as_in_one(monkeypatch):
    """However vectors come and fill the pieces, the nearest are found, and those of another length passed over."""
    monkeypatch.setattr(vectors, "LEAST", 2)
    monkeypatch.setattr(vectors, "MOST_ROWS", 9)
    random = np.random.default_rng(1)
    partition, known = vectors.VectorBlock(4), []
    number = 0
    for added in (1, 1, 3, 0, 20, 2, 9, 1):
        rows = []
        for _ in range(added):
            number += 1 + number % 3
            damaged = number % 5 == 0
            vector = vectors.normalized(random.standard_normal(3 if damaged else 4), "f")
            rows.append((number, vector.tobytes()))
            known += [] if damaged else [(number, vector)]
        if rows:
            partition.add(partition.last, rows)
            partition.add(0, rows)
        assert (partition.last, partition.known) == (number, len(known))
        asked = vectors.normalized(random.standard_normal(4), "f")
        told = [(min(1.0, round(float(vector @ asked) * 1e6) / 1e6), number) for number, vector in known]
        above = sorted((-score, number) for score, number in told if score >= 0.2)
        found = partition.nearest(asked, 0.2, 100)
        assert [near.number for near in found] == [number for _, number in above]
        assert [near.score for near in found] == pytest.approx([-score for score, _ in above], abs=2e-6)
        assert [near.number for near in partition.nearest(asked, 0.2, 2)] == [number for _, number in above[:2]]


# Maintenance.


def test_adopting_takes_vectors_and_matches_along(cache):
    """Samples that become another version's are found by its similar calls, and those that were lent still are."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    newer = answering(cache, lambda question: "new", version=2)
    newer.key(FRANCE)
    assert cache.adopt("answer", version="1") == 1
    assert newer("Please tell me, what is the capital of France?") == f"to {FRANCE}"
    assert newer(FRANCE) == f"to {FRANCE}"


def test_adopting_takes_a_match_of_what_was_only_lent_to(cache):
    """A call without a sample of its own is adopted with its match, so that it goes where it went."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    newer = answering(cache, lambda question: "new", version=2)
    newer.key(FRANCE)
    cache.adopt("answer", version="1")
    (match,) = matching(cache.store).matches()
    assert {VERSION.search(call.form)[1] for call in (match.call, match.of)} == {"2"}
    assert newer._self_invocation((FRANCE_TOO,), {}).lends()


def test_adopting_joins_vectors(cache):
    """Where both versions have a call, its vector is there once."""
    answering(cache)(FRANCE)
    newer = answering(cache, lambda question: "new", version=2)
    newer(FRANCE)
    cache.adopt("answer", version="1")
    form = newer._self_invocation((FRANCE,), {}).looked_for()[0].form
    space = VectorSpace('["hashed", "1"] 128', "question").digest(form)
    assert len(matching(cache.store).vectors(space, 0)) == 1


def test_pruning_takes_vectors_and_matches_along(cache, clock):
    """What is evicted is lent no more."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    clock.advance(10)
    cache.prune(max_samples=0)
    assert matching(cache.store).matches() == []
    assert answer(FRANCE_TOO) == f"to {FRANCE_TOO}"


def test_another_process_finds_what_was_learned(tmp_path):
    """Vectors that another cache object has added are found by one that has searched before."""
    with Cache(tmp_path / "cache") as one, Cache(tmp_path / "cache") as other:
        here, there = answering(one), answering(other, lambda question: "there")
        here("Something else entirely")
        there(FRANCE)
        assert here(FRANCE_TOO) == "there"


def test_verify_finds_and_repairs_what_is_damaged(tmp_path):
    """Rows that belong to nothing, or hold what nobody writes, are told and removed; what is whole stays."""
    with Cache(tmp_path / "cache") as cache:
        answer = answering(cache)
        answer(FRANCE)
        answer(FRANCE_TOO)
    with closing(sqlite3.connect(tmp_path / "cache" / "memollm.db", isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO vector (space, call, embedder, parameter, vector) VALUES (x'00', 99, 'e', 'p', x'00000000')"
        )
        connection.execute(
            "INSERT INTO vector (space, call, embedder, parameter, vector) VALUES (x'00', 1, 'e', 'p', 'text')"
        )
        connection.execute("INSERT INTO likeness VALUES (99, 0, 98, 'p', 1.0, 'r', 1.0)")
    with Cache(tmp_path / "cache") as cache:
        assert {fault.where for fault in cache.verify().faults} == {"table vector", "table likeness"}
        assert cache.verify(repair=True).repaired is not None
        assert cache.verify().ok
        assert answering(cache)(FRANCE_TOO) == f"to {FRANCE}"


def test_a_damaged_vector_is_passed_over(tmp_path):
    """A vector of another length, or of a call that is none, is found by nobody."""
    with Cache(tmp_path / "cache") as cache:
        answering(cache)(FRANCE)
    with closing(sqlite3.connect(tmp_path / "cache" / "memollm.db", isolation_level=None)) as connection:
        connection.execute("UPDATE vector SET vector = substr(vector, 1, 12)")
    with Cache(tmp_path / "cache") as cache:
        assert answering(cache)(FRANCE_TOO) == f"to {FRANCE_TOO}"


def test_a_match_is_no_sample_of_an_export(tmp_path, cache):
    """What was lent is not exported for the call that it was lent to (P14)."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    assert cache.export(tmp_path / "file.jsonl", function="answer").samples == 1


def test_vectors_and_matches_go_into_files_and_come_back(tmp_path, cache):
    """A cache that was exported and loaded lends as before, and loading it twice changes nothing (P2)."""
    answer = answering(cache)
    answer(FRANCE)
    answer(FRANCE_TOO)
    cache.export(tmp_path / "all.jsonl")
    (match,) = matching(cache.store).matches()
    for place in ("memory:", tmp_path / "loaded"):
        with Cache(place) as other:
            for _ in range(2):
                other.load(tmp_path / "all.jsonl")
            assert matching(other.store).matches() == [match]
            other.export(tmp_path / "again.jsonl")
            kinds = ('{"is":"vector"', '{"is":"match"')
            first, again = (
                [line for line in (tmp_path / f"{name}.jsonl").read_text().splitlines() if line.startswith(kinds)]
                for name in ("all", "again")
            )
            assert (again, len(again)) == (first, 2)
            again = answering(other, lambda question: "called")
            assert again(FRANCE_TOO) == f"to {FRANCE}"
            assert again(f"Please: {FRANCE}") == f"to {FRANCE}"


@pytest.mark.parametrize(
    "line",
    [
        '{"is":"vector","embedder":"e","parameter":"q","base64":"AAA="}',
        '{"is":"vector","embedder":"e","parameter":"q","base64":"?"}',
        '{"is":"match","function":"f","key":"00","form":{},"of_key":"00","of_form":{},"parameter":"q","rule":"r","score":0.9,"at":1}',
        '{"is":"match","function":"f","key":"00","form":{},"of_key":"00","of_form":{},"parameter":"q","rule":"r","score":9,"at":1}',
    ],
)
def test_files_that_were_changed_are_refused(tmp_path, cache, line):
    """A vector that is none, or a match of calls that are none, is told by its line, and nothing is loaded."""
    answering(cache)(FRANCE)
    file = tmp_path / "file.jsonl"
    cache.export(file)
    lines = file.read_text().splitlines()
    at = next(number for number, each in enumerate(lines) if '"is":"vector"' in each)
    file.write_text("\n".join([*lines[:at], line, *lines[at + 1 :]]) + "\n")
    with Cache("memory:") as other, pytest.raises(OptionError, match=f"line {at + 1}"):
        other.load(file)


# Shadows.


def looking(cache, known, **options):
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), shadow=True, **options)
    return answering(
        cache, lambda question: next(text for name, text in known.items() if name in question), similar=similar
    )


def test_a_shadow_calls_all_the_same(cache):
    """A shadow lends nothing; both answers are kept, and it is told whether they agree."""
    calls = []

    def answer(question):
        calls.append(question)
        return "Paris" if "France" in question else "Madrid"

    look = answering(cache, answer, similar=Similar("question", embed=hashed_ngrams, shadow=True))
    with memollm.track() as tracked:
        assert [look(FRANCE), look(FRANCE_TOO), look(FRANCE_TOO)] == ["Paris"] * 3
    assert (calls, tracked.similar) == ([FRANCE, FRANCE_TOO], 0)
    (pair,) = cache.similar_report()
    assert (pair.asked, pair.stored, pair.shadow, pair.agreed) == (FRANCE_TOO, FRANCE, True, True)


def test_what_is_the_same_may_be_said(cache):
    """`same` decides whether two answers agree."""
    numbers = iter("12")
    look = answering(
        cache, lambda question: next(numbers), similar=Similar("question", embed=hashed_ngrams, shadow=True)
    )
    look(FRANCE)
    look(FRANCE_TOO)
    assert [pair.agreed for pair in cache.similar_report()] == [False]
    assert [pair.agreed for pair in cache.similar_report(same=lambda one, other: one != other)] == [True]
