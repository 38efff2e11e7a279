"""How tables are fitted, and figures written."""

from __future__ import annotations

import json

import pytest

from memollm._spending.stats import grouped, stats_of, summed
from memollm._types.counting import Account, Counts
from memollm._types.tables import size_text
from memollm._views.reading import Shown, difference, text_difference
from memollm.cli._output import fitted, json_text
from memollm.cli._words import cells, dollars, duration_text, middle_cut, padded
from memollm.errors import OptionError, printable


@pytest.mark.parametrize(
    ("widths", "gives", "room", "narrowed"),
    [
        ([10, 20], [False, True], 80, [10, 20]),
        ([10, 200], [False, True], 80, [10, 68]),
        ([10, 200, 300], [False, True, True], 80, [10, 33, 33]),
        ([10, 20, 300], [False, True, True], 80, [10, 20, 46]),
        ([10, 10**9, 10**9], [False, True, True], 80, [10, 33, 33]),
        ([90, 200], [False, True], 80, [90, 12]),
        ([90], [False], 80, [90]),
        ([], [], 80, []),
    ],
)
def test_the_widest_column_gives_way(widths, gives, room, narrowed):
    """Columns that may be cut share what the others leave, and keep a rest that can be read."""
    assert fitted(widths, gives, room) == narrowed


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghij", 7, "abc…hij"),
        ("abcdefghij", 6, "abc…ij"),
        ("漢字漢字漢字", 7, "漢…字"),
        ("漢字", 4, "漢字"),
    ],
)
def test_a_text_is_cut_in_the_middle(text, width, cut):
    """Both ends stay; wide characters count as what they take."""
    assert middle_cut(text, width) == cut
    assert cells(cut) <= width
    assert cells(padded(cut, width, True)) == width


def test_what_is_not_printable_is_escaped():
    """Escapes, bells, surrogates and marks that turn the direction of writing are shown as what they are."""
    assert printable("a\x1b[2J\x07\ud800\u202eé漢") == "a\\x1b[2J\\x07\\ud800\\u202eé漢"


def test_json_steers_no_terminal_and_says_the_same():
    """Some terminals obey control characters beyond ASCII, which JSON may hold as they are."""
    value = ["\x1b[2J\x7f\x9b31m\u202e\U000e0001\ud800", "é漢🎉 \n"]
    text = json_text(value, indent=1)
    assert json.loads(text) == value
    assert all(line.isprintable() for line in text.split("\n"))
    assert "é漢🎉" in text


def test_figures():
    """Sizes, times and money are rounded to what is worth reading."""
    assert [size_text(size) for size in (0, 999, 1000, 2.5e6, 3e9, 4e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "2.5 MB",
        "3.0 GB",
        "4,000.0 TB",
    ]
    assert [duration_text(seconds) for seconds in (0.005, 9, 90, 1000, 8000, 2e5)] == [
        "0.01 s",
        "9.00 s",
        "90 s",
        "16.7 min",
        "2.2 h",
        "2.3 d",
    ]
    assert [dollars(cost) for cost in (None, 0, 0.00123, 0.5, 12345)] == ["", "$0.00", "$0.0012", "$0.50", "$12,345.00"]


@pytest.mark.parametrize(
    ("first", "other", "told"),
    [
        ("the answer is 42.", "the answer is 43.", "from 14: 42. → 43."),
        ("yes", "yes indeed", "from 0: yes → yes indeed"),
        ("", "x", "from 0: (nothing) → x"),
        ("a b c", "x y z", "from 0: a b c → x y z"),
    ],
)
def test_texts_differ_in_words(first, other, told):
    """Of two texts the words between what they begin and end with in common are told."""
    assert text_difference(first, other) == told


def test_structures_differ_in_places():
    """Of two structures each place is told; the same is the same, and what is not shown is not compared."""
    one, two = Shown({"a": 1, "b": [1, 2]}, "one"), Shown({"a": 1, "b": [1, 3], "c": 0}, "two")
    assert difference(one, two) == "b[1]: 2 → 3; c: (absent) → 0"
    assert difference(one, one) == "same"
    assert difference(Shown("x", "x"), Shown(None, "(no)", "untrusted")) == "cannot be compared"


def test_counts_are_grouped():
    """Counts are summed up by any part of what they are kept for, by name."""
    counts = {
        Account("2026-11-20", "r1", "", "f"): Counts(draws=1, spent_cost=0.5),
        Account("2026-11-21", "r1", "a", "f"): Counts(draws=2),
        Account("2026-11-21", "r2", "a", "g"): Counts(draws=4),
    }
    assert {by: [(name, each.draws) for name, each in grouped(counts, by)] for by in Account._fields} == {
        "day": [("2026-11-20", 1), ("2026-11-21", 6)],
        "run": [("r1", 3), ("r2", 4)],
        "namespace": [("", 1), ("a", 6)],
        "function": [("f", 3), ("g", 4)],
    }
    assert summed([*counts.values()]) == Counts(draws=7, spent_cost=0.5)
    assert summed([]) == Counts()
    with pytest.raises(OptionError, match="Did you mean 'namespace'"):
        stats_of(counts, "namespaces")
