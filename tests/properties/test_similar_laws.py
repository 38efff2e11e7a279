"""Laws of similar calls, for whatever is asked, refreshed and forgotten in whatever order, beside a plain model."""

from __future__ import annotations

import itertools

from hypothesis import given, settings, strategies as st

import memollm
from memollm import Cache, Embedder, Similar
from memollm._similar.gates import GATES, passed
from memollm.testing import hashed_ngrams

THRESHOLD = 0.7
WORDS = st.lists(
    st.sampled_from(["owl", "owls", "bat", "hunt", "not", "3", "4", "more", "less", "at night"]), min_size=1, max_size=4
)
TEXTS = WORDS.map(" ".join)
STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "refresh", "forget"]), TEXTS, st.sampled_from("ab")), max_size=20
)


def cosine(one, other):
    return sum(a * b for a, b in zip(hashed_ngrams(one), hashed_ngrams(other), strict=True))


def may_lend(asked, stored):
    """Tell whether one text may be given the sample of another; near the threshold, rounding decides."""
    return cosine(asked, stored) >= THRESHOLD - 1e-6 and passed(GATES, asked, stored) is not None


@settings(max_examples=25, deadline=None, derandomize=True)
@given(STEPS)
def test_exact_wins_and_the_rest_is_equal(steps):
    """A call with an answer gives it; one without gives a similar one's, the same each time; else it is made (P8)."""
    numbers, own, went = itertools.count(), {}, {}
    similar = Similar("question", embed=Embedder(hashed_ngrams, name="hashed"), threshold=THRESHOLD)
    with Cache("memory:") as cache:
        answer = cache.cached_llm(
            lambda question, model: next(numbers), similar=similar, pool=1, name="answer", version=1
        )
        for step, text, model in steps:
            call = text, model
            if step == "forget":
                assert answer.forget(text, model=model) == (call in own)
                own.pop(call, None)
                went = {asked: of for asked, of in went.items() if call not in {asked, of}}
                continue
            made = max(own.values(), default=-1)
            with memollm.mode("refresh" if step == "refresh" else "auto"):
                got = answer(text, model=model)
            if step == "ask" and call in own:
                assert got == own[call]
            elif step == "ask" and got in own.values():
                (of,) = [each for each, value in own.items() if value == got]
                assert of[1] == model
                assert may_lend(text, of[0])
                assert went.get(call, of) == of
                went[call] = of
            else:
                assert got > made, "an answer that was forgotten"
                assert step == "refresh" or call not in went
                # What nothing was lent to is near nothing that could have been.
                if step == "ask":
                    near = [each for each, by in own if by == model and may_lend(text, each)]
                    assert all(cosine(text, each) < THRESHOLD + 1e-6 for each in near)
                own[call] = got
                went.pop(call, None)
