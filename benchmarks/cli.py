"""`memollm stats` and `memollm ls`, whole processes, on a cache of 100,000 calls with a sample each."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, absolute, in_turn, repeated
from memollm._keys.canonical import canonical_call
from memollm._keys.keyer import hash_of
from memollm._types.calls import Call, Place, Want
from memollm._types.requests import Fill, Settle, Take
from memollm._types.samples import Sample
from memollm.testing._bench import asked, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm import Cache

CALLS = 100_000
AT_ONCE = 10_000
COMMANDS = (("stats",), ("ls",), ("ls", "--text", "question 77"))
PROMPT = "Question {}: " + "how many words does it take to fill a prompt of common length? " * 4


def calls() -> list[Call]:
    forms = [
        canonical_call({"name": f"study.ask{at % 9}", "version": "version:1"}, {"prompt": PROMPT.format(at)})
        for at in range(CALLS)
    ]
    return [Call(hash_of(form), form, f"study.ask{at % 9}") for at, form in enumerate(forms)]


def fill(cache: Cache) -> None:
    store, record = cache.store, cache._engine.codec.encode("an answer of some words " * 5)
    every = calls()
    for begin in range(0, CALLS, AT_ONCE):
        some = every[begin : begin + AT_ONCE]
        ticket = store.flights.depart()
        asked(store, Take(ticket, [Want(call, None, 1, None) for call in some]))
        fills = [Fill(ticket, Place(call, 0), Sample(record, float(begin), 1.0, 90, 30, 0.01)) for call in some]
        written(store, [*fills, Settle(ticket, [])])
        store.flights.arrive(ticket)


def runner(cache: Cache, *command: str) -> Timed:
    line = [sys.executable, "-m", "memollm", *command, "--cache", str(cache.store.files.database)]
    return repeated(lambda: subprocess.run(line, check=True, capture_output=True))


def run() -> Iterator[Row]:
    with new_cache() as cache:
        fill(cache)
        contenders = {" ".join(command): runner(cache, *command) for command in COMMANDS}
        times = in_turn(contenders, number=1, rounds=5)
    for name, seconds in times.items():
        yield absolute(f"memollm {name}, 100,000 samples", seconds, at_most=1000, unit="ms")
