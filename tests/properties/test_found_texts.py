"""`memollm ls --text` finds whatever `memollm ls` prints."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings, strategies as st

from memollm import Cache
from memollm._views.finding import described
from memollm.cli.calls import Sought
from memollm.errors import printable
from memollm.stores.looking import looking

TEXTS = st.text(st.sampled_from("abfnuxyz éßİﬁ\n\t\x1b\u200b\"'\\"), max_size=8)
VALUES = st.recursive(TEXTS | st.floats() | st.booleans() | st.none(), lambda each: st.lists(each) | st.tuples(each))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.data())
def test_whatever_is_printed_is_found(value, data):
    """Any part of what is printed of a call finds it, in whatever case."""
    with Cache("memory:") as cache:
        ask = cache.cached_llm(pool=1)(lambda prompt: "answer")
        ask(prompt=value)
        (surveyed,) = looking(cache.store).survey()
        printed = printable(f"{surveyed.call.function} {described(surveyed.call.form)}")
        start = data.draw(st.integers(0, len(printed) - 1))
        part = printed[start : start + data.draw(st.integers(1, 9))]
        for said in (part, part.upper()):
            if said.casefold() in printed.casefold():
                assert Sought.of(said).among([surveyed]) == [surveyed]
