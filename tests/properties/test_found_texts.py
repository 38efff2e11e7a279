"""`memollm ls --text` finds whatever `memollm ls` prints."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from memollm import Cache
from memollm._views.finding import described
from memollm.cli.calls import Sought
from memollm.errors import printable
from memollm.stores.looking import looking

TEXTS = st.text(st.sampled_from("abfnuxyz éßİﬁ\n\t\x1b\u200b\"'\\"), max_size=8)
VALUES = st.recursive(TEXTS | st.floats() | st.booleans() | st.none(), lambda each: st.lists(each) | st.tuples(each))


def stored_call(value):
    """Store a call with such an argument; return it, and what is printed of it."""
    with Cache("memory:") as cache:
        ask = cache.cached_llm(pool=1)(lambda prompt: "answer")
        ask(prompt=value)
        (surveyed,) = looking(cache.store).survey()
        return surveyed, printable(f"{surveyed.call.function} {described(surveyed.call.form)}")


def assert_finds(part, surveyed, printed):
    for said in (part, part.upper()):
        if said.casefold() in printed.casefold():
            assert Sought.of(said).among([surveyed]) == [surveyed], said


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.data())
def test_whatever_is_printed_is_found(value, data):
    """Any part of what is printed of a call finds it, in whatever case."""
    surveyed, printed = stored_call(value)
    start = data.draw(st.integers(0, len(printed) - 1))
    assert_finds(printed[start : start + data.draw(st.integers(1, 9))], surveyed, printed)


@pytest.mark.parametrize("value", ["\u200bhello", "\u200bﬁ", "a\ufeffabout", "\xadnixie", "\U000e0001zebra", "\nface"])
def test_words_behind_an_escape_are_found(value):
    """What cannot be printed is told by letters, which are no part of the word behind them."""
    surveyed, printed = stored_call([value])
    for start, length in itertools.product(range(len(printed)), range(1, 16)):
        assert_finds(printed[start : start + length], surveyed, printed)
