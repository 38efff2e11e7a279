"""Taking over what other caches hold: whose call each old entry becomes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

import memollm


@pytest.fixture
def old(tmp_path):
    """Make a cache of another library: agents' names, numbered so that their entries are mixed, and their answers."""
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value)")
        rows = [
            (f"{name} {number}", f"{name} answers {number}") for number in range(3) for name in ("Ann", "Bob", "Cy")
        ]
        connection.executemany("INSERT INTO unnamed VALUES (?, ?)", rows)
    return file


@pytest.mark.parametrize("bound_first", [False, True])
def test_methods_of_several_objects_keep_their_own_answers(cache, old, bound_first):
    """A method is another object each time that it is asked for; whose it is, is what its samples go by (P8)."""

    class Agent:
        def __init__(self, name):
            self.name = name
            if bound_first:
                self.ask = cache.cached_llm(self.answer, name="ask", version="1")

        def answer(self, number):
            raise AssertionError(f"{self.name} is asked for {number}")

        def __memollm_key__(self):
            return self.name

        if not bound_first:
            ask = cache.cached_llm(answer, name="ask", version="1")

    def call(key, _value):
        name, _, number = key.partition(" ")
        return Agent(name).ask, (int(number),), {}

    assert cache.import_from("lm-eval", old, map=call).added == 9
    for name in ("Ann", "Bob", "Cy"):
        for number in range(3):
            assert Agent(name).ask(number) == f"{name} answers {number}"


def test_methods_of_classes_keep_their_own_answers(cache, old):
    """A class method that two classes inherit is a function of each."""

    class Agent:
        @classmethod
        def answer(cls, number):
            raise AssertionError(f"{cls.__name__} is asked for {number}")

        ask = cache.cached_llm(answer, version="1")

    agents = {name: type(name, (Agent,), {"__qualname__": name}) for name in ("Ann", "Bob", "Cy")}

    def call(key, _value):
        name, _, number = key.partition(" ")
        return agents[name].ask, (int(number),), {}

    assert cache.import_from("lm-eval", old, map=call).added == 9
    for name, agent in agents.items():
        assert [agent.ask(number) for number in range(3)] == [f"{name} answers {number}" for number in range(3)]


def test_a_replaced_answer_is_not_taken_over_again(cache, old):
    """Importing again brings back nothing that was replaced here since (P1)."""
    ask = cache.cached_llm(lambda who, number: f"{who} says {number}", name="ask", version="1")

    def call(key, _value):
        who, _, number = key.partition(" ")
        return ask, (who, int(number)), {}

    cache.import_from("lm-eval", old, map=call)
    with memollm.mode("refresh"):
        assert ask("Ann", 1) == "Ann says 1"
    assert cache.import_from("lm-eval", old, map=call).added == 0
    assert ask.peek("Ann", 1) == ["Ann says 1"]


def test_equal_answers_of_two_caches_are_two_samples(cache, tmp_path):
    """P13: each cache is told by its path; importing one again, when it has grown, doubles nothing."""
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version="1")

    def write(name, *rows):
        with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS unnamed (key TEXT PRIMARY KEY, value)")
            connection.executemany("INSERT INTO unnamed VALUES (?, ?)", rows)
        return tmp_path / name

    def added(file):
        return cache.import_from("lm-eval", file, map=lambda key, _: (ask, (key[0],), {})).added

    one, other = write("one.db", ("x1", "yes"), ("x2", "no")), write("other.db", ("x1", "yes"))
    assert [added(one), added(other), added(one), added(other)] == [2, 1, 0, 0]
    assert ask.peek("x") == ["yes", "no", "yes"]
    os.utime(write("one.db", ("x3", "yes")), (2_000_000_000, 2_000_000_000))
    assert added(one) == 1
    assert ask.peek("x") == ["yes", "no", "yes", "yes"]


def test_a_text_in_place_of_a_list_of_answers_is_refused(cache, tmp_path):
    """Where a cache keeps several answers for a key, one text is not taken for a list of its letters."""
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version="1")
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("CREATE TABLE full_llm_cache (prompt TEXT, llm TEXT, idx INTEGER, response TEXT)")
        connection.execute("INSERT INTO full_llm_cache VALUES ('why?', 'llm', 0, 'because')")
    with pytest.raises(memollm.OptionError, match=r"'because' as the fourth element.* it must be a list"):
        cache.import_from("langchain", tmp_path / "old.db", map=lambda key, texts: (ask, (key[0],), {}, texts[0]))
    assert ask.peek("why?") == []
