"""Whatever a function reads or is, identity answers or falls back; nothing foreign escapes (P8)."""

from __future__ import annotations

import functools
import itertools
import warnings

import pytest

from memollm._keys.identity import identify


class Raising:
    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None

    def __repr__(self):
        raise RuntimeError

    def __call__(self):
        raise RuntimeError


class Wrapping:
    def __call__(self):
        return 1

    @property
    def __wrapped__(self):
        return self


def looping():
    inner = []
    inner += [inner, inner, {"again": inner}]
    return inner


def refuse(value, path):
    raise TypeError(path)


RAISING, WRAPPING, LOOP = Raising(), Wrapping(), looping()
METHODLESS = type("Methodless", (), {"__call__": 3, "__module__": __name__})()


def make(value):
    def reads(question, default=value):
        return value, value.attribute, value(question), default, value.a.b.c

    return reads


def renamed(function, **attributes):
    for name, value in attributes.items():
        setattr(function, name, value)
    return function


VALUES = [RAISING, WRAPPING, LOOP, METHODLESS, object(), itertools.count(), "\udc80", 10**5000, type, print, ...]
FUNCTIONS = {
    **{f"reads {type(value).__name__}": make(value) for value in VALUES},
    **{f"is {type(value).__name__}": value for value in VALUES},
    "partial": functools.partial(make(RAISING), RAISING, key=LOOP),
    "wraps itself": renamed(make(1), __wrapped__=RAISING),
    "odd module": renamed(make(2), __module__=7),
    "deep": eval("lambda q: " + "+".join(["q"] * 500)),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_hostile_function_is_named_and_versioned_twice_alike(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [identify(FUNCTIONS[case], canonical=refuse) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].name
    assert found[0].version.startswith(("code:", "name-only"))
