"""Gates: what two texts must agree in, however near their vectors are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import benchmarks
from memollm._similar.gates import GATES, closed, passed

PAIRS = [
    tuple(part.strip() for part in line.split(" | "))
    for line in (Path(benchmarks.__file__).parent / "similar_pairs.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
DIFFERENT = [(kind, one, other) for kind, one, other in PAIRS if kind != "same"]
SAME = [(one, other) for kind, one, other in PAIRS if kind == "same"]


def test_the_table_has_its_pairs():
    """There are 200 pairs of nine kinds."""
    assert (len(PAIRS), len(DIFFERENT), len(Counter(kind for kind, *_ in PAIRS))) == (200, 120, 9)


def test_what_differs_is_kept_out():
    """Two questions that differ in a number, a date, a unit, a negation, a quotation or the like never agree."""
    agreed = [
        (one, other) for _, one, other in DIFFERENT if None in {closed(GATES, one, other), closed(GATES, other, one)}
    ]
    assert agreed == []


def test_most_of_what_says_the_same_passes():
    """Of questions that differ in nothing but words, at least 95 of 100 agree, whichever of the two comes first."""
    assert sum(passed(GATES, one, other) is not None for one, other in SAME) >= 0.95 * len(SAME)
    assert all((passed(GATES, one, other) is None) == (passed(GATES, other, one) is None) for one, other in SAME)


def test_a_text_agrees_with_itself():
    """Every gate lets equal texts pass."""
    texts = {text for _, *pair in PAIRS for text in pair}
    assert [text for text in texts if passed(GATES, text, text) != tuple(GATES)] == []


@pytest.mark.parametrize(
    ("gate", "one", "other"),
    [
        ("numbers", "1,000 words", "1000 words"),
        ("numbers", "twenty-two cats", "22 cats"),
        ("numbers", "three hundred five", "305"),
        ("numbers", "2 million", "2000000"),
        ("numbers", "the 3rd", "the third"),
        ("numbers", "the 21st", "the twenty-first"),
        ("numbers", "the 13th", "the thirteenth"),
        ("units", "5 kB", "5 KB"),
        ("dates", "on July 4th, 1776", "on 1776-07-04"),
        ("dates", "4 Jul 1776", "July 4 1776"),
        ("dates", "at 7 pm", "at 19:00"),
        ("numbers", "on July 4th, 1776", "on 1776-07-04"),
        ("units", "5 km", "5 kilometers"),
        ("units", "30 °C", "30 degrees Celsius"),
        ("quotations", "“a b”", '"a b"'),
        ("names", "in France", "in france"),
    ],
)
def test_what_is_written_in_two_ways_agrees(gate, one, other):
    """One number, date or unit agrees with itself, however it is written."""
    assert passed([gate], one, other) == (gate,)


def test_gates_are_fast_on_long_texts():
    """A long text takes no more than its length: no pattern of a gate goes back and forth in it."""
    for text in ("a" * 20_000, "1" * 20_000, "'" * 20_000, "a." * 10_000, "_" * 20_000, "/" * 20_000, "May " * 5_000):
        assert passed(GATES, text, text) == tuple(GATES)


@pytest.mark.parametrize(
    ("gate", "one", "other"),
    [
        ("numbers", "vitamin B12", "vitamin B6"),
        ("numbers", "API v1", "API v2"),
        ("numbers", "sha1 hashing", "sha256 hashing"),
        ("numbers", "thirty days", "thirty-one days"),
        ("numbers", "three hundred days", "three hundred one days"),
        ("numbers", "the eleventh president", "the twelfth president"),
        ("numbers", "the twentieth", "the thirtieth"),
        ("numbers", "what is 2³", "what is 23"),
        ("units", "100 MB", "100 Mb"),
        ("units", "5 mW", "5 MW"),
        ("units", "5 mA", "5 kA"),
        ("code", "sort it in C++", "sort it in C"),
        ("code", "sort it in C#", "sort it in C++"),
        ("code", "with x ≥ 5", "with x ≤ 5"),
        ("code", "with x >= 5", "with x <= 5"),
        ("code", "in 44 bc", "in 44 ad"),
        ("negations", "why does it work", "why doesnt it work"),
    ],
)
def test_what_is_hardly_told_apart_is(gate, one, other):
    """What differs in a digit of a name, a letter's case or a sign does not agree."""
    assert passed([gate], one, other) is None
    assert passed([gate], other, one) is None
    assert passed([gate], one, one) == passed([gate], other, other) == (gate,)


def test_letters_that_python_takes_for_others_break_no_gate():
    """A month with a letter that matches another, as the Turkish İ does, is told apart and raises nothing."""
    texts = "5 APRİL, 2024", "5 apr\u0131l 2024", "th\u0131s week", "ﬁve², ½ and Ⅷ", "\ud800 5 km", "٣ km and 1e99999"
    for one in texts:
        assert passed(GATES, one, one) == tuple(GATES)
        assert all(passed(GATES, one, other) is None for other in texts if other != one)
