"""Sameness is stricter than equality, and fairer to NaN."""

import collections

import numpy as np
import pytest
from ids import numbered
from stored_types import Answer, Colour, Plain, Text, Verdict

from memollm._values.same import Sameness

same = Sameness({})

NAN = float("nan")
DIFFERENT = [
    (1, 1.0),
    (1, True),
    (0.0, -0.0),
    ("a", Text("a")),
    ([1], (1,)),
    ({1}, frozenset({1})),
    ({1}, {True}),
    ({1: 1}, {1.0: 1}),
    ({1: 1}, {True: 1}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ([1], [1, 1]),
    ({1}, {2}),
    ({NAN}, {1.0}),
    ({NAN, 1}, {float("nan")}),
    (b"a", bytearray(b"a")),
    (Plain(1), Plain(True)),
    (Plain([0.0]), Plain([-0.0])),
    (Answer("a", 1), Answer("a", 1.0)),
    (Colour.RED, "red"),
    (Verdict(label="a"), Verdict(label="a", why=[])),
    (collections.OrderedDict(a=1), {"a": 1}),
    (int, float),
    (object, object()),
    (collections.defaultdict(int), collections.defaultdict(list)),
    (collections.deque([1], 2), collections.deque([1], 3)),
    (lambda: 1, lambda: 2),
    (np.float32(1), np.float64(1)),
    (np.zeros(2), np.zeros((2, 1))),
    (np.zeros(2), np.zeros(2, "f4")),
    (np.zeros(1), -np.zeros(1)),
    (np.array([1], dtype=object), np.array([True], dtype=object)),
    (1 + 0j, complex(1, -0.0)),
    (iter([1]), iter([2])),
]
SAME = [
    (NAN, float("nan")),
    ([NAN], [float("nan")]),
    ({NAN}, {float("nan")}),
    ({Plain(1)}, {Plain(1)}),
    (Plain({NAN: (1,)}), Plain({NAN: (1,)})),
    (np.array([NAN]), np.array([NAN])),
    (Text("a"), Text("a")),
    (Verdict(label="a"), Verdict(label="a")),
    ({2, 1}, {1, 2}),
    (np.array([[1]], dtype=object), np.array([[1]], dtype=object)),
]


@pytest.mark.parametrize("pair", DIFFERENT, ids=numbered(DIFFERENT))
def test_what_differs_in_type_order_or_bits_is_not_the_same(pair):
    """Python calls many of these equal; a stored value must not turn from one into the other."""
    assert not same(*pair)
    assert not same(*reversed(pair))


@pytest.mark.parametrize("pair", SAME, ids=numbered(SAME))
def test_what_could_stand_for_the_other_is_the_same(pair):
    """Python calls many of these different, because NaN and plain objects equal only themselves."""
    assert same(*pair)


def test_the_order_of_attributes_does_not_matter():
    """Two objects that got the same attributes in another order are the same."""
    one, other = Plain(1), Plain(1)
    one.extra, one.value = 2, 3
    del other.value
    other.extra, other.value = 2, 3
    one.__dict__ = dict(reversed(list(vars(other).items())))
    assert list(vars(one)) != list(vars(other))
    assert same(one, other)


def test_functions_are_the_same_by_what_they_do():
    """Functions made twice from one definition are the same, unless they hold something else."""

    def make(held):
        return lambda x=1: x + held

    assert same(make(1), make(1))
    assert not same(make(1), make(2))
