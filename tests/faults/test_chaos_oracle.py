"""The oracle of the chaos program notices what it is there for: each promise is broken on purpose, in forged logs."""

from __future__ import annotations

import itertools
import json

import pytest
from chaos.logs import NAMES
from chaos.oracle import Oracle

from memollm import Cache, namespace

READER = "namespace:a"
A, B, C = (letter * 16 for letter in "abc")


class Forged:
    """A round that never was: what is stored, and what is said to have happened, one thing after the other."""

    def __init__(self, folder, *stored):
        self.folder = folder
        self._clock = itertools.count(1)
        self._lines = {name: [] for name in NAMES}
        values = iter(stored)
        with Cache(folder / "cache") as cache, namespace("a"):
            ask = cache.cached_llm(lambda prompt: next(values), name="ask", version="1")
            ask.draw(len(stored), "p")

    def say(self, log, **what):
        self._lines[log].append({"at": next(self._clock), "pid": 1, **what})

    def call(self, value, *, operation=None, kind="ask", begins=True, ends=True):
        if begins:
            self.say("calls", what="call", call=value, kind=kind, prompts=["p"], makes=[value], operation=operation)
        if ends:
            self.say("calls", what="answered", call=value)

    def draw(self, *values, slots=(), made=(), why=None, n=None, ends=True, mode="auto"):
        name = f"draw {next(self._clock)}"
        prompts = ["p"] * (n or len(values))
        says = {"how": "some", "kind": "ask", "prompts": prompts, "reader": READER, "mode": mode}
        self.say("draws", what="begin", operation=name, **says)
        for value in made:
            self.call(value, operation=name)
        if ends:
            got = [("p", value) for value in values]
            self.say("draws", what="end", operation=name, got=got, slots=slots, left=False, why=why)

    def deed(self, what, **says):
        for is_begun in (True, False):
            end = {} if is_begun else {"why": None}
            self.say(
                "deeds", what=what, deed="deed", is_begun=is_begun, reader=READER, kind="ask", prompt="p", **says, **end
            )

    def judged(self):
        """Return which promises are said to be broken."""
        (self.folder / "logs").mkdir()
        for name, lines in self._lines.items():
            (self.folder / "logs" / name).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        return {wrong.partition(":")[0] for wrong in Oracle(self.folder).judge()}


def good(forged):
    forged.draw(A, slots=[0], made=[A])
    forged.draw(B, slots=[1], made=[B])


def repeated(forged):
    good(forged)
    forged.draw(A, slots=[0])


def rewound(forged):
    good(forged)
    forged.deed("rewind")
    forged.draw(A, B, slots=[0, 1])


def rewound_once_and_given_thrice(forged):
    rewound(forged)
    forged.draw(A, slots=[0])


def one_slot_twice(forged):
    forged.draw(A, made=[A])
    forged.draw(B, slots=[1], made=[B])
    forged.draw(C, slots=[1], made=[C], mode="refresh")


def in_another_slot(forged):
    forged.draw(A, slots=[1], made=[A])
    forged.draw(B, made=[B])


def never_given(forged):
    forged.draw(A, made=[A])
    forged.call(B)


def unseen(forged):
    forged.draw(A, made=[A])
    forged.draw(n=1, made=[B], ends=False)
    forged.say("signals", what="kill", of=1)


def made_besides(forged):
    forged.draw(A, made=[A, B])
    forged.draw(B)


def two_flights(forged):
    good(forged)
    for value in (C, "d" * 16):
        forged.call(value, kind="memo", ends=False)
    for value in (C, "d" * 16):
        forged.call(value, kind="memo", begins=False)


def not_kept(forged):
    good(forged)
    forged.draw(C, made=[C])


def not_kept_by_an_interrupt(forged):
    good(forged)
    forged.draw(n=1, made=[C], why="KeyboardInterrupt")


def of_nobody(forged):
    good(forged)
    forged.draw("e" * 16)


def out_of_order(forged):
    forged.draw(B, slots=[1], made=[B])
    forged.draw(A, slots=[0], made=[A])


def hanging(forged):
    good(forged)
    forged.draw(n=1, ends=False)


@pytest.mark.parametrize(
    ("happens", "broken"),
    [
        (good, set()),
        (repeated, {"P1", "P6"}),
        (rewound, set()),
        (rewound_once_and_given_thrice, {"P1"}),
        (one_slot_twice, {"P1", "P6"}),
        (in_another_slot, {"P2"}),
        (never_given, {"P3"}),
        (unseen, set()),
        (made_besides, {"P4"}),
        (two_flights, {"P5", "P7"}),
        (not_kept, {"P7"}),
        (not_kept_by_an_interrupt, set()),
        (of_nobody, {"P8"}),
        (out_of_order, {"P6"}),
        (hanging, {"hang"}),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_oracle_tells_what_is_broken(tmp_path, happens, broken):
    """What is broken in the logs is said, and what is right is let be."""
    forged = Forged(tmp_path, A, B)
    happens(forged)
    assert forged.judged() == broken
